"""One pool serves several feeds, and neither a garbage collection nor an interrupt at any step makes one batch another."""

from __future__ import annotations

import functools
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from types import FrameType
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from acts import growing, noisy, process_id
from feeding import after, check_batch, check_pass, check_same, children, feed_of, is_alive, take, traces, wait_until
from hypothesis import HealthCheck, given, settings

import loader
from loader import WorkerError
from loader.errors import TransformError
from loader.feed.feed import Feed
from loader.feed.reading.shared_memory import SharedMemory
from loader.workers.messages import Ready, Task, packed, read_order, write_all
from loader.workers.pool.pool import Pool
from loader.workers.pool.shared import shared_pool
from loader.workers.pool.slots import Slots
from loader.workers.processes import Process
from loader.workers.worker import Work
from loader.workers.workers import Workers
from manifests import Manifest

N = 26

MakeWorkers = Callable[..., Workers]

NOT_SENT = functools.partial(noisy, lock=threading.Lock())
"""A transform that cannot be sent to a process."""


@pytest.fixture
def manifest(make_dataset: Callable[..., Manifest]) -> Manifest:
    return make_dataset(N)


@pytest.fixture
def pool() -> Pool:
    return Pool()


@pytest.fixture
def make_workers(pool: Pool) -> Iterator[MakeWorkers]:
    """Return a function that makes workers of the test's pool; all of them end with the test."""
    made: list[weakref.ref[Workers]] = []

    def make(feed: Feed, count: int = 1, queue_size: int = 4) -> Workers:
        workers = Workers(feed, count, queue_size, pool=pool)
        made.append(weakref.ref(workers))
        return workers

    yield make
    for workers in made:
        if (alive := workers()) is not None:
            alive.close()
    assert pool.process_ids == []


class ThreadAsProcess:
    """Does in a thread what `loader.workers.worker` does in a process, and looks like one: it starts in no time."""

    returncode: int | None = None

    def __init__(self, tasks: int, replies: int, memory: int) -> None:
        self.pid = id(self)
        self._thread = threading.Thread(target=self._run, args=(tasks, replies, memory))
        self._thread.start()

    def _run(self, tasks: int, replies: int, memory: int) -> None:
        work = Work(SharedMemory(memory))
        try:
            write_all(replies, packed(Ready()))
            while (order := read_order(tasks)) is not None:
                if isinstance(order, Task):
                    write_all(replies, work.done(order))
                else:
                    getattr(work, type(order).__name__.lower())(order)
        except BrokenPipeError:
            pass
        finally:
            os.close(tasks)
            os.close(replies)

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float) -> int:
        self._thread.join()
        self.returncode = 0
        return 0


@pytest.fixture
def threads_for_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(processes: list[Process], number: int, memory: SharedMemory, parent: int, idle: float) -> None:
        task_read, task_write = os.pipe()
        reply_read, reply_write = os.pipe()
        popen: Any = ThreadAsProcess(task_read, reply_write, os.dup(memory.descriptor))
        processes.append(Process(popen, number, FileIO(task_write, "wb"), FileIO(reply_read, "rb"), since=time.monotonic()))

    monkeypatch.setattr("loader.workers.pool.pool.start_process", start)


# Several feeds.


def test_feeds_share_processes_and_one_that_asks_for_more_adds_some(make_workers: MakeWorkers, pool: Pool, manifest: Manifest) -> None:
    feeds = [feed_of(manifest, seed=seed) for seed in range(3)]
    train, validation, more = (make_workers(feed, count) for feed, count in zip(feeds, (2, 2, 3), strict=True))
    check_pass(train, feeds[0], 0)
    pids = pool.process_ids
    assert len(pids) == 2
    check_pass(validation, feeds[1], 0)
    assert pool.process_ids == pids
    check_batch(more, feeds[2], 0, 0)
    assert pool.process_ids[:2] == pids
    assert len(pool.process_ids) == 3
    assert children() >= set(pool.process_ids)


def test_a_feed_uses_as_many_processes_as_it_asked_for(make_workers: MakeWorkers, pool: Pool, manifest: Manifest) -> None:
    many, few = feed_of(manifest, process_id), feed_of(manifest, process_id, seed=1)
    makers = make_workers(many, 3, 6), make_workers(few, 1, 6)
    check: list[set[int]] = [set(), set()]
    for batch in range(many.num_batches):
        for used, feed, workers in zip(check, (many, few), makers, strict=True):
            x, _ = take(workers, feed, 0, batch)
            used.update(np.unique(x).tolist())
    assert check[0] == set(pool.process_ids)
    assert len(check[0]) == 3
    assert len(check[1]) == 1


