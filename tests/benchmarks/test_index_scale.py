"""Opening a dataset of very many IDs for the second time, each time in a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

OPEN = """
import json, resource, sys, time
from loader.feed.index.from_manifest import index_of_manifest
from manifests import Manifest, load_manifest

start = time.perf_counter()
index = index_of_manifest(load_manifest(sys.argv[1]).split("train"), label_mode="categorical")
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(json.dumps([seconds, peak, len(index), index.ids[7], index.paths[7], index.codes.values[:8].tolist()]))
"""

ROWS_IN_A_BLOCK = 100_000


def opened(root: Path) -> list[Any]:
    """Return seconds, peak memory in MB, the number of samples, and a few of them."""
    done = subprocess.run([sys.executable, "-c", OPEN, str(root)], check=True, capture_output=True, text=True)
    found: list[Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_opening_a_manifest_for_the_second_time(
    tmp_path: Path, scale: Any, note: Callable[..., float], request: pytest.FixtureRequest
) -> None:
    rows = 10_000_000 if scale.measured else ROWS_IN_A_BLOCK
    with open(tmp_path / "manifest.csv", "w") as file:
        file.write("id,label,split,path,shape,dtype\n")
        for start in range(0, rows, ROWS_IN_A_BLOCK):
            file.writelines(
                f"{i:08d},{i * 7919 % 100},{'val' if i % 5 == 0 else 'train'},shards/{i:08d}.npy,32x32x3,uint8\n"
                for i in range(start, start + ROWS_IN_A_BLOCK)
            )
    first, second = opened(tmp_path), opened(tmp_path)
    assert first[2:] == second[2:] == [rows * 4 // 5, "00000009", "shards/00000009.npy", [19, 38, 57, 76, 14, 33, 52, 71]]
    ratio = note(f"opening {rows:,} rows the second time", "the first time", second[0], first[0], rows)
    if scale.measured:
        line = f"opening {rows:,} rows: first {first[0]:.1f} s and {first[1]:,} MB at most, then {second[0]:.2f} s and {second[1]:,} MB"
        request.config.pluginmanager.get_plugin("terminalreporter").write_line(line)
    # What reading the file again would leave is 1.
    assert not scale.measured or ratio >= 5
