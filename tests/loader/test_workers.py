"""Worker processes deliver the same batches as reading inline, and whatever happens to one ends in a batch or an error."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loader import ShardError, WorkerError
from loader.feed import Feed
from loader.index import index_of_manifest
from loader.options import FeedOptions
from loader.workers import Workers
from manifests import Manifest

N, BATCH = 50, 4
BATCHES = -(-N // BATCH)
DEADLINE = 20.0

MakeWorkers = Callable[..., Workers]


def after(pass_: int, batch: int) -> Iterator[tuple[int, int]]:
    yield from ((pass_, later) for later in range(batch + 1, BATCHES))
    yield from ((pass_ + 1, later) for later in range(BATCHES))


@pytest.fixture
def manifest(make_dataset: Callable[..., Manifest]) -> Manifest:
    return make_dataset(N)


@pytest.fixture
def feed(manifest: Manifest) -> Feed:
    return Feed(index_of_manifest(manifest, label_mode="int"), FeedOptions(batch_size=BATCH, shuffle=True, seed=3))


@pytest.fixture
def make_workers(feed: Feed) -> Iterator[MakeWorkers]:
    made: list[Workers] = []

    def make(count: int = 2, queue_size: int = 4, **options: Any) -> Workers:
        made.append(Workers(options.pop("feed", feed), count, queue_size, **options))
        return made[-1]

    yield make
    for workers in made:
        workers.close()


def check_batch(workers: Workers, feed: Feed, pass_: int, batch: int) -> None:
    x, y = workers.take((pass_, batch), after(pass_, batch))
    expected_x, expected_y = feed.batch(pass_, batch)
    assert np.array_equal(x, expected_x)
    assert x.dtype == expected_x.dtype
    assert np.array_equal(y, expected_y)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z" if Path(f"/proc/{pid}/stat").exists() else False


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be in time"
        time.sleep(0.01)


@pytest.mark.parametrize(("count", "queue_size"), [(1, 1), (1, 10), (2, 2), (3, 7)])
def test_batches_are_the_same_bits_as_inline(make_workers: MakeWorkers, feed: Feed, count: int, queue_size: int) -> None:
    workers = make_workers(count, queue_size)
    for pass_ in range(2):
        for batch in range(BATCHES):
            check_batch(workers, feed, pass_, batch)
    assert len(workers.process_ids) == count


def test_batches_may_be_asked_for_in_any_order(make_workers: MakeWorkers, feed: Feed) -> None:
    workers = make_workers()
    for pass_, batch in [(0, 5), (3, 1), (0, 0), (0, 12), (7, 3), (7, 3)]:
        check_batch(workers, feed, pass_, batch)


def test_processes_stay_over_passes(make_workers: MakeWorkers, feed: Feed) -> None:
    workers = make_workers()
    check_batch(workers, feed, 0, 0)
    pids = workers.process_ids
    for pass_ in range(1, 4):
        check_batch(workers, feed, pass_, 0)
    assert workers.process_ids == pids


def test_a_conversion_happens_in_the_worker_too(make_workers: MakeWorkers, make_dataset: Callable[..., Manifest]) -> None:
    index = index_of_manifest(make_dataset(N, dtype="uint8"), label_mode="int")
    feed = Feed(index, FeedOptions(batch_size=BATCH, dtype="float32"))
    check_batch(make_workers(feed=feed), feed, 0, 3)


def test_batches_that_are_held_stay_what_they_are_and_are_not_waited_for(make_workers: MakeWorkers, feed: Feed) -> None:
    workers = make_workers()
    held = [workers.take((0, batch), after(0, batch))[0] for batch in range(BATCHES)]
    held += [workers.take((1, batch), after(1, batch))[0] for batch in range(BATCHES)]
    for number, x in enumerate(held):
        assert np.array_equal(x, feed.batch(*divmod(number, BATCHES))[0])


def test_memory_that_comes_back_is_used_again(make_workers: MakeWorkers, feed: Feed) -> None:
    workers = make_workers(1, 2)
    places = set()
    for pass_ in range(6):
        for batch in range(BATCHES):
            x, _ = workers.take((pass_, batch), after(pass_, batch))
            places.add(x.__array_interface__["data"][0])
            del x
    assert len(places) <= 9


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_worker_that_dies_is_replaced_and_nothing_is_lost(make_workers: MakeWorkers, feed: Feed, number: signal.Signals) -> None:
    workers = make_workers()
    for batch in range(BATCHES):
        if batch in {2, 7}:
            os.kill(workers.process_ids[batch % 2], number)
        check_batch(workers, feed, 0, batch)
    assert len(workers.process_ids) == 2


def test_workers_without_anything_to_do_leave_and_come_back(make_workers: MakeWorkers, feed: Feed) -> None:
    workers = make_workers(2, 4, idle=0.2)
    check_batch(workers, feed, 0, 0)
    for batch in range(1, 4):
        gone = workers.process_ids
        wait_until(lambda gone=gone: not any(map(is_alive, gone)))
        check_batch(workers, feed, 0, batch)


def test_a_stopped_worker_is_replaced_after_the_timeout(make_workers: MakeWorkers, feed: Feed) -> None:
    workers = make_workers(1, 2, timeout=1.0)
    check_batch(workers, feed, 0, 0)
    check_batch(workers, feed, 0, 1)
    stopped = workers.process_ids[0]
    os.kill(stopped, signal.SIGSTOP)
    for batch in range(2, 8):
        check_batch(workers, feed, 0, batch)
    assert workers.process_ids != [stopped]
    assert not is_alive(stopped)


def test_a_batch_at_which_workers_die_again_and_again_is_an_error_with_its_ids(
    make_workers: MakeWorkers, feed: Feed, manifest: Manifest
) -> None:
    workers = make_workers(1, 1, timeout=0.5)
    check_batch(workers, feed, 0, 0)
    # A read that never ends: the header is asked for from a pipe that a test holds open, in the place of a shard.
    deadly = feed.ids(0, 1)
    os.kill(workers.process_ids[0], signal.SIGSTOP)
    original = Workers._start

    def start_stopped(self: Workers) -> None:
        before = set(self.process_ids)
        original(self)
        for process in self._processes:
            if process.popen.pid not in before:
                wait_until(lambda process=process: process.ready or bool(self._note(process)))
                os.kill(process.popen.pid, signal.SIGSTOP)

    def note(self: Workers, process: Any) -> None:
        self._note_replies(process, os.read(process.replies, 1000))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Workers, "_note", note, raising=False)
        patch.setattr(Workers, "_start", start_stopped)
        with pytest.raises(WorkerError) as caught:
            workers.take((0, 1), after(0, 1))
    for id_ in deadly:
        assert repr(id_) in str(caught.value)
    check_batch(workers, feed, 0, 2)


def test_an_error_arrives_with_its_own_type_and_the_workers_traceback(make_workers: MakeWorkers, feed: Feed, manifest: Manifest) -> None:
    id_ = feed.ids(0, 4)[1]
    manifest.path_of(id_).unlink()
    workers = make_workers()
    for batch in range(4):
        check_batch(workers, feed, 0, batch)
    with pytest.raises(ShardError, match=f"ID '{id_}'.*no such file") as caught:
        workers.take((0, 4), after(0, 4))
    assert "in a worker process" in "".join(caught.value.__notes__)
    assert "reading.py" in "".join(caught.value.__notes__)
    for batch in range(5, BATCHES):
        check_batch(workers, feed, 0, batch)


def test_a_worker_that_hangs_before_it_reads_its_job_is_an_error_and_no_hang(
    make_workers: MakeWorkers, make_dataset: Callable[..., Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loader.processes._BOOTSTRAP", "import time; time.sleep(60)")
    monkeypatch.setattr("loader.workers.START_SECONDS", 0.5)
    # More than a pipe holds.
    manifest = make_dataset(1000, ids=[f"{i:0200d}" for i in range(1000)])
    feed = Feed(index_of_manifest(manifest, label_mode="int"), FeedOptions(batch_size=BATCH))
    started = time.monotonic()
    with pytest.raises(WorkerError, match="cannot start"):
        make_workers(1, 1, feed=feed, timeout=0.5).take((0, 0), after(0, 0))
    assert time.monotonic() < started + DEADLINE


def test_workers_that_cannot_start_are_an_error_and_no_hang(make_workers: MakeWorkers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loader.processes._BOOTSTRAP", "raise SystemExit(7)")
    with pytest.raises(WorkerError, match=r"cannot start \(exit status 7\).*workers=0"):
        make_workers().take((0, 0), after(0, 0))


@pytest.mark.parametrize("how", ["close", "garbage"])
def test_nothing_is_left_at_the_end(feed: Feed, how: str) -> None:
    workers = Workers(feed, 2, 4)
    x, _ = workers.take((0, 0), after(0, 0))
    pids = workers.process_ids
    assert all(map(is_alive, pids))
    if how == "close":
        workers.close()
    del workers
    gc.collect()
    wait_until(lambda: not any(map(is_alive, pids)))
    assert np.array_equal(x, feed.batch(0, 0)[0])


def test_nothing_is_left_after_many_constructions(feed: Feed) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(100):
        Workers(feed, 2, 4)
    for _ in range(5):
        workers = Workers(feed, 2, 4)
        workers.take((0, 0), after(0, 0))
        workers.close()
        del workers
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_closed_workers_start_again(make_workers: MakeWorkers, feed: Feed) -> None:
    workers = make_workers()
    check_batch(workers, feed, 0, 0)
    workers.close()
    check_batch(workers, feed, 0, 1)


class Interrupted(BaseException):
    pass


@pytest.mark.parametrize("place", ["workers.write_all", "processes.Replies.feed", "workers.os.read"])
def test_an_interrupt_between_any_two_steps_never_makes_one_batch_another(
    make_workers: MakeWorkers, feed: Feed, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def interrupt(*_: object) -> None:
        raise Interrupted

    workers = make_workers(1, 4)
    check_batch(workers, feed, 0, 0)
    for batch in range(1, 4):
        with monkeypatch.context() as patch:
            patch.setattr(f"loader.{place}", interrupt)
            with pytest.raises(Interrupted):
                workers.take((batch, 3), after(batch, 3))
        for later in range(BATCHES):
            check_batch(workers, feed, batch, later)


def test_neither_the_current_folder_nor_odd_entries_of_the_path_keep_workers_from_starting(
    make_workers: MakeWorkers, feed: Feed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "struct", "pickle"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, tmp_path])
    check_batch(make_workers(), feed, 0, 0)


SCRIPT = """
import os, sys
import numpy as np
print("main runs", flush=True)
from loader.feed import Feed
from loader.index import index_of_manifest
from loader.options import FeedOptions
from loader.workers import Workers
from manifests import load_manifest

