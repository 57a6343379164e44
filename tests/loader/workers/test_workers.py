"""Worker processes deliver the same batches as reading inline, and whatever happens to one ends in a batch or an error."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from acts import At, ForgetfulError, OwnError, double, growing, imported, noisy
from feeding import check_batch, check_pass, check_same, feed_of, is_alive, take, traces, wait_until

from loader import ShardError, WorkerError
from loader.feed.feed import Feed
from loader.workers.pool.pool import Pool
from loader.workers.workers import Workers
from manifests import Manifest

N, BATCH = 50, 4
BATCHES = -(-N // BATCH)

MakeWorkers = Callable[..., Workers]


@pytest.fixture
def manifest(make_dataset: Callable[..., Manifest]) -> Manifest:
    return make_dataset(N)


@pytest.fixture
def feed(manifest: Manifest) -> Feed:
    return feed_of(manifest)


@pytest.fixture
def make_workers(feed: Feed) -> Iterator[MakeWorkers]:
    """Return a function that makes workers of a pool of their own; all of them end with the test."""
    made: list[Workers] = []

    def make(count: int = 2, queue_size: int = 4, *, feed: Feed = feed, **options: Any) -> Workers:
        made.append(Workers(feed, count, queue_size, **({"pool": Pool()} | options)))
        return made[-1]

    yield make
    pids = [pid for workers in made for pid in workers.process_ids]
    for workers in made:
        workers.close()
    assert not any(map(is_alive, pids))


@pytest.mark.parametrize(("count", "queue_size"), [(1, 1), (1, 10), (2, 2), (3, 7)])
def test_batches_are_the_same_bits_as_inline(make_workers: MakeWorkers, feed: Feed, count: int, queue_size: int) -> None:
    workers = make_workers(count, queue_size)
    for pass_ in range(2):
        check_pass(workers, feed, pass_)
    assert len(workers.process_ids) == count
    assert workers.restarts == 0


@pytest.mark.parametrize(
    "options",
    [
        {"transform": double},
        {"transform": noisy, "dtype": "float64"},
        {"batch_transform": growing},
        {"transform": noisy, "batch_transform": noisy, "drop_remainder": True},
        {"pad_to": (6, 5), "pad_value": -1.0},
        {"dtype": "float64", "process_index": 1, "process_count": 2},
        {"keep_cached": False},
    ],
    ids="-".join,
)
def test_options_count_in_workers_as_inline(make_workers: MakeWorkers, manifest: Manifest, options: dict[str, Any]) -> None:
    feed = feed_of(manifest, **options)
    workers = make_workers(feed=feed)
    for pass_ in (0, 5):
        check_pass(workers, feed, pass_)


def test_batches_may_be_asked_for_in_any_order(make_workers: MakeWorkers, feed: Feed) -> None:
    workers = make_workers()
    for pass_, batch in [(0, 5), (3, 1), (0, 0), (0, 12), (7, 3), (7, 3)]:
        check_batch(workers, feed, pass_, batch)


def test_a_queue_may_be_longer_than_a_pipe_is_large(make_workers: MakeWorkers, make_dataset: Callable[..., Manifest]) -> None:
    feed = feed_of(make_dataset(3000, shape=(1,)), batch_size=1)
    workers = make_workers(1, 3000, feed=feed)
    for batch in (0, 1, 2, 2000, 2001):
        check_batch(workers, feed, 0, batch)


def test_processes_stay_over_passes(make_workers: MakeWorkers, feed: Feed) -> None:
    workers = make_workers()
    check_batch(workers, feed, 0, 0)
    pids = workers.process_ids
    for pass_ in range(1, 4):
        check_batch(workers, feed, pass_, 0)
    assert workers.process_ids == pids


def test_batches_that_are_held_stay_what_they_are_and_are_not_waited_for(make_workers: MakeWorkers, feed: Feed) -> None:
    workers = make_workers()
    held = [take(workers, feed, *divmod(number, BATCHES)) for number in range(2 * BATCHES)]
    workers.close()
    for number, batch in enumerate(held):
        check_same(batch, feed.batch(*divmod(number, BATCHES)).batch)


def test_memory_that_comes_back_is_used_again(make_workers: MakeWorkers, feed: Feed) -> None:
    workers = make_workers(1, 2)
    places = set()
    for number in range(6 * BATCHES):
        x, _ = take(workers, feed, *divmod(number, BATCHES))
        places.add(x.__array_interface__["data"][0])
        del x
    assert len(places) <= 3


# What happens to a worker from outside.


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_worker_that_dies_is_replaced_and_nothing_is_lost(make_workers: MakeWorkers, feed: Feed, number: signal.Signals) -> None:
    workers = make_workers()
    for batch in range(BATCHES):
        if batch in {2, 7}:
            os.kill(workers.process_ids[batch % 2], number)
        check_batch(workers, feed, 0, batch)
    check_pass(workers, feed, 1)
    assert len(workers.process_ids) == 2
    assert workers.restarts == 2


def test_all_workers_may_die_at_once_and_again(make_workers: MakeWorkers, feed: Feed) -> None:
    queue_size = 4
    workers = make_workers(2, queue_size)
    # What was in work at one death is done by the next: a batch that meets two of them is given up, and rightly.
    deaths = range(0, 2 * BATCHES, queue_size)[:-1]
    for number in range(2 * BATCHES):
        check_batch(workers, feed, *divmod(number, BATCHES))
        if number in deaths:
            for pid in workers.process_ids:
                os.kill(pid, signal.SIGKILL)
    assert workers.restarts == 2 * len(deaths)


def test_a_batch_that_a_dead_worker_had_not_begun_is_not_blamed(
    make_workers: MakeWorkers, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loader.workers.pool.member.MOST_ATTEMPTS", 1)
    workers = make_workers(1, 1)
    for batch in range(3):
        check_batch(workers, feed, 0, batch)
        # It dies, as for want of memory, with the next batch in its pipe.
        stopped = workers.process_ids[0]
        os.kill(stopped, signal.SIGSTOP)
        death = threading.Timer(0.3, os.kill, (stopped, signal.SIGKILL))
        death.start()
        check_batch(workers, feed, 1, batch)
        death.join()
    assert workers.restarts == 3


@pytest.mark.parametrize("where", ["SharedMemory.__init__", "SharedMemory.put_job"])
def test_memory_that_cannot_be_shared_is_said_and_asked_for_again(
    make_workers: MakeWorkers, feed: Feed, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    workers = make_workers()
    with monkeypatch.context() as patch:
        patch.setattr(f"loader.feed.reading.shared_memory.{where}", fail)
        with pytest.raises(WorkerError, match=r"no room .* lies in the machine's memory: No space left on device; .*workers=0"):
            take(workers, feed, 0, 0)
    check_pass(workers, feed, 0)


def test_workers_that_die_one_after_the_other_with_nothing_begun_are_an_error_and_no_hang(
    make_workers: MakeWorkers, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready_and_dead = """
