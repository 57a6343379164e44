from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ALL_COMPLETED, BrokenExecutor, Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prep.build.scan.headers import LookChunk
from prep.errors import WorkerError
from prep.parallel.executors import CHUNKS_IN_FLIGHT, InlineExecutor, Workers
from prep.parallel.lost_workers import TRIES_AMONG_OTHERS, run_chunks
from prep.sources.items import Item
from prep.sources.listing import Failure

Ids = list[str]


def chunks_of_ids(count: int, size: int) -> Iterator[LookChunk]:
    items = [Item(id=f"{number:05d}", source=f"{number:05d}.npy") for number in range(count)]
    for start in range(0, count, size):
        yield LookChunk(root=Path(), format="images", items=items[start : start + size], header=True, content=False)


def some_order() -> Random:
    return Random(0)  # noqa: S311  # an order, not a secret


def ids_of(chunk: LookChunk) -> Ids:
    return [item.id for item in chunk.items]


@dataclass
class Deadly:
    """Workers in this process, one call at a time in any order; some items kill them, and all that is pending is lost too."""

    kills: Callable[[str], bool]
    random: Random
    count: int = 2
    dead_on_start: bool = False
    error: type[Exception] = BrokenProcessPool

    def __post_init__(self) -> None:
        self.pending: dict[Future[Any], tuple[Callable[..., Any], Any]] = {}
        self.starts = 0
        self.most_pending = 0
        self.runs: list[Ids] = []

    def start(self, _fresh: bool = False) -> Executor:
        self.starts += 1
        self.pending.clear()
        pool = self

        class Pool(Executor):
            broken = False

            def submit(self, fn: Callable[..., Any], /, *args: Any, **_: Any) -> Future[Any]:
                if self.broken:
                    raise BrokenProcessPool("The exit codes of the workers are {SIGKILL(-9)}\n")
                future: Future[Any] = Future()
                if not isinstance(args[0], LookChunk):  # the question whether a new worker lives
                    future.set_exception(BrokenProcessPool()) if pool.dead_on_start else future.set_result(fn(*args))
                    return future
                pool.pending[future] = (fn, args[0])
                pool.most_pending = max(pool.most_pending, len(pool.pending))
                return future

        self.pool = Pool()
        return self.pool

    def wait(self, futures: Any, _timeout: float | None = None, return_when: str = ALL_COMPLETED) -> Any:
        while not all(future.done() for future in futures):
            self.step()
            if return_when != ALL_COMPLETED:
                break
        return SimpleNamespace(done={future for future in futures if future.done()})

    def step(self) -> None:
        future = self.random.choice([future for future in self.pending if not future.done()])
        function, chunk = self.pending.pop(future)
        self.runs.append(ids_of(chunk))
        if not any(self.kills(id_) for id_ in ids_of(chunk)):
            future.set_result(function(chunk))
            return
        error = self.error("The exit codes of the workers are {SIGKILL(-9)}\n")
        future.set_exception(error)
        if isinstance(error, BrokenExecutor):
            self.pool.broken = True
            for other in self.pending:
                other.set_exception(error)
            self.pending.clear()

    def run(self, chunks: Iterator[LookChunk], **options: Any) -> tuple[Ids, list[Failure]]:
        done: Ids = []
        failures: list[Failure] = []
        workers = Workers(self.start(), self.count, renewed=self.start)
        with patch("prep.parallel.lost_workers.wait", self.wait):
            run_chunks(workers, ids_of, chunks, done=done.extend, failed=failures.append, **options)
        return done, failures


@given(
    st.integers(1, 200).flatmap(lambda count: st.tuples(st.just(count), st.sets(st.integers(0, count - 1), max_size=12))),
    st.integers(1, 64),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
    st.sampled_from([BrokenProcessPool, type("KilledWorker", (Exception,), {})]),
)
def test_the_deadly_items_are_found_and_all_others_done_once(
    items: tuple[int, set[int]], size: int, count: int, random: Random, error: type[Exception]
) -> None:
    total, bad_numbers = items
    bad = {f"{number:05d}" for number in bad_numbers}
    pool = Deadly(bad.__contains__, random, count, error=error)
    done, failures = pool.run(chunks_of_ids(total, size))
    assert sorted(done) == sorted({f"{number:05d}" for number in range(total)} - bad)
    assert sorted(failure.id for failure in failures) == sorted(bad)
    assert {failure.stage for failure in failures} <= {"worker-died"}
    # Each worker's death brings an item nearer to its verdict.
    assert pool.starts - 1 <= len(bad) * (TRIES_AMONG_OTHERS + math.ceil(math.log2(size)) + 1)