feed = Feed(index_of_manifest(load_manifest({root!r}), label_mode="int"), FeedOptions(batch_size=4))
workers = Workers(feed, 2, 4)
x, _ = workers.take((0, 0), iter([(0, 1), (0, 2)]))
print("pids", *workers.process_ids, len(x), flush=True)
{end}
"""


def start_script(manifest: Manifest, end: str) -> tuple[subprocess.Popen[str], list[int]]:
    """Run an unguarded script that uses workers; return it with its workers' process ids."""
    script = SCRIPT.format(root=str(manifest.root), end=end)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    popen = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment)
    assert popen.stdout is not None
    assert popen.stdout.readline() == "main runs\n"
    pids = list(map(int, popen.stdout.readline().split()[1:3]))
    return popen, pids


@pytest.mark.parametrize(
    ("end", "number"),
    [("", None), ("sys.stdin.read()", signal.SIGKILL), ("sys.stdin.read()", signal.SIGTERM), ("raise KeyError('x')", None)],
    ids=["ends", "killed", "terminated", "raises"],
)
def test_workers_end_with_their_parent_and_never_run_its_main(manifest: Manifest, end: str, number: signal.Signals | None) -> None:
    popen, pids = start_script(manifest, end)
    try:
        if number is not None:
            assert all(map(is_alive, pids))
            popen.send_signal(number)
        out, _ = popen.communicate(timeout=DEADLINE)
        assert "main runs" not in out
        wait_until(lambda: not any(map(is_alive, pids)))
    finally:
        popen.kill()


def test_a_worker_imports_neither_keras_nor_a_decoder(make_workers: MakeWorkers, feed: Feed) -> None:
    workers = make_workers(1)
    check_batch(workers, feed, 0, 0)
    maps = Path(f"/proc/{workers.process_ids[0]}/maps").read_text()
    for name in ("tensorflow", "keras", "PIL", "jax"):
        assert f"/{name}/" not in maps, name