import os, sys; sys.path[:] = __import__("json").loads(sys.argv[1])[1]; from loader.workers.messages import Ready, packed
os.write(int(sys.argv[3]), packed(Ready())); os.kill(os.getpid(), 9)"""
    workers = make_workers()
    with monkeypatch.context() as patch:
        patch.setattr("loader.workers.processes._BOOTSTRAP", ready_and_dead)
        patch.setattr("loader.workers.pool.blame.MOST_VAIN_DEATHS", 3)
        with pytest.raises(WorkerError, match=r"3 worker processes in a row died \(exit status -9\) before they began.*workers=0"):
            take(workers, feed, 0, 0)
    check_batch(workers, feed, 0, 0)


def test_workers_without_anything_to_do_leave_and_come_back(make_workers: MakeWorkers, feed: Feed) -> None:
    workers = make_workers(2, 4, pool=Pool(idle=0.1))
    check_batch(workers, feed, 0, 0)
    for batch in range(1, 4):
        gone = workers.process_ids
        wait_until(lambda gone=gone: not any(map(is_alive, gone)))
        check_batch(workers, feed, 0, batch)
    assert workers.restarts == 0


def test_a_stopped_worker_is_replaced_after_the_timeout(make_workers: MakeWorkers, feed: Feed) -> None:
    workers = make_workers(1, 2, timeout=1.5)
    check_batch(workers, feed, 0, 0)
    check_batch(workers, feed, 0, 1)
    stopped = workers.process_ids[0]
    os.kill(stopped, signal.SIGSTOP)
    for batch in range(2, 8):
        check_batch(workers, feed, 0, batch)
    assert workers.process_ids != [stopped]
    assert not is_alive(stopped)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, signal.SIGSEGV])
def test_a_signal_to_all_workers_loses_nothing(make_workers: MakeWorkers, feed: Feed, number: signal.Signals) -> None:
    workers = make_workers(2, 4, timeout=1.5)
    for batch in range(4):
        check_batch(workers, feed, 0, batch)
    gone = workers.process_ids
    for pid in gone:
        os.kill(pid, number)
    for batch in range(4, BATCHES):
        check_batch(workers, feed, 0, batch)
    check_pass(workers, feed, 1)
    assert not set(gone) & set(workers.process_ids)
    assert not any(map(is_alive, gone))


@pytest.mark.parametrize("seconds", [pytest.param(90, marks=pytest.mark.faults), 5])
def test_signals_at_any_moment_end_in_the_batch_or_in_an_error_with_its_ids(make_workers: MakeWorkers, feed: Feed, seconds: float) -> None:
    draw = random.Random(7)  # noqa: S311  # no secret
    workers = make_workers(2, 4, timeout=1.5)
    over, batches, errors = threading.Event(), 0, 0
    told: list[tuple[str, list[str]]] = []

    def shoot() -> None:
        while not over.wait(draw.uniform(0, 0.6)):
            for pid in draw.sample(workers.process_ids, draw.randint(0, len(workers.process_ids))):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, draw.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, signal.SIGCONT, signal.SIGSEGV]))

    shooter = threading.Thread(target=shoot)
    shooter.start()
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end or not batches:
            key = divmod(batches + errors, BATCHES)
            try:
                check_batch(workers, feed, *key)
                batches += 1
            except WorkerError as error:
                told.append((str(error), feed.ids(*key)))
                errors += 1
    finally:
        over.set()
        shooter.join()
    for message, ids in told:
        # Or many died one after the other, before they began on any batch or as they started.
        assert all(repr(id_) in message for id_ in ids) or "in a row" in message or "cannot start" in message
    check_pass(workers, feed, 99)


def test_no_module_of_the_current_folder_is_imported_in_place_of_pythons_own(
    make_workers: MakeWorkers, feed: Feed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("queue", "signal", "mmap", "numpy", "loader"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the current folder')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    check_pass(make_workers(2, 4), feed, 0)


# What a transform does to its worker.

DEADLY = ["killed", "os._exit(0)", "segfault"]


@pytest.mark.parametrize("act", [*DEADLY, "terminated", "os._exit(3)", "abort", "stopped", "hang"])
def test_a_batch_at_which_a_worker_died_is_done_again(make_workers: MakeWorkers, manifest: Manifest, tmp_path: Path, act: str) -> None:
    feed = feed_of(manifest, At(17, act, tmp_path / "done", but=os.getpid()))
    workers = make_workers(2, 4, feed=feed, timeout=1.5 if act in {"stopped", "hang"} else 120)
    check_pass(workers, feed, 0)
    assert (tmp_path / "done").exists()
    assert workers.restarts == 1


@pytest.mark.parametrize("act", [*DEADLY, "stopped", "hang", "no memory"])
def test_a_batch_at_which_workers_die_again_and_again_is_an_error_with_its_ids(
    make_workers: MakeWorkers, manifest: Manifest, act: str
) -> None:
    feed = feed_of(manifest, At(17, act, but=os.getpid()))
    deadly = next(batch for batch in range(BATCHES) if "s017" in feed.ids(0, batch))
    hangs = act in {"stopped", "hang"}
    workers = make_workers(1, 4, feed=feed, timeout=1.5 if hangs else 120)
    for batch in range(BATCHES):
        if batch != deadly:
            check_batch(workers, feed, 0, batch)
            continue
        with pytest.raises(WorkerError, match=f"at batch {batch} of pass 0, with IDs") as caught:
            take(workers, feed, 0, batch)
        assert all(repr(id_) in str(caught.value) for id_ in feed.ids(0, batch))
        assert ("gave no answer for 1.5 s" in str(caught.value)) == hangs
        assert ("no room left for a batch in the machine's memory" in str(caught.value)) == (act == "no memory")
    assert workers.restarts == 2


@pytest.mark.parametrize(
    ("act", "kind", "text"),
    [
        ("ZeroDivisionError", ZeroDivisionError, "integer division or modulo by zero"),
        ("OwnError", OwnError, "(7, 'seven')"),
        ("ForgetfulError", ForgetfulError, "(7, 'seven')"),
        ("UnicodeDecodeError", UnicodeDecodeError, "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        ("StopIteration", StopIteration, "by itself"),
        ("GeneratorExit", GeneratorExit, "by itself"),
        ("KeyboardInterrupt", KeyboardInterrupt, "by itself"),
        ("sys.exit(0)", SystemExit, "0"),
        ("sys.exit('text')", SystemExit, "text"),
        # What cannot come back is described.
        ("LockedError", WorkerError, "LockedError: seven"),
        ("OneWayError", WorkerError, "OneWayError: 7 seven"),
        ("StrangeError", WorkerError, "StrangeError: seven"),
        ("ElsewhereError", WorkerError, "ElsewhereError: seven"),
        ("SpeechlessError", WorkerError, "SpeechlessError, whose message cannot be shown"),
    ],
)
def test_an_error_of_a_transform_arrives_with_its_own_type_its_sample_and_the_workers_traceback(
    make_workers: MakeWorkers, manifest: Manifest, act: str, kind: type[BaseException], text: str
) -> None:
    feed = feed_of(manifest, At(9, act, but=os.getpid()), shuffle=False)
    workers = make_workers(1, feed=feed)
    check_batch(workers, feed, 0, 1)
    pids = workers.process_ids
    with pytest.raises(kind) as caught:
        take(workers, feed, 0, 2)
    assert type(caught.value) is kind
    assert str(caught.value) == text
    notes = caught.value.__notes__
    assert "ID 's009'" in notes[0]
    assert "in a worker process" in notes[-1]
    assert "acts.py" in notes[-1]
    check_batch(workers, feed, 0, 3)
    assert workers.process_ids == pids


def test_an_error_keeps_its_attributes(make_workers: MakeWorkers, manifest: Manifest) -> None:
    feed = feed_of(manifest, At(9, "OwnError"), shuffle=False)
    with pytest.raises(OwnError) as caught:
        take(make_workers(feed=feed), feed, 0, 2)
    assert (caught.value.code, caught.value.text) == (7, "seven")


def test_an_error_of_reading_arrives_too(make_workers: MakeWorkers, feed: Feed, manifest: Manifest) -> None:
    id_ = feed.ids(0, 4)[1]
    manifest.path_of(id_).unlink()
    workers = make_workers()
    for batch in range(4):
        check_batch(workers, feed, 0, batch)
    with pytest.raises(ShardError, match=f"ID '{id_}'.*no such file") as caught:
        take(workers, feed, 0, 4)
    assert "shard_reader.py" in caught.value.__notes__[-1]
    for batch in range(5, BATCHES):
        check_batch(workers, feed, 0, batch)


class Littering:
    """Does what a transform has no business with, and what would show in the pipes, in the folder, or at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, x: np.ndarray, y: Any, rng: np.random.Generator) -> tuple[np.ndarray, Any]:
        import threading  # noqa: PLC0415  # the class goes to workers by value

        print("a line", "x" * 10_000, flush=True)  # noqa: T201
        sys.stderr.write("another\n")
        os.write(1, b"\0\xff")
        os.chdir(self.folder)
        subprocess.run([sys.executable, "-c", ""], check=True)
        threading.Thread(target=threading.Event().wait, args=(0.01,)).start()
        np.random.seed(1)  # noqa: NPY002
        return x, y


