"""Building a dataset of photographs, against what a loop of one's own takes for the same files; all of them in the page cache.

A build is measured twice: as the call of `build_shards` in an interpreter that has imported it, and as the whole command, from the
start of the interpreter to its end; both with their worker processes' start and the manifest on the disk. It takes seconds, so there
are few rounds, and the CPU time of all its processes stands beside the table: it moves less with the machine than wall time.

Everything that is timed writes to a folder of its own, and nothing is deleted before all is measured: where many files were just
deleted, ext4 takes twenty times as long to make one, for minutes.
"""

from __future__ import annotations

import io
import itertools
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from photographs import Photographs  # found as `conftest` says
from PIL import Image

from manifests.files.durable import sync_below
from prep.build.execute.chunk import MOST_ITEMS
from prep.build.execute.journal import Done, count_done, write_part
from prep.build.execute.shards import NewShard, write_new, write_shards
from prep.build.stage.leftovers import stages
from prep.sources.items import Item

BUILD = "from prep.cli.app import main; main()"
CALL = """
import sys, time
from prep import BuildOptions, ShardOptions, SilentReporter, build_shards
source, out, workers = sys.argv[1:]
options = BuildOptions(shards=ShardOptions(size=(32, 32), color="rgb", dtype="uint8"), workers=int(workers) or None)
start = time.perf_counter()
build_shards(source, out, options, report=SilentReporter())
print(time.perf_counter() - start)
"""
WORKERS = ("--workers", "2")
OPTIONS = ("--size", "32x32", "--color", "rgb", "--dtype", "uint8", *WORKERS)
SIZE = (32, 32)
CHANGED_SHARE = 0.01
LEAST_AGAIN = 13
"""Times as fast as the whole that building one file in a hundred again must at least be, of many; 20 is the aim."""

DEADLINE_SECONDS = 600.0

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("compiled")]


@dataclass(frozen=True)
class Taken:
    """What a piece of work took, in seconds: on the clock, and of processors by all of its processes; of a build also its call."""

    wall: float
    cpu: float
    call: float = 0.0


@pytest.fixture(scope="module")
def many(photographs: Photographs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Photographs]]:
    """Return a function that gives the photographs under so many names each; all of them go when everything is measured.

    Names of one photograph stand far apart in their order, as photographs of which each is another would.
    """
    made: list[Path] = []

    def named(names: int) -> Photographs:
        root = tmp_path_factory.mktemp("many")
        made.append(root)
        for path in photographs.paths:
            folder = root / path.parent.name
            folder.mkdir(exist_ok=True)
            for number in range(names):
                os.link(path, folder / f"{number:02d}-{path.stem}.jpg")
        return Photographs(root, sorted(root.rglob("*.jpg")), photographs.rounds)

    yield named
    for root in made:
        shutil.rmtree(root)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Path]]:
    """Return a function that gives a folder that is not there yet; all of them go when everything is measured."""
    base, numbers = tmp_path_factory.mktemp("fresh"), itertools.count()
    yield lambda: base / str(next(numbers))
    shutil.rmtree(base)


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


def build(source: Path, out: Path, *options: str) -> None:
    subprocess.run([*command(source, out), *options], check=True, capture_output=True)


def call_of(source: Path, out: Path, workers: int) -> float:
    """Build by a call in an interpreter of its own, and return the seconds of the call alone."""
    ran = subprocess.run([sys.executable, "-c", CALL, source, out, str(workers)], check=True, capture_output=True, text=True)
    return float(ran.stdout)


def build_anew(source: Path, fresh: Callable[[], Path]) -> Taken:
    """Build by the command, and again by a call."""
    by_command = taken(lambda: build(source, fresh()))
    return replace(by_command, call=call_of(source, fresh(), 2))


def median(measured: list[Taken]) -> Taken:
    return Taken(*(statistics.median(getattr(one, name) for one in measured) for name in ("wall", "cpu", "call")))


def in_rounds(photographs: Photographs, ours: Callable[[], Taken], theirs: Callable[[], Taken]) -> tuple[Taken, Taken]:
    """Measure both ways in pairs, and return the medians."""
    pairs = [(theirs(), ours()) for _ in range(photographs.rounds)]
    return median([mine for _, mine in pairs]), median([other for other, _ in pairs])