@given(st.integers(0, 300), st.integers(1, 8), st.randoms(use_true_random=False))
def test_few_chunks_are_under_way_and_none_is_made_before_its_time(total: int, count: int, random: Random) -> None:
    pool = Deadly(lambda _: False, random, count)
    made = 0
    done = 0

    def counted() -> Iterator[LookChunk]:
        nonlocal made
        for chunk in chunks_of_ids(total, 1):
            made += 1
            assert made - done <= count * CHUNKS_IN_FLIGHT
            yield chunk

    def take(_: Ids) -> None:
        nonlocal done
        done += 1

    workers = Workers(pool.start(), count)
    with patch("prep.parallel.lost_workers.wait", pool.wait):
        run_chunks(workers, ids_of, counted(), done=take, failed=pytest.fail)
    assert done == total
    assert pool.most_pending <= count * CHUNKS_IN_FLIGHT


def test_a_worker_that_dies_once_costs_no_item() -> None:
    deaths = iter([True])
    pool = Deadly(lambda id_: id_ == "00003" and next(deaths, False), some_order())
    done, failures = pool.run(chunks_of_ids(20, 4))
    assert (len(done), failures, pool.starts) == (20, [], 2)


def test_the_failure_says_how_the_worker_died() -> None:
    _, [failure] = Deadly(lambda id_: id_ == "00003", some_order()).run(chunks_of_ids(20, 4))
    assert failure == Failure(
        id="00003", source="00003.npy", stage="worker-died", type="WorkerError", error="its worker process dies of it (SIGKILL(-9))"
    )


def test_workers_that_die_at_their_start_end_it_with_a_word_on_what_to_do() -> None:
    pool = Deadly(lambda _: True, some_order(), dead_on_start=True)
    with pytest.raises(WorkerError, match=r"as soon as they start.*--workers 1"):
        pool.run(chunks_of_ids(1000, 4))
    assert pool.starts < 6


def test_when_whatever_item_it_is_kills_its_worker_it_is_no_items_fault() -> None:
    pool = Deadly(lambda _: True, some_order())
    with pytest.raises(WorkerError, match=r"16 items.*SIGKILL.*none of theirs"):
        pool.run(chunks_of_ids(10_000, 64))
    assert pool.starts < 60


def test_a_given_executor_that_breaks_is_told_as_what_it_is() -> None:
    pool = Deadly(lambda _: True, some_order())
    workers = Workers(pool.start(), 2)
    with patch("prep.parallel.lost_workers.wait", pool.wait), pytest.raises(WorkerError, match="given executor"):
        run_chunks(workers, ids_of, chunks_of_ids(9, 3), done=pytest.fail, failed=pytest.fail)


@pytest.mark.parametrize("executor", [InlineExecutor(), ThreadPoolExecutor(2)], ids=["inline", "threads"])
def test_what_a_function_raises_is_raised(executor: Executor) -> None:
    def broken(_: LookChunk) -> Sequence[str]:
        raise ZeroDivisionError

    with executor, pytest.raises(ZeroDivisionError):
        run_chunks(Workers(executor, 2), broken, chunks_of_ids(9, 3), done=pytest.fail, failed=pytest.fail)


@given(st.integers(0, 30), st.integers(1, 4), st.randoms(use_true_random=False))
def test_once_told_to_stop_it_hands_out_nothing_more(after: int, count: int, random: Random) -> None:
    pool = Deadly(lambda _: False, random, count)
    done: Ids = []
    at_stop: list[int] = []

    def stop() -> bool:
        if len(done) >= after and not at_stop:
            at_stop.append(len(pool.runs) + len(pool.pending))
        return len(done) >= after

    workers = Workers(pool.start(), count, renewed=pool.start)
    with patch("prep.parallel.lost_workers.wait", pool.wait):
        run_chunks(workers, ids_of, chunks_of_ids(100, 1), done=done.extend, failed=pytest.fail, stop=stop)
    assert len(pool.runs) <= at_stop[0]
    assert len(done) == len(pool.runs)  # what ran is not lost


def test_a_worker_that_dies_while_it_stops_is_not_waited_for() -> None:
    stopping = False

    def kills(id_: str) -> bool:
        nonlocal stopping
        stopping = id_ >= "00010"
        return stopping

    pool = Deadly(kills, some_order())
    done, failures = pool.run(chunks_of_ids(20, 1), stop=lambda: stopping)
    assert (failures, pool.starts) == ([], 1)
    assert set(done) <= {f"{number:05d}" for number in range(10)}


def test_inline_one_chunk_is_done_before_the_next_begins() -> None:
    done: Ids = []

    def work(chunk: LookChunk) -> Ids:
        assert len(done) == int(chunk.items[0].id)
        return ids_of(chunk)

    run_chunks(Workers(InlineExecutor(), 1), work, chunks_of_ids(10, 1), done=done.extend, failed=pytest.fail)
    assert len(done) == 10