def test_one_that_closes_leaves_the_others_what_they_have(make_workers: MakeWorkers, pool: Pool, manifest: Manifest) -> None:
    feeds = [feed_of(manifest, seed=seed) for seed in range(2)]
    train, validation = (make_workers(feed, 2) for feed in feeds)
    held = [take(workers, feed, 0, 0) for workers, feed in zip((train, validation), feeds, strict=True)]
    pids = pool.process_ids
    for pass_ in range(1, 4):
        validation.close()
        check_pass(train, feeds[0], pass_)
        check_pass(validation, feeds[1], pass_)
        assert pool.process_ids == pids
    train.close()
    validation.close()
    assert pool.process_ids == []
    check_batch(train, feeds[0], 9, 0)  # and it starts again
    assert len(pool.process_ids) == 2
    for batch, feed in zip(held, feeds, strict=True):
        check_same(batch, feed.batch(0, 0).batch)


def test_a_long_queue_does_not_keep_another_feed_from_its_own(make_workers: MakeWorkers, manifest: Manifest) -> None:
    long, short = feed_of(manifest, batch_size=1), feed_of(manifest)
    ahead, other = make_workers(long, 1, 26), make_workers(short, 1, 3)
    check_batch(ahead, long, 0, 0)
    check_batch(other, short, 0, 0)
    check_batch(ahead, long, 0, 1)
    wait_until(lambda: bool(check_batch(other, short, 0, 0)) or other.ready == 2)


def test_an_error_of_one_feed_is_none_of_another(make_workers: MakeWorkers, pool: Pool, manifest: Manifest) -> None:
    good, bad = feed_of(manifest), feed_of(manifest, lambda x, y, rng: x / "1")
    unsent = feed_of(manifest, NOT_SENT)
    workers, failing, refused = make_workers(good), make_workers(bad), make_workers(unsent)
    check_batch(workers, good, 0, 0)
    pids = pool.process_ids
    for batch in range(1, 4):
        with pytest.raises(TypeError):
            take(failing, bad, 0, batch)
        with pytest.raises(TransformError, match="cannot be sent to worker processes"):
            take(refused, unsent, 0, batch)
        check_batch(workers, good, 0, batch)
    assert pool.process_ids == pids


def test_a_transform_that_cannot_be_sent_leaves_nothing_behind(make_workers: MakeWorkers, manifest: Manifest) -> None:
    feed = feed_of(manifest, NOT_SENT)
    before = traces()
    with pytest.raises(TransformError):
        take(make_workers(feed), feed, 0, 0)
    assert traces() == before


def test_two_threads_may_ask_at_once(make_workers: MakeWorkers, pool: Pool, manifest: Manifest) -> None:
    feeds = [feed_of(manifest, noisy, seed=seed) for seed in range(3)]
    makers = [make_workers(feed, 2, queue_size) for feed, queue_size in zip(feeds, (2, 5, 9), strict=True)]
    problems: list[BaseException] = []

    def walk(number: int) -> None:
        try:
            for pass_ in range(4):
                check_pass(makers[number % 3], feeds[number % 3], pass_)
                if number == 1:
                    makers[1].close()
        except BaseException as error:  # noqa: BLE001  # shown in the test's own thread
            problems.append(error)

    walkers = [threading.Thread(target=walk, args=(number,)) for number in range(4)]  # two of them ask the same
    for walker in walkers:
        walker.start()
    for walker in walkers:
        walker.join()
    assert problems == []
    assert len(pool.process_ids) == 2


def test_what_was_read_ahead_for_a_feed_that_rests_is_forgotten(manifest: Manifest) -> None:
    pool = Pool(idle=0.05)
    feeds = [feed_of(manifest, seed=seed) for seed in range(2)]
    rests, goes_on = (Workers(feed, 1, 4, pool=pool) for feed in feeds)
    check_batch(rests, feeds[0], 0, 0)
    wait_until(lambda: bool(check_batch(rests, feeds[0], 0, 0)) or rests.ready == 3)
    wait_until(lambda: bool(check_batch(goes_on, feeds[1], 0, 0)) or not rests.ready)
    check_pass(rests, feeds[0], 1)
    rests.close()
    goes_on.close()