def test_building_against_decoding_and_saving_alone(
    photographs: Photographs, fresh: Callable[[], Path], scale: Any, note: Callable[..., float], tell: Callable[[str], None]
) -> None:
    sample = np.zeros((*SIZE, 3), dtype=np.uint8)

    def decode_and_save() -> None:
        folder = fresh()
        folder.mkdir()
        for number, path in enumerate(photographs.paths):
            simplejpeg.decode_jpeg(path.read_bytes(), min_height=SIZE[0], min_width=SIZE[1], min_factor=1)
            np.save(folder / f"{number}.npy", sample)

    ours, least = in_rounds(photographs, lambda: build_anew(photographs.root, fresh), lambda: taken(decode_and_save))
    count = len(photographs.paths)
    against = "decoding scaled down and np.save on one core, halved"
    note(f"building {count:,} photographs, the command", against, ours.wall, least.wall / 2, count)
    ratio = note(f"building {count:,} photographs, the call", against, ours.call, least.wall / 2, count)
    tell(
        f"building: the command {ours.wall:.2f} s ({ours.cpu:.2f} s of processors), the call {ours.call:.2f} s; "
        f"decoding and saving alone: {least.wall:.2f} s ({least.cpu:.2f} s)"
    )
    assert not scale.measured or ratio >= 1 / 1.5


def test_building_against_a_loop_that_decodes_in_full(
    photographs: Photographs, fresh: Callable[[], Path], scale: Any, note: Callable[..., float], tell: Callable[[str], None]
) -> None:
    def loop() -> None:
        folder = fresh()
        folder.mkdir()
        for number, path in enumerate(photographs.paths):
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB").resize(SIZE[::-1], Image.Resampling.BILINEAR))
            np.save(folder / f"{number}.npy", pixels)

    ours, theirs = in_rounds(photographs, lambda: build_anew(photographs.root, fresh), lambda: taken(loop))
    count = len(photographs.paths)
    note(f"building {count:,} photographs, the command", "a loop of Pillow and np.save", ours.wall, theirs.wall, count)
    ratio = note(f"building {count:,} photographs, the call", "a loop of Pillow and np.save", ours.call, theirs.wall, count)
    tell(f"building: {ours.wall:.2f} s ({ours.cpu:.2f} s of processors); a loop of Pillow: {theirs.wall:.2f} s ({theirs.cpu:.2f} s)")
    assert not scale.measured or ratio >= 3


def change_some(paths: list[Path]) -> int:
    """Replace one file in a hundred by another of the same content; return how many."""
    changed = paths[:: round(1 / CHANGED_SHARE)]
    for path in changed:
        other = path.with_name(".other")
        other.write_bytes(path.read_bytes())
        other.replace(path)
    return len(changed)


@pytest.mark.parametrize("names", [1, 10, 40])
def test_building_again_after_a_few_sources_changed(
    names: int,
    many: Callable[[int], Photographs],
    fresh: Callable[[], Path],
    scale: Any,
    note: Callable[..., float],
    tell: Callable[[str], None],
) -> None:
    """With as many workers as a build takes by itself; the more photographs, the less what any command takes counts."""
    source = many(names if scale.measured else 1)
    full = build_anew(source.root, fresh)
    out = fresh()
    build(source.root, out)
    measured = []
    for _ in range(source.rounds):
        changed = change_some(source.paths)
        by_command = taken(
            lambda: subprocess.run([arg for arg in command(source.root, out) if arg not in WORKERS], check=True, capture_output=True)
        )
        change_some(source.paths)
        measured.append(replace(by_command, call=call_of(source.root, out, 0)))
    again, count = median(measured), len(source.paths)
    note(f"building again, {changed:,} of {count:,} changed, the command", "the whole", again.wall, full.wall, count)
    ratio = note(f"building again, {changed:,} of {count:,} changed, the call", "the whole", again.call, full.call, count)
    tell(
        f"building again: the command {again.wall:.2f} s ({again.cpu:.2f} s of processors), the call {again.call:.2f} s; "
        f"the whole: {full.wall:.2f} s ({full.cpu:.2f} s), the call {full.call:.2f} s"
    )
    assert not scale.measured or names == 1 or ratio >= LEAST_AGAIN