@pytest.fixture
def by_value() -> Iterator[None]:
    """Let workers have what this file defines, though they cannot import it."""
    import cloudpickle  # noqa: PLC0415

    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    yield
    cloudpickle.unregister_pickle_by_value(module)


@pytest.mark.usefixtures("by_value")
def test_a_transform_may_print_move_and_start_what_it_likes(
    make_workers: MakeWorkers,
    make_dataset: Callable[..., Manifest],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    manifest = make_dataset(root=Path("data"))  # a relative path
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    pool = Pool()
    plain, littering = feed_of(manifest), feed_of(manifest, Littering(elsewhere))
    workers = make_workers(feed=littering, pool=pool)
    for batch in range(plain.num_batches):
        check_same(take(workers, littering, 0, batch), plain.batch(0, batch).batch)
    # The workers are elsewhere now, and learn of another feed there.
    check_pass(make_workers(feed=plain, pool=pool), plain, 0)
    assert "a line" in capfd.readouterr().out


class Forking:
    """Leaves a process behind that holds all that its parent had open, and notes its process id."""

    def __init__(self, note: Path) -> None:
        self.note = note

    def __call__(self, x: np.ndarray, y: Any, rng: np.random.Generator) -> tuple[np.ndarray, Any]:
        if not self.note.exists():
            pid = os.fork()
            if not pid:
                signal.alarm(60)
                signal.pause()
            self.note.write_text(f"{os.getpid()} {pid}")
        return x, y


@pytest.mark.usefixtures("by_value")
def test_a_dead_worker_is_noticed_though_its_own_child_holds_its_pipes(
    make_workers: MakeWorkers, manifest: Manifest, tmp_path: Path
) -> None:
    plain, feed = feed_of(manifest), feed_of(manifest, Forking(tmp_path / "note"))
    workers = make_workers(1, 2, feed=feed)
    check_same(take(workers, feed, 0, 0), plain.batch(0, 0).batch)
    worker, left = map(int, (tmp_path / "note").read_text().split())
    assert workers.process_ids == [worker]
    try:
        os.kill(worker, signal.SIGKILL)
        started = time.monotonic()
        check_same(take(workers, feed, 0, 5), plain.batch(0, 5).batch)
        # Long before the timeout of two minutes.
        assert time.monotonic() < started + 60
        assert is_alive(left)
    finally:
        os.kill(left, signal.SIGKILL)


# How workers start.


def test_a_worker_that_hangs_before_it_reads_anything_is_an_error_and_no_hang(
    make_workers: MakeWorkers, make_dataset: Callable[..., Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loader.workers.processes._BOOTSTRAP", "import time; time.sleep(60)")
    monkeypatch.setattr("loader.workers.processes.START_SECONDS", 0.3)
    # More than a pipe holds.
    feed = feed_of(make_dataset(1000, ids=[f"{i:0200d}" for i in range(1000)]))
    with pytest.raises(WorkerError, match="cannot start"):
        take(make_workers(1, 1, feed=feed, timeout=0.3), feed, 0, 0)


def test_a_short_timeout_does_not_count_while_a_worker_starts(
    make_workers: MakeWorkers, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loader.workers.processes import _BOOTSTRAP  # noqa: PLC0415

    monkeypatch.setattr("loader.workers.processes._BOOTSTRAP", "import time; time.sleep(0.5); " + _BOOTSTRAP)
    workers = make_workers(1, 1, timeout=0.4)
    check_batch(workers, feed, 0, 0)
    assert workers.restarts == 0


@pytest.mark.parametrize(
    ("bootstrap", "message"),
    [("raise SystemExit(7)", r"cannot start \(exit status 7\).*workers=0"), ("import os; os.abort()", r"cannot start \(exit status -6\)")],
)
def test_workers_that_cannot_start_are_an_error_and_no_hang(
    make_workers: MakeWorkers, feed: Feed, monkeypatch: pytest.MonkeyPatch, bootstrap: str, message: str
) -> None:
    workers = make_workers()
    with monkeypatch.context() as patch:
        patch.setattr("loader.workers.processes._BOOTSTRAP", bootstrap)
        with pytest.raises(WorkerError, match=message):
            take(workers, feed, 0, 0)
    check_batch(workers, feed, 0, 0)


def test_no_interpreter_is_an_error_that_says_what_to_do(
    make_workers: MakeWorkers, feed: Feed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    workers = make_workers()
    before = traces()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(tmp_path / "python"))
        with pytest.raises(WorkerError, match=r"cannot start \(.*No such file.*workers=0"):
            take(workers, feed, 0, 0)
    workers.close()
    assert traces() == before
    check_batch(workers, feed, 0, 0)


def test_neither_the_current_folder_nor_odd_entries_of_the_path_keep_workers_from_starting(
    make_workers: MakeWorkers, feed: Feed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "struct", "pickle"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, tmp_path])
    check_batch(make_workers(), feed, 0, 0)


def test_a_worker_imports_neither_keras_nor_a_decoder_nor_pandas(make_workers: MakeWorkers, manifest: Manifest) -> None:
    feed = feed_of(manifest, imported)
    x, _ = take(make_workers(1, feed=feed), feed, 0, 0)
    assert not x.any()


# What is left.


@pytest.mark.parametrize("how", ["close", "garbage", "killed and garbage"])
def test_nothing_is_left_at_the_end(feed: Feed, how: str) -> None:
    before = traces()
    workers = Workers(feed, 2, 4, pool=Pool())
    batch = take(workers, feed, 0, 0)
    pids = workers.process_ids
    assert all(map(is_alive, pids))
    if how == "close":
        workers.close()
    elif how != "garbage":
        os.kill(pids[0], signal.SIGKILL)
    del workers
    gc.collect()
    assert not any(map(is_alive, pids))
    check_same(batch, feed.batch(0, 0).batch)
    del batch
    assert traces() == before


def test_nothing_is_left_after_a_hundred_constructions(feed: Feed) -> None:
    before = traces()
    pool = Pool()
    for _ in range(95):
        Workers(feed, 2, 4, pool=pool)
    for _ in range(5):
        workers = Workers(feed, 1, 4, pool=pool)
        take(workers, feed, 0, 0)
        workers.close()
        del workers
    assert traces() == before


def test_nothing_is_left_of_a_hundred_feeds_beside_one_that_goes_on(make_workers: MakeWorkers, feed: Feed, manifest: Manifest) -> None:
    pool = Pool()
    stays = make_workers(1, feed=feed, pool=pool)
    check_pass(stays, feed, 0)
    before = traces()
    for seed in range(100):
        other = feed_of(manifest, seed=seed)
        check_batch(Workers(other, 1, 2, pool=pool), other, 0, 0)
        del other
    check_pass(stays, feed, 1)
    after = traces()
    assert after.children == before.children
    assert after.descriptors <= before.descriptors + 2  # of slots, which it kept for itself
    worker = len(os.listdir(f"/proc/{stays.process_ids[0]}/fd"))
    assert worker < 40


def test_closed_workers_start_again(make_workers: MakeWorkers, feed: Feed) -> None:
    workers = make_workers()
    check_batch(workers, feed, 0, 0)
    workers.close()
    workers.close()
    check_batch(workers, feed, 0, 1)


SCRIPT = """
import os, sys, threading, time
print("main runs", flush=True)
sys.path.append({folder!r})
from feeding import feed_of, take
from loader.workers.workers import Workers
from manifests import load_manifest

feed = feed_of(load_manifest({root!r}))
workers = Workers(feed, 2, 4)
x, _ = take(workers, feed, 0, 0)
print("pids", *workers.process_ids, len(x), flush=True)
{end}
"""


def start_script(manifest: Manifest, end: str) -> tuple[subprocess.Popen[str], list[int]]:
    """Run an unguarded script that uses workers; return it with its workers' process ids."""
    script = SCRIPT.format(root=str(manifest.root), end=end, folder=str(Path(__file__).parent))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    popen = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert popen.stdout is not None
    assert popen.stdout.readline() == "main runs\n"
    pids = list(map(int, popen.stdout.readline().split()[1:3]))
    return popen, pids


WAIT = "sys.stdin.read()"


@pytest.mark.parametrize(
    ("end", "number"),
    [
        ("", None),
        ("raise KeyError('x')", None),
        ("sys.exit(3)", None),
        ("os._exit(3)", None),
        (WAIT, signal.SIGKILL),
        (WAIT, signal.SIGTERM),
        (WAIT, signal.SIGINT),
        # A process that holds the ends of the workers' pipes stays.
        (f"if not os.fork(): {WAIT}\nelse: os.kill(os.getpid(), 9)", None),
    ],
    ids=["ends", "raises", "exits", "os._exit", "killed", "terminated", "interrupted", "killed beside its fork"],
)
def test_workers_end_with_their_parent_and_never_run_its_main(manifest: Manifest, end: str, number: signal.Signals | None) -> None:
    popen, pids = start_script(manifest, end)
    shared = traces().shared_memory
    try:
        if number is not None:
            assert all(map(is_alive, pids))
            popen.send_signal(number)
        wait_until(lambda: not any(map(is_alive, pids)))
        out, _ = popen.communicate(timeout=20)  # closes its stdin, too
        assert "main runs" not in out
        assert traces().shared_memory <= shared
    finally:
        popen.kill()


def test_workers_end_with_their_parent_amid_a_transform(manifest: Manifest) -> None:
    end = f"""
feed = feed_of(load_manifest({str(manifest.root)!r}), lambda x, y, rng: time.sleep(60))
threading.Thread(target=take, args=(Workers(feed, 2, 4), feed, 0, 0), daemon=True).start()
{WAIT}"""
    popen, pids = start_script(manifest, end)
    try:
        assert all(map(is_alive, pids))
        popen.kill()
        wait_until(lambda: not any(map(is_alive, pids)))
    finally:
        popen.communicate(timeout=20)


# Forks of the process that trains.


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_reads_by_itself_and_leaves_the_workers_alone(make_workers: MakeWorkers, feed: Feed) -> None:
    workers = make_workers()
    check_batch(workers, feed, 0, 0)
    pids = workers.process_ids
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)  # ends it if it hangs
        try:
            for batch in range(1, BATCHES):
                check_batch(workers, feed, 0, batch)
            # A feed of its own has workers of its own.
            own = Workers(feed, 1, 2)
            check_batch(own, feed, 0, 3)
            assert not set(own.process_ids) & set(pids)
            own.close()
            workers.close()
            del workers
            gc.collect()
        except BaseException:  # noqa: BLE001  # nothing may get out of the fork into the parent's test run
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    check_pass(workers, feed, 1)
    assert workers.process_ids == pids
    assert workers.restarts == 0
