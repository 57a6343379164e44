from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prep.build.scan.headers import LookChunk
from prep.errors import WorkerError
from prep.parallel.executors import CHUNKS_IN_FLIGHT, Workers
from prep.parallel.lost_workers import run_chunks
from prep.parallel.remote_call import Called, CallerView, remote_call
from prep.parallel.run_flag import RunFlag, heeding, is_called_off
from prep.parallel.watchdog import watched
from prep.sources.items import Item

ITEMS = [Item(id=f"{number:03d}", source=f"{number:03d}.npy") for number in range(20)]


@pytest.fixture
def view(tmp_path: Path) -> CallerView:
    return CallerView(root=tmp_path, flag=RunFlag.put_up(tmp_path))


def chunks(size: int = 1) -> Iterator[LookChunk]:
    for start in range(0, len(ITEMS), size):
        yield LookChunk(root=Path(), format="images", items=ITEMS[start : start + size], header=True, content=False)


def ids_of(chunk: LookChunk) -> list[str]:
    return [item.id for item in watched(chunk.items)]


def run(workers: Workers, function: Callable[[LookChunk], Any] = ids_of, **options: Any) -> list[str]:
    done: list[str] = []
    run_chunks(workers, function, options.pop("chunks", chunks()), **{"done": done.extend, "failed": pytest.fail, **options})
    return sorted(done)


def test_no_two_calls_have_the_same_arguments_not_even_of_one_chunk(view: CallerView) -> None:
    class Pure(ThreadPoolExecutor):
        """Gives the first outcome again to whoever makes the same call, as Dask does."""

        def __init__(self) -> None:
            super().__init__(1)
            self.made: dict[str, Future[Any]] = {}

        def submit(self, fn: Callable[..., Any], /, *args: Any, **_: Any) -> Future[Any]:
            if repr((fn, args)) not in self.made:
                self.made[repr((fn, args))] = future = super().submit(fn, *args)
                return future
            return self.made[repr((fn, args))]

    deaths = iter([type("KilledWorker", (Exception,), {})()])

    def dies_once(chunk: LookChunk) -> list[str]:
        for error in deaths:
            raise error
        return ids_of(chunk)

    with Pure() as executor:
        assert run(Workers(executor, 1, view=view), dies_once) == [item.id for item in ITEMS]


class Cancelling(ThreadPoolExecutor):
    """Cancels some calls of its own accord, as a cluster does that is restarted."""

    def __init__(self, cancels: Callable[[int], bool]) -> None:
        super().__init__(1)
        self.calls = 0
        self.cancels = cancels

    def submit(self, fn: Callable[..., Any], /, *args: Any, **_: Any) -> Future[Any]:
        self.calls += 1
        if self.cancels(self.calls):
            future: Future[Any] = Future()
            future.cancel()
            future.set_running_or_notify_cancel()
            return future
        return super().submit(fn, *args)


def test_a_chunk_that_others_have_cancelled_is_done_again(view: CallerView) -> None:
    with Cancelling(lambda number: number <= CHUNKS_IN_FLIGHT) as executor:
        assert run(Workers(executor, 1, view=view)) == [item.id for item in ITEMS]


def test_an_executor_that_cancels_whatever_it_is_given_is_told(view: CallerView) -> None:
    with Cancelling(lambda _: True) as executor, pytest.raises(WorkerError, match=r"was cancelled 4 times, and not by this build"):
        run(Workers(executor, 1, view=view))


def test_an_executor_that_is_shut_down_is_told(view: CallerView) -> None:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(WorkerError, match="takes no more work"):
        run(Workers(executor, 1, view=view))


@pytest.mark.parametrize("uncancellable", [True, False])
def test_what_runs_is_waited_for_when_an_error_ends_the_run(uncancellable: bool, view: CallerView) -> None:
    """Whatever the executor says of a cancelled call: Dask says that it is, and it runs on."""
    second_runs, raised = threading.Event(), threading.Event()
    ended = []

    def work(chunk: LookChunk) -> list[str]:
        if chunk.items[0].id == "000":
            second_runs.wait()
        elif chunk.items[0].id == "001":
            second_runs.set()
            raised.wait()
        ended.append(chunk.items[0].id)
        return [chunk.items[0].id]

    def fail(_: object) -> None:
        threading.Timer(0.01, raised.set).start()
        raise ZeroDivisionError

    class Saying(ThreadPoolExecutor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **_: Any) -> Future[Any]:
            future = super().submit(fn, *args)
            if uncancellable:
                future.cancel = lambda: True  # type: ignore[method-assign]
            return future

    with Saying(2) as executor:
        with pytest.raises(ZeroDivisionError):
            run(Workers(executor, 2, view=view), work, done=fail)
        assert {"000", "001"} <= set(ended)
        after = list(ended)
    assert ended == after


def test_a_run_that_stops_ends_the_chunks_under_way_at_their_item(view: CallerView) -> None:
    stopping = False
    begun: list[str] = []

    def work(chunk: LookChunk) -> list[str]:
        nonlocal stopping
        done = []
        for item in watched(chunk.items):
            begun.append(item.id)
            stopping = True
            assert view.flag is not None
            while view.flag.is_up():  # as long as the caller takes to see that it is to stop
                pass
            done.append(item.id)
        return done

    with ThreadPoolExecutor(1) as executor, pytest.MonkeyPatch.context() as patch:
        patch.setattr("prep.parallel.run_flag._LOOK_SECONDS", 0.0)
        done = run(Workers(executor, 1, view=view), work, chunks=chunks(5), stop=lambda: stopping)
    assert done == begun == ["000"]


def test_a_call_that_comes_when_the_run_is_over_does_nothing(view: CallerView) -> None:
    assert view.flag is not None
    view.flag.take_down()
    called = remote_call(pytest.fail, "task", view, "token")
    assert (called.result, called.flag_down) == (None, True)


def test_the_flag_of_another_run_is_not_taken_for_ones_own(view: CallerView) -> None:
    assert view.flag is not None
    other = RunFlag.put_up(view.flag.path.parent)
    assert (view.flag.is_up(), other.is_up()) == (False, True)
    with heeding(view.flag):
        assert is_called_off()
    assert not is_called_off()


def test_a_worker_that_does_not_see_the_stage_loses_no_item(view: CallerView) -> None:
    """One that joins later is not asked before it is given work."""
    assert view.flag is not None
    elsewhere = replace(view, flag=replace(view.flag, path=view.flag.path.with_name("elsewhere")))

    class Elsewhere(ThreadPoolExecutor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **_: Any) -> Future[Any]:
            return super().submit(fn, *args[:2], elsewhere, *args[3:])

    with Elsewhere(1) as executor, pytest.raises(WorkerError, match=rf"process {os.getpid()} cannot see .*/running; nothing was changed"):
        run(Workers(executor, 1, view=view))


@pytest.fixture
def processes() -> Iterator[Executor]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield executor


@pytest.mark.slow
def test_a_worker_of_any_executor_is_refused_if_it_is_not_like_the_caller(view: CallerView, processes: Executor, tmp_path: Path) -> None:
    for other, says in (
        (replace(view, versions={**view.versions, "numpy": "0.0.7"}), "has numpy .* instead of 0.0.7"),
        (replace(view, flag=None, root=tmp_path / "nowhere"), "cannot see the source .*/nowhere"),
    ):
        with pytest.raises(WorkerError, match=f"process [0-9]+ {says}; nothing was changed"):
            run(Workers(processes, 1, view=other))
    called: Called[int] = processes.submit(remote_call, len, "abc", replace(view, flag=None), "token").result()
    assert (called.result, called.flag_down) == (3, False)
