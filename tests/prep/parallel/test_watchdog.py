from __future__ import annotations

import fcntl
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from prep.build.execute.chunk import BuildChunk, build_chunk
from prep.build.execute.journal import nothing_written
from prep.build.execute.samples import Made
from prep.build.recipe.recipe import Recipe
from prep.parallel import watchdog
from prep.parallel.watchdog import new_watch
from prep.readers.arrays import ArrayOptions
from prep.sources.items import Item


class Clock:
    """A guard that only writes down when it runs."""

    running: str | None = None

    def begin(self, id_: str) -> None:
        self.running = id_

    def end(self) -> None:
        self.running = None

    def is_told_to_stop(self) -> bool:
        return False


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(watchdog, "_guards", [clock])
    return clock


@pytest.fixture
def chunk(tmp_path: Path) -> BuildChunk:
    items = [Item(id=name, source=f"{name}.npy") for name in ("a", "b", "c")]
    for item in items:
        np.save(tmp_path / item.source, np.zeros(2))
    recipe = Recipe(format="arrays", options=ArrayOptions())
    return BuildChunk(
        root=tmp_path,
        target=tmp_path / "out",
        recipe=recipe,
        items=items,
        fingerprints={item.id: "0" * 32 for item in items},
        positions={item.id: position for position, item in enumerate(items)},
    )


def test_the_clock_runs_while_an_item_is_read_and_not_while_parts_are_written(
    chunk: BuildChunk, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is slow to flush what many items wrote must not cost the last of them its place."""
    reading, flushing = [], []
    monkeypatch.setattr("prep.build.execute.chunk.PART_SECONDS", 0.0)
    monkeypatch.setattr("prep.build.execute.chunk.samples_of", lambda *_: reading.append(clock.running) or Made(samples=[]))
    monkeypatch.setattr("prep.build.execute.chunk.write_part", lambda *_, **__: flushing.append(clock.running) or nothing_written())
    build_chunk(chunk)
    assert reading == ["a", "b", "c"]
    assert len(flushing) >= 3
    assert set(flushing) == {None}


def test_the_clock_stops_when_an_item_ends_the_chunk(clock: Clock) -> None:
    def work(items: Iterator[Item]) -> None:
        for _ in items:
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011  # whatever it is
        work(watchdog.watched([Item(id="a", source="a")]))
    assert clock.running is None


def test_a_chunk_goes_through_any_executors_pickle(chunk: BuildChunk) -> None:
    assert pickle.loads(pickle.dumps(chunk)) == chunk  # noqa: S301  # our own


class Timer:
    """In place of `faulthandler`: notes when the clock is set, by a time of its own."""

    def __init__(self) -> None:
        self.now = 100.0
        self.set: list[tuple[float, float]] = []
        self.stopped = 0

    def monotonic(self) -> float:
        return self.now

    def dump_traceback_later(self, seconds: float, **_: object) -> None:
        self.set.append((self.now, seconds))

    def cancel_dump_traceback_later(self) -> None:
        self.stopped += 1


def test_an_item_has_its_full_time_and_an_eighth_more_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timer = Timer()
    monkeypatch.setattr(watchdog, "faulthandler", timer)
    monkeypatch.setattr(watchdog, "time", timer)
    guard = watchdog._Guard(watchdog.Watch(folder=tmp_path, seconds=80.0))
    for number in range(1000):
        guard.begin(f"item {number}")
        at, seconds = timer.set[-1]
        assert 80.0 <= at + seconds - timer.now <= 90.0
        timer.now += 0.5
    assert len(timer.set) <= 51  # a start of a thread each
    guard.end()
    assert timer.stopped == 1
    guard.begin("after a pause")
    assert timer.set[-1][0] == timer.now
    guard._late.close()


@pytest.mark.parametrize("names", [["a"], ["a long name", "b"], ["", "x"], ["x" * 20_000], ["\udcff/caf\u00e9"]])
def test_the_item_that_is_late_is_named(names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "faulthandler", Timer())
    watch = watchdog.Watch(folder=tmp_path, seconds=1.0)
    guard = watchdog._Guard(watch)
    for name in names:
        guard.begin(name)
    assert watch.take_late() == frozenset()
    guard._late.write(b"Timeout")
    assert watch.take_late() == {names[-1][:8188]}
    assert watch.take_late() == frozenset()
    guard._late.close()


def test_what_a_killed_build_left_goes_with_the_next_watch_and_what_is_in_use_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, unfinished = tmp_path / "prep-watch-left", tmp_path / "prep-watch-unfinished"
    for folder in (left, unfinished):
        folder.mkdir()
    (left / "alive").touch()
    with watchdog.new_watch(1.0) as outer:
        assert not left.exists()
        with watchdog.new_watch(1.0) as inner:
            assert outer.folder.exists()
            assert inner.folder.exists()
        assert not inner.folder.exists()
    assert not outer.folder.exists()
    assert unfinished.exists()


def test_a_link_of_that_name_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "alive").touch()
    (tmp_path / "prep-watch-link").symlink_to(elsewhere)
    with watchdog.new_watch(1.0):
        assert (elsewhere / "alive").exists()


HOLD_WORKERS = """
import sys, threading
from prep.parallel.executors import open_workers
with open_workers(2) as workers:
    workers.executor.submit(int).result()
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="semaphores are files on Linux alone")
def test_semaphores_of_a_killed_process_group_go_with_the_next_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also loky's own tracker is killed, which is there to remove them."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def semaphores() -> list[Path]:
        return list(watchdog.SEMAPHORE_FOLDER.glob(f"sem.loky-{process.pid}-*"))

    with subprocess.Popen(
        [sys.executable, "-c", HOLD_WORKERS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            with new_watch(1.0):
                assert semaphores()  # they are in use
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    while (held := list(tmp_path.glob("prep-watch-*/alive"))) and is_locked(held[0]):  # the kernel has not ended them all yet
        os.sched_yield()
    assert semaphores()
    with new_watch(1.0):
        assert semaphores() == []


def is_locked(path: Path) -> bool:
    with open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_note_of_semaphores_removes_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(watchdog, "SEMAPHORE_FOLDER", tmp_path / "shm")
    left = tmp_path / "prep-watch-left"
    for folder in (left, tmp_path / "shm"):
        folder.mkdir()
    for name in ("theirs", "sem.loky-1-x"):
        (tmp_path / "shm" / name).touch()
    (left / "alive").touch()
    (tmp_path / "outside").touch()
    (left / "semaphores").write_text("theirs\n../outside\nsem.loky-/../../outside\nsem.loky-1-x\nsem.loky-1-gone\n\n")
    with new_watch(1.0):
        assert os.listdir(tmp_path / "shm") == ["theirs"]
    assert (tmp_path / "outside").exists()