def test_a_pool_is_shared_by_all_feeds_of_a_process(manifest: Manifest) -> None:
    feeds = [feed_of(manifest, seed=seed) for seed in range(2)]
    workers = [Workers(feed, 1, 2) for feed in feeds]
    for feed, one in zip(feeds, workers, strict=True):
        check_batch(one, feed, 0, 0)
    assert workers[0].process_ids == workers[1].process_ids == shared_pool().process_ids
    pids = shared_pool().process_ids
    for one in workers:
        one.close()
    assert not any(map(is_alive, pids))


# Whatever order, and whatever comes between.

OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["take", "hold", "interrupted"]), st.integers(0, 3), st.integers(0, 2), st.integers(0, 6)),
        st.tuples(st.sampled_from(["next"]), st.integers(0, 3), st.integers(1, 9), st.just(0)),
        st.tuples(st.sampled_from(["close", "garbage", "drop"]), st.integers(0, 3), st.just(0), st.just(0)),
    ),
    max_size=25,
)


# What an interrupt leaves unclosed is closed with a warning when it is collected.
leaves_unclosed = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


@leaves_unclosed
@pytest.mark.usefixtures("threads_for_processes")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=OPERATIONS)
def test_any_order_of_calls_gives_the_same_bits_as_inline(  # noqa: C901  # one branch for each kind of call
    manifest: Manifest, operations: list[tuple[str, int, int, int]]
) -> None:
    pool = Pool()
    feeds = [
        feed_of(manifest),
        feed_of(manifest, noisy, seed=8, batch_size=5),
        feed_of(manifest, None, growing, shuffle=False),
        feed_of(manifest, batch_size=26),
    ]
    sizes = [(1, 1), (2, 3), (1, 10), (3, 4)]

    def fresh(which: int) -> Workers:
        return Workers(feeds[which], *sizes[which], pool=pool)

    workers = [fresh(which) for which in range(4)]
    places = [0, 0, 0, 0]
    held: list[tuple[Any, Any]] = []
    for name, which, pass_, batch in operations:
        feed = feeds[which]
        batch %= feed.num_batches  # noqa: PLW2901
        if name == "take":
            check_batch(workers[which], feed, pass_, batch)
        elif name == "next":
            for _ in range(pass_):
                check_batch(workers[which], feed, *divmod(places[which], feed.num_batches))
                places[which] += 1
        elif name == "hold":
            held.append((take(workers[which], feed, pass_, batch), feed.batch(pass_, batch).batch))
        elif name == "interrupted":
            interrupted(lambda feed=feed, which=which, key=(pass_, batch): take(workers[which], feed, *key), 7 + 31 * batch + 11 * pass_)
        elif name == "drop":
            held.clear()
        elif name == "close":
            workers[which].close()
        else:
            workers[which] = fresh(which)
    for batch, expected in held:
        check_same(batch, expected)
    for one in workers:
        one.close()
    assert pool.process_ids == []


class Interrupted(BaseException):
    """What Ctrl-C does, at a step of our choosing."""


SOURCES = os.path.dirname(loader.__file__)


