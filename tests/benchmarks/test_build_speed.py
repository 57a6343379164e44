"""Building a dataset of photographs, against what a loop of one's own takes for the same files; all of them in the page cache.

A build is the whole command, from the start of the interpreter to the manifest on the disk, with two workers. It takes seconds, so
there are few rounds, and the CPU time of all its processes stands beside the table: it moves less with the machine than wall time.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from photographs import write_photographs  # found as `conftest` says
from PIL import Image

from manifests import load_manifest
from manifests.commitlog import STAGE_FOLDER
from prep.chunk import MOST_ITEMS
from prep.parts import PART_FOLDER, write_part
from prep.records import Record
from prep.shards import write_shard

BUILD = "from prep.cli import main; main()"
OPTIONS = ("--size", "32x32", "--color", "rgb", "--dtype", "uint8", "--workers", "2")
SIZE = (32, 32)
CHANGED_SHARE = 0.01
DEADLINE_SECONDS = 600.0

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Taken:
    """What a piece of work took, in seconds: on the clock, and of processors by all of its processes."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Photographs:
    """Files to build from, and how often a build is measured."""

    root: Path
    paths: list[Path]
    rounds: int


@pytest.fixture(scope="module")
def photographs(scale: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Photographs]:
    root = write_photographs(tmp_path_factory.mktemp("photographs"), 5_000 if scale.measured else 40)
    yield Photographs(root, sorted(root.rglob("*.jpg")), 3 if scale.measured else 1)
    shutil.rmtree(root)


