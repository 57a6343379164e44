"""Loading a manifest that somebody else wrote, which has no cache, against pyarrow's own reading of the file."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import csv

from manifests import load_manifest
from manifests.rows.table import FEW_VALUED
from manifests.storage import cache

COLUMNS = ("id", "label", "split", "path", "shape", "dtype", "sha256", "source", "fingerprint")

PEAK = """
import sys
if sys.argv[1] == "pyarrow":
    import pyarrow, json
    from pyarrow import csv
    few = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    types = {name: few if kind == "few" else pyarrow.string() for name, kind in json.loads(sys.argv[3]).items()}
    table = csv.read_csv(sys.argv[2], convert_options=csv.ConvertOptions(column_types=types, strings_can_be_null=False))
else:
    from manifests import load_manifest
    from manifests.storage import cache
    cache.CACHED_ROWS = 1 << 60
    table = load_manifest(sys.argv[2]).table
assert len(table) == int(sys.argv[4])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.fixture(scope="module")
def rows(request: pytest.FixtureRequest) -> int:
    return 1_000_000 if request.config.getoption("benchmark_enable") else 2_000


@pytest.fixture(scope="module")
def manifest_file(rows: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 MB of nine columns, in no order."""
    path = tmp_path_factory.mktemp("manifest") / "manifest.csv"
    with open(path, "w") as file:
        file.write(",".join(COLUMNS) + "\n")
        for number in range(rows):
            id_ = f"c{number % 100:03}/img{number:08}"
            digest = hashlib.sha256(id_.encode()).hexdigest()
            split = "train" if number % 10 else "val"
            file.write(f"{id_},class{number % 100},{split},shards/{id_}.npy,32x32x3,uint8,{digest},{id_}.png,{digest[:32]}\n")
    return path


@pytest.fixture(autouse=True)
def _nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "CACHED_ROWS", 1 << 60)


def read_by_pyarrow(path: Path) -> pa.Table:
    few = pa.dictionary(pa.int32(), pa.string())
    types = {name: few if name in FEW_VALUED else pa.string() for name in COLUMNS}
    return csv.read_csv(path, convert_options=csv.ConvertOptions(column_types=types, strings_can_be_null=False))


@pytest.mark.parametrize("kind", ["12 KB"])
def test_loading_a_manifest_for_the_first_time(manifest_file: Path, rows: int, scale: Any, compare: Callable[..., float]) -> None:
    ratio = compare(
        f"loading a manifest of {rows:,} rows for the first time, all checks included",
        "`pyarrow.csv.read_csv`",
        lambda: load_manifest(manifest_file),
        lambda: read_by_pyarrow(manifest_file),
        rows,
        of_others=True,
    )
    assert not scale.measured or ratio >= 1 / 5


@pytest.mark.parametrize("kind", ["12 KB"])
def test_the_frame_of_a_manifest(manifest_file: Path, rows: int, scale: Any, compare: Callable[..., float]) -> None:
    loaded = load_manifest(manifest_file)

    def frame() -> object:
        vars(loaded).pop("frame", None)
        return loaded.frame

    what = "`manifest.frame` of it: every column as strings"
    ratio = compare(what, "`manifest.table.to_pandas`: four columns as categories", frame, loaded.table.to_pandas, rows, of_others=True)
    assert not scale.measured or ratio >= 1 / 20


def test_the_memory_that_loading_takes(manifest_file: Path, rows: int, scale: Any, tell: Callable[[str], None]) -> None:
    kinds = json.dumps({name: "few" if name in FEW_VALUED else "many" for name in COLUMNS})

    def peak(who: str) -> int:
        command = [sys.executable, "-c", PEAK, who, str(manifest_file), kinds, str(rows)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) // 1024

    ours, theirs = peak("ours"), peak("pyarrow")
    tell(f"loading {rows:,} rows: {ours} MB at most, pyarrow.csv {theirs} MB")
    assert not scale.measured or ours <= 2 * theirs
