"""Building a dataset of photographs, against other libraries that make one of the same files, in the same run.

Each is a script as its documentation shows one, from the start of the interpreter to its end like our own command, with two
processes and at its best setting. All of them decode with `peer_decoding.decode`: Pillow, with `draft`, which has libjpeg scale down and
saves most of the work of a full decode. Ours besides hashes each shard, keeps moments for the statistics, and flushes what it writes.

Each build goes to a folder of its own, and all are deleted when the whole run is over: after many files were deleted, ext4 is slow for
minutes to create others.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peer_decoding import SIZE, decode, labelled  # found as `conftest` says
from photographs import Photographs  # as above
from pipelines import fastest  # as above
from test_build_speed import DEADLINE_SECONDS, Taken, build_anew, median, taken  # as above

from manifests import load_manifest

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("compiled")]


@dataclass(frozen=True)
class Peer:
    """A library with the script that builds by it, and the settings that the script knows."""

    library: str
    script: str
    what: str
    settings: tuple[str, ...]


@dataclass(frozen=True)
class Built:
    """What a script took, and how much of that after its imports, in seconds."""

    whole: Taken
    after_imports: float


PEERS = (
    Peer("datasets", "peer_datasets.py", "`datasets`, `map` and `save_to_disk`", ("a photograph a call", "1,000 photographs a call")),
    Peer("litdata", "peer_litdata.py", "litData `optimize`", ("forked workers", "spawned workers")),
)


@pytest.fixture(scope="session")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for what is built."""
    root = tmp_path_factory.mktemp("built")
    yield root
    shutil.rmtree(root)


def start(script: str, arguments: Sequence[str | Path], scratch: Path) -> str:
    """Run a script of a library that finds no network and leaves nothing outside `scratch`, and return what it printed."""
    kept = {"HOME": scratch, "HF_HOME": scratch, "TMPDIR": scratch, "LITDATA_CACHE_DIR": scratch}
    still = dict.fromkeys(("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "LITDATA_DISABLE_VERSION_CHECK"), "1")
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name(script), *arguments],
        env=os.environ | {name: str(folder) for name, folder in kept.items()} | still,
        check=False,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def as_set(pixels: Any, labels: Any) -> list[tuple[int, bytes]]:
    """Return samples in an order of their own."""
    return sorted((int(label), sample.tobytes()) for label, sample in zip(labels, pixels, strict=True))


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.library)
def test_building_against_other_libraries(
    peer: Peer, photographs: Photographs, outputs: Path, scale: Any, note: Callable[..., float], tell: Callable[[str], None]
) -> None:
    try:
        version(peer.library)
    except PackageNotFoundError:
        pytest.skip(f"{peer.library} is not installed; extra `bench` brings it")
    scratch = outputs / f"{peer.library}-tmp"
    scratch.mkdir()
    written: list[Path] = []

    def fresh(name: str) -> Path:
        written.append(outputs / f"{peer.library}-{len(written)}-{name}")
        os.sync()  # what others have left to write
        return written[-1]

    def theirs(setting: str) -> Built:
        out, printed = fresh("theirs"), []
        whole = taken(lambda: printed.append(start(peer.script, ["build", setting, photographs.root, out], scratch)))
        return Built(whole, float(printed[-1].split()[-1]))

    def ours() -> Taken:
        return build_anew(photographs.root, lambda: fresh("ours"))

    settings = peer.settings if scale.measured else peer.settings[:1]
    best = settings[0]
    if scale.measured:
        best = fastest({setting: lambda setting=setting: theirs(setting).whole.wall for setting in settings}, 1)
        ours()  # for nothing, as those were
    pairs = [(theirs(best), ours()) for _ in range(photographs.rounds)]

    other, mine, count = median([built.whole for built, _ in pairs]), median([own for _, own in pairs]), len(photographs.paths)
    later = statistics.median(built.after_imports for built, _ in pairs)
    against = f"{peer.what}, 2 processes, {best}"
    note(f"building {count:,} photographs, the command", f"{against}, the script", mine.wall, other.wall, count)
    note(f"building {count:,} photographs, the call", f"{against}, after its imports", mine.call, later, count)
    tell(
        f"building: {mine.wall:.2f} s ({mine.cpu:.2f} s of processors), {mine.call:.2f} s of it the call; "
        f"{peer.what}, {best}: {other.wall:.2f} s ({other.cpu:.2f} s), {later:.2f} s of it after its imports"
    )

    assert len(load_manifest(written[-1])) == count
    start(peer.script, ["read", next(path for path in written if path.name.endswith("-theirs")), outputs / f"{peer.library}.npz"], scratch)
    with np.load(outputs / f"{peer.library}.npz") as read:
        assert read["pixels"].shape == (count, *SIZE, 3)
        assert read["pixels"].dtype == np.uint8
        paths, labels = zip(*labelled(photographs.root), strict=True)
        assert as_set(read["pixels"], read["labels"]) == as_set([decode(path) for path in paths], labels)