@pytest.fixture
def tell(scale: Any, request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return a function that prints a line when measuring."""

    def write(line: str) -> None:
        if scale.measured:
            request.config.pluginmanager.get_plugin("terminalreporter").write_line(line)

    return write


def taken(work: Callable[[], object]) -> Taken:
    """Measure work that has ended, with its processes, when it returns."""

    def cpu() -> float:
        usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(usage.ru_utime + usage.ru_stime for usage in usages)

    wall, processors = time.perf_counter(), cpu()
    work()
    return Taken(time.perf_counter() - wall, cpu() - processors)


def command(source: Path, out: Path) -> list[str]:
    return [sys.executable, "-c", BUILD, "build-shards", str(source), str(out), *OPTIONS]


def build(source: Path, out: Path) -> None:
    subprocess.run(command(source, out), check=True, capture_output=True)


def build_anew(source: Path, out: Path) -> Taken:
    shutil.rmtree(out, ignore_errors=True)
    return taken(lambda: build(source, out))


def median(measured: list[Taken]) -> Taken:
    return Taken(statistics.median(one.wall for one in measured), statistics.median(one.cpu for one in measured))


def in_rounds(photographs: Photographs, ours: Callable[[], Taken], theirs: Callable[[], Taken]) -> tuple[Taken, Taken]:
    """Measure both ways in pairs, and return the medians."""
    pairs = [(theirs(), ours()) for _ in range(photographs.rounds)]
    return median([mine for _, mine in pairs]), median([other for other, _ in pairs])


def test_building_against_decoding_and_saving_alone(
    photographs: Photographs, tmp_path: Path, scale: Any, note: Callable[..., float], tell: Callable[[str], None]
) -> None:
    simplejpeg = pytest.importorskip("simplejpeg", reason="extra `bench` brings it")
    sample = np.zeros((*SIZE, 3), dtype=np.uint8)

    def decode_and_save() -> None:
        for number, path in enumerate(photographs.paths):
            simplejpeg.decode_jpeg(path.read_bytes(), min_height=SIZE[0], min_width=SIZE[1], min_factor=1)
            np.save(tmp_path / "least" / f"{number}.npy", sample)

    (tmp_path / "least").mkdir()
    ours, least = in_rounds(photographs, lambda: build_anew(photographs.root, tmp_path / "data"), lambda: taken(decode_and_save))
    count = len(photographs.paths)
    assert len(load_manifest(tmp_path / "data")) == count
    ratio = note(
        f"building {count:,} photographs", "decoding scaled down and np.save on one core, halved", ours.wall, least.wall / 2, count
    )
    tell(f"building: {ours.wall:.2f} s ({ours.cpu:.2f} s of processors); decoding and saving alone: {least.wall:.2f} s ({least.cpu:.2f} s)")
    assert not scale.measured or ratio >= 1 / 1.5


def test_building_against_a_loop_that_decodes_in_full(
    photographs: Photographs, tmp_path: Path, scale: Any, note: Callable[..., float], tell: Callable[[str], None]
) -> None:
    def loop() -> None:
        for number, path in enumerate(photographs.paths):
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB").resize(SIZE[::-1], Image.Resampling.BILINEAR))
            np.save(tmp_path / "loop" / f"{number}.npy", pixels)

    (tmp_path / "loop").mkdir()
    ours, theirs = in_rounds(photographs, lambda: build_anew(photographs.root, tmp_path / "data"), lambda: taken(loop))
    ratio = note(
        f"building {len(photographs.paths):,} photographs", "a loop of Pillow and np.save", ours.wall, theirs.wall, len(photographs.paths)
    )
    tell(f"building: {ours.wall:.2f} s ({ours.cpu:.2f} s of processors); a loop of Pillow: {theirs.wall:.2f} s ({theirs.cpu:.2f} s)")
    assert not scale.measured or ratio >= 3


def test_building_again_after_a_few_sources_changed(
    photographs: Photographs, tmp_path: Path, scale: Any, note: Callable[..., float], tell: Callable[[str], None]
) -> None:
    full = build_anew(photographs.root, tmp_path / "data")
    changed = photographs.paths[:: round(1 / CHANGED_SHARE)]
    measured = []
    for _ in range(photographs.rounds):
        for path in changed:
            status = path.stat()
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
        measured.append(taken(lambda: build(photographs.root, tmp_path / "data")))
    again, count = median(measured), len(photographs.paths)
    ratio = note(f"building again, {len(changed)} of {count:,} changed", "the whole", again.wall, full.wall, count)
    tell(f"building again: {again.wall:.2f} s ({again.cpu:.2f} s of processors); the whole: {full.wall:.2f} s ({full.cpu:.2f} s)")
    assert not scale.measured or ratio >= 1 / 0.05


def items_done(out: Path) -> int:
    """Count the records of a build's parts; the first line of a part is its header."""
    return sum(max(0, part.read_bytes().count(b"\n") - 1) for part in (out / STAGE_FOLDER / PART_FOLDER).glob("*.jsonl"))


def kill_at_half(photographs: Photographs, out: Path) -> None:
    """Start a build and kill it, with its workers, when half of its items are done."""
    process = subprocess.Popen(command(photographs.root, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while items_done(out) < len(photographs.paths) / 2 and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_going_on_after_a_kill_at_half(
    photographs: Photographs, tmp_path: Path, scale: Any, note: Callable[..., float], tell: Callable[[str], None]
) -> None:
    full = median([build_anew(photographs.root, tmp_path / "data") for _ in range(photographs.rounds)])
    measured = []
    for number in range(photographs.rounds):
        out = tmp_path / f"killed{number}"
        kill_at_half(photographs, out)
        measured.append(taken(lambda out=out: build(photographs.root, out)))
        assert (out / "manifest.csv").read_bytes() == (tmp_path / "data" / "manifest.csv").read_bytes()
        assert (out / "dataset.json").read_bytes() == (tmp_path / "data" / "dataset.json").read_bytes()
    rest, count = median(measured), len(photographs.paths)
    ratio = note(f"going on at half of {count:,} photographs", "the whole", rest.wall, full.wall, count)
    tell(f"going on: {rest.wall:.2f} s ({rest.cpu:.2f} s of processors); the whole: {full.wall:.2f} s ({full.cpu:.2f} s)")
    assert not scale.measured or ratio >= 1 / 0.6


def test_writing_so_that_it_lasts(tmp_path: Path, scale: Any, note: Callable[..., float], tell: Callable[[str], None]) -> None:
    count = 4 * MOST_ITEMS if scale.measured else 32
    array = np.random.default_rng(0).random((32, 32, 3), dtype=np.float32)

    def durably(target: Path) -> None:
        for start in range(0, count, MOST_ITEMS):
            records = [Record(id=f"{number:06d}", source="") for number in range(start, min(start + MOST_ITEMS, count))]
            done = [(record, (write_shard(record.id, array, target / "shards" / f"{record.id}.npy"),)) for record in records]
            write_part(target, done, {record.id: "" for record in records})

    def plainly(target: Path) -> None:
        for number in range(count):
            np.save(target / f"{number:06d}.npy", array)

    pairs = []
    for number in range(scale.rounds):
        for name in ("durably", "plainly"):
            (tmp_path / f"{name}{number}").mkdir()
        os.sync()  # what others have left to write
        plain = taken(lambda number=number: plainly(tmp_path / f"plainly{number}"))
        os.sync()
        pairs.append((taken(lambda number=number: durably(tmp_path / f"durably{number}")), plain))
    ours, theirs = median([pair[0] for pair in pairs]), median([pair[1] for pair in pairs])
    ratio = note(f"writing {count:,} shards of 12 KB to last", "np.save", ours.wall, theirs.wall, count)
    tell(f"writing to last: {ours.wall:.3f} s ({ours.cpu:.3f} s of processors); np.save: {theirs.wall:.3f} s ({theirs.cpu:.3f} s)")
    assert not scale.measured or ratio >= 1 / 1.5