def interrupted(call: Callable[[], object], step: int) -> bool:
    """Call a function and interrupt it at a line of the package, counted from 1; return whether it had so many."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        # What is raised while an object is finalized goes nowhere.
        if not frame.f_code.co_filename.startswith(SOURCES) or frame.f_code.co_name in {"__del__", "give_back"}:
            return None
        if event == "line":
            count += 1
            if count == step:
                raise Interrupted
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except Interrupted:
        return True
    finally:
        sys.settrace(before)
    return False


@leaves_unclosed
@pytest.mark.usefixtures("threads_for_processes")
@pytest.mark.parametrize("what", ["first take", "later take", "close beside another", "last close", "reply"])
def test_an_interrupt_at_any_line_never_makes_one_batch_another_and_leaves_nothing(manifest: Manifest, what: str) -> None:
    feeds = [feed_of(manifest, noisy), feed_of(manifest, seed=9)]
    before = None
    step, goes_on = 0, True
    while goes_on:
        step += 1
        pool = Pool()
        one, other = (Workers(feed, 2, 4, pool=pool) for feed in feeds)
        if what != "first take":
            check_batch(one, feeds[0], 0, 0)
        if what in {"later take", "close beside another"}:
            check_batch(other, feeds[1], 0, 0)
        if what == "reply":
            wait_until(lambda one=one: bool(check_batch(one, feeds[0], 0, 0)) or one.ready == 3)
        if what.endswith("take"):
            goes_on = interrupted(lambda one=one: take(one, feeds[0], 0, 3), step)
        elif what == "reply":
            goes_on = interrupted(lambda one=one: take(one, feeds[0], 0, 1), step)
        else:
            goes_on = interrupted(one.close, step)
        for batch in (1, 2, 6):
            check_batch(other, feeds[1], 0, batch)
            check_batch(one, feeds[0], 0, batch)
        one.close()
        del one
        other.close()
        assert pool.process_ids == []
        if before is None:
            before = traces()
    assert step > 5, "nothing was interrupted"
    # A handful of places lose a descriptor between the system's call that makes it and the line that takes note of it.
    assert traces().descriptors <= before.descriptors


@leaves_unclosed
@pytest.mark.parametrize("step", [5, 30, 38, 40, 41, 42, 43, 44, 50, 60, 80, 120])
def test_an_interrupt_while_processes_start_leaves_none_that_nobody_knows(manifest: Manifest, step: int) -> None:
    feed = feed_of(manifest)
    before = traces()
    pool = Pool()
    workers = Workers(feed, 1, 3, pool=pool)
    interrupted(lambda: take(workers, feed, 0, 0), step)
    assert len(children() - before.children) <= 1
    check_batch(workers, feed, 0, 1)
    workers.close()
    wait_until(lambda: not any(map(is_alive, children() - before.children)))
    subprocess._cleanup()  # waits for those that ended by themselves
    assert traces().descriptors <= before.descriptors


@pytest.mark.usefixtures("threads_for_processes")
@pytest.mark.parametrize(
    ("kind", "place"),
    [
        *((Pool, name) for name in ("_join", "_dispatch", "_collect", "_forget_others", "_start", "_note_batch", "_part")),
        *((Slots, name) for name in ("take", "hand_over")),
    ],
)
def test_a_feed_may_be_collected_amid_anything(
    make_workers: MakeWorkers, pool: Pool, manifest: Manifest, monkeypatch: pytest.MonkeyPatch, kind: type, place: str
) -> None:
    stays = feed_of(manifest)
    workers = make_workers(stays, 2)
    for seed in range(3):
        check_batch(workers, stays, seed, 0)
        other = feed_of(manifest, seed=seed)
        goes: list[Workers] = [make_workers(other)]
        check_batch(goes[0], other, 0, 0)
        original = getattr(kind, place)

        def collected(self: Any, *arguments: Any, goes: list[Workers] = goes, original: Any = original) -> Any:
            goes.clear()
            gc.collect()
            return original(self, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(kind, place, collected)
            check_pass(workers, stays, seed)
            if place == "_part":
                workers.close()
        assert goes == []
        assert len(pool._members) <= 1
    workers.close()
    assert pool.process_ids == []


@pytest.mark.usefixtures("threads_for_processes")
def test_the_only_other_feed_may_be_collected_while_the_first_one_joins(
    make_workers: MakeWorkers, pool: Pool, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = feed_of(manifest)
    goes = [make_workers(feed_of(manifest, seed=1))]

    def collected(*arguments: Any) -> Any:
        goes.clear()
        gc.collect()
        return original(*arguments)

    original = loader.workers.pool.pool.put_job
    monkeypatch.setattr("loader.workers.pool.pool.put_job", collected)
    check_pass(make_workers(feed), feed, 0)


@pytest.mark.usefixtures("threads_for_processes")
def test_a_feed_that_is_collected_in_another_thread_while_one_waits_is_parted_from(
    make_workers: MakeWorkers, pool: Pool, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    feeds = [feed_of(manifest, seed=seed) for seed in range(2)]
    waits, goes = make_workers(feeds[0]), [make_workers(feeds[1])]
    check_batch(goes[0], feeds[1], 0, 0)
    original = Pool._collect

    def collect(self: Pool, member: Any) -> None:
        if goes:
            thread = threading.Thread(target=lambda: (goes.clear(), gc.collect()))
            thread.start()
            thread.join()
        original(self, member)

    monkeypatch.setattr(Pool, "_collect", collect)
    check_batch(waits, feeds[0], 0, 0)
    assert len(pool._members) == 1
    assert not pool._gone


# What a worker says.


@pytest.mark.usefixtures("threads_for_processes")
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_reply_that_does_not_belong_to_the_batch_in_work_is_an_error(
    make_workers: MakeWorkers, manifest: Manifest, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    original = Work.done
    feed = feed_of(manifest)
    workers = make_workers(feed)
    check_batch(workers, feed, 0, 0)

    def done(self: Work, order: Task, following: Task | None = None) -> bytes:
        said = original(self, order)
        wrong = Task(feed=order.feed, slot=order.slot + 1, pass_=order.pass_, batch=order.batch)
        return [original(self, wrong), said * 20, said + original(self, wrong)][number]

    with monkeypatch.context() as patch:
        patch.setattr(Work, "done", done)
        with pytest.raises(WorkerError, match="all are started anew"):
            check_pass(workers, feed, 3)
    check_pass(workers, feed, 1)


def test_a_worker_that_dies_for_one_feed_is_replaced_for_all(make_workers: MakeWorkers, pool: Pool, manifest: Manifest) -> None:
    feeds = [feed_of(manifest, seed=seed) for seed in range(2)]
    makers = [make_workers(feed, 2) for feed in feeds]
    for number in range(9):
        if number in {1, 6}:  # so far apart that no batch is in work both times, which would be given up
            os.kill(pool.process_ids[0], signal.SIGKILL)
        for workers, feed in zip(makers, feeds, strict=True):
            check_batch(workers, feed, *divmod(number, feed.num_batches))
    assert makers[0].restarts == makers[1].restarts > 0


# Memory.


def used_bytes(pool: Pool) -> int:
    assert pool._slots is not None
    return os.fstat(pool._slots.memory.descriptor).st_blocks * 512


def test_memory_of_a_feed_comes_back_when_it_parts(
    make_workers: MakeWorkers, pool: Pool, make_dataset: Callable[..., Manifest], tmp_path: Path
) -> None:
    small, large = feed_of(make_dataset(N)), feed_of(make_dataset(40, shape=(64, 1024), root=tmp_path / "large"))
    stays, parts = make_workers(small), make_workers(large, 1, 3)
    check_pass(stays, small, 0)
    before = used_bytes(pool)
    check_pass(parts, large, 0)
    held = take(parts, large, 1, 0)
    wait_until(lambda: bool(check_batch(parts, large, 1, 1)) or parts.ready == 2)
    assert used_bytes(pool) > before + 3 * 4 * 64 * 1024 * 4
    parts.close()
    # One batch is held, and small ones were written anew.
    assert used_bytes(pool) < before + 2 * 4 * 64 * 1024 * 4
    check_same(held, large.batch(1, 0).batch)
    check_pass(stays, small, 1)
    check_same(held, large.batch(1, 0).batch)


def test_slots_do_not_become_more_with_time(make_workers: MakeWorkers, pool: Pool, manifest: Manifest) -> None:
    feeds = [feed_of(manifest, seed=seed) for seed in range(2)]
    makers = [make_workers(feed, 1, 4) for feed in feeds]
    for pass_ in range(6):
        for workers, feed in zip(makers, feeds, strict=True):
            check_pass(workers, feed, pass_)
            for batch in (5, 1, 3):
                check_batch(workers, feed, 50 - pass_, batch)
    assert pool._slots.count <= 2 * (4 + 4)


def test_ahead_is_only_as_long_as_the_queue(make_workers: MakeWorkers, manifest: Manifest) -> None:
    feed = feed_of(manifest)
    workers = make_workers(feed, 1, 3)
    asked = []

    def ahead() -> Iterator[tuple[int, int]]:
        for key in after(feed, 0, 0):
            asked.append(key)
            yield key

    workers.take((0, 0), ahead())
    assert len(asked) <= 3


def test_what_is_held_beyond_a_few_batches_takes_no_slots(make_workers: MakeWorkers, pool: Pool, manifest: Manifest) -> None:
    feed = feed_of(manifest)
    workers = make_workers(feed, 1, 3)
    held = [take(workers, feed, *divmod(number, feed.num_batches)) for number in range(30)]
    assert pool._slots.count <= 6 + 3 + 1
    for number, batch in enumerate(held):
        check_same(batch, feed.batch(*divmod(number, feed.num_batches)).batch)