def items_done(out: Path) -> int:
    """Count the records of a build's parts; the first line of a part is its header."""
    return sum(map(count_done, stages(out)))


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


@pytest.mark.parametrize("names", [1, 10])
def test_going_on_after_a_kill_at_half(
    names: int,
    many: Callable[[int], Photographs],
    fresh: Callable[[], Path],
    scale: Any,
    note: Callable[..., float],
    tell: Callable[[str], None],
) -> None:
    source, whole = many(names if scale.measured else 1), fresh()
    build(source.root, whole)
    full, measured = [], []
    for _ in range(source.rounds if names == 1 else 2):
        full.append(taken(lambda: build(source.root, fresh())))
        out = fresh()
        kill_at_half(source, out)
        measured.append(taken(lambda out=out: build(source.root, out)))
        assert (out / "manifest.csv").read_bytes() == (whole / "manifest.csv").read_bytes()
        assert (out / "dataset.json").read_bytes() == (whole / "dataset.json").read_bytes()
    rest, all_, count = median(measured), median(full), len(source.paths)
    ratio = note(f"going on at half of {count:,} photographs, the command", "the whole", rest.wall, all_.wall, count)
    tell(f"going on: {rest.wall:.2f} s ({rest.cpu:.2f} s of processors); the whole: {all_.wall:.2f} s ({all_.cpu:.2f} s)")
    assert not scale.measured or names < 10 or ratio >= 1 / 0.6


@pytest.mark.parametrize("described", [False, True])
def test_writing_so_that_it_lasts(
    described: bool, fresh: Callable[[], Path], scale: Any, note: Callable[..., float], tell: Callable[[str], None]
) -> None:
    """Durable writing alone, and with all that a build says of a shard: its SHA-256, its moments and the part."""
    count = 16 * MOST_ITEMS if scale.measured else 32
    array = np.random.default_rng(0).random((32, 32, 3), dtype=np.float32)
    plain = io.BytesIO()
    np.save(plain, array)
    header, payload = plain.getvalue()[: -array.nbytes], array.reshape(-1).view(np.uint8).data

    def paths(target: Path, start: int) -> list[str]:
        return [f"{target}/shards/{number:06d}.npy" for number in range(start, min(start + MOST_ITEMS, count))]

    def durably(target: Path) -> None:
        for start in range(0, count, MOST_ITEMS):
            for path in paths(target, start):
                write_new(path, header, payload)
            sync_below(target, map(Path, paths(target, start)))

    def with_parts(target: Path) -> None:
        for start in range(0, count, MOST_ITEMS):
            shards = write_shards([NewShard(Path(path).stem, array, path) for path in paths(target, start)])
            done: list[Done] = [(Item(id=shard.id, source=""), (shard,), "") for shard in shards]
            ids = [shard.id for shard in shards]
            write_part(target, done, fingerprints=dict.fromkeys(ids, ""), positions=dict.fromkeys(ids, 0))

    def plainly(target: Path) -> None:
        for number in range(count):
            np.save(target / f"{number:06d}.npy", array)

    def measured(work: Callable[[Path], None]) -> Taken:
        target = fresh()
        target.mkdir()
        os.sync()  # what others have left to write
        return taken(lambda: work(target))

    pairs = [(measured(with_parts if described else durably), measured(plainly)) for _ in range(scale.rounds)]
    ours, theirs = median([pair[0] for pair in pairs]), median([pair[1] for pair in pairs])
    what = f"writing {count:,} shards of 12 KB to last" + (", with SHA-256, moments and parts" if described else "")
    ratio = note(what, "np.save", ours.wall, theirs.wall, count)
    tell(f"{what}: {ours.wall:.3f} s ({ours.cpu:.3f} s of processors); np.save: {theirs.wall:.3f} s ({theirs.cpu:.3f} s)")
    assert described or not scale.measured or ratio >= 1 / 1.5
