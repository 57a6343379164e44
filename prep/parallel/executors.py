"""Where chunks of work run: a `concurrent.futures.Executor`, local processes by default."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Any, TypeVar

from prep.errors import WorkerError
from prep.parallel.interrupts import Terminated
from prep.parallel.process_pool import ProcessPool
from prep.parallel.remote_call import CallerView, refusal, remote_call
from prep.parallel.watchdog import Watch, new_watch

Task = TypeVar("Task")
Result = TypeVar("Result")

CHUNKS_IN_FLIGHT = 4
"""Chunks that wait or run per worker: enough that no worker idles, few enough that memory does not grow with the data."""

POLL_SECONDS = 0.25
"""Between two looks at whether to stop, while nothing ends."""

ITEM_SECONDS = 600.0
"""That an item may take in a worker process when nothing is said: no sound item takes so long, and a dead disk's mount does."""


class InlineExecutor(Executor):
    """Runs each call at once in the calling thread: for one worker, and for debugging."""

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        """Run the call now; its outcome is in the future."""
        future: Future[Result] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  # handed on by the future, as every executor does
            future.set_exception(error)
        return future


def lost_with_its_worker(future: Future[Any]) -> BaseException | None:
    """Return the error that says that a call was lost with its worker; None if it came to an end of its own, or has not yet."""
    try:
        error = future.exception(0) if future.done() else None
    except CancelledError:
        return None
    # Dask's word for a task whose workers died; the package is not needed for knowing it.
    return error if isinstance(error, BrokenExecutor) or type(error).__name__ == "KilledWorker" else None


class Workers:
    """An executor and how many calls it runs at once.

    Attributes:
        count: of the executor's workers.
        watch: the limit on an item's time, or None.
        view: what the workers of an executor of the caller's must see as this process does; None for workers of our own.
        run_users_code: whether functions of the user's will run: in fresh interpreters, then, where they find nothing but what they bring.
    """

    def __init__(
        self,
        executor: Executor | None,
        count: int,
        *,
        renewed: Callable[[bool], Executor] | None = None,
        watch: Watch | None = None,
        view: CallerView | None = None,
        trouble: Callable[[], str | None] = lambda: None,
    ) -> None:
        """Take an executor.

        Args:
            executor: any `concurrent.futures.Executor`; it is the caller's to shut down. None for `renewed` to make one when it is
                needed: a build of which nothing changed starts no process.
            count: of its workers.
            renewed: returns an executor in place of one that broke, of fresh interpreters if it is to be; None if there can be no other.
            watch: the limit that the workers keep.
            view: what workers must see that are not of our own.
            trouble: says, asked now and then, why what is handed out will never be done.
        """
        self._executor = executor
        self.count = count
        self.watch = watch
        self.view = view
        self.trouble = trouble
        self._called_off = False
        self.run_users_code = False
        self._renewed = renewed

    @property
    def executor(self) -> Executor:
        """The executor; started if it was not needed before."""
        if self._executor is None:
            self.renew()
        assert self._executor is not None  # noqa: S101  # for the type checker
        return self._executor

    @property
    def in_flight(self) -> int:
        """How many tasks to hand out before results are asked for."""
        return 1 if isinstance(self._executor, InlineExecutor) else self.count * CHUNKS_IN_FLIGHT

    def renew(self) -> None:
        """Put a new executor in place of one that broke.

        Raises:
            WorkerError: the executor was given from outside.
        """
        if self._renewed is None:
            raise WorkerError(
                "a worker of the given executor died, and an executor of the caller's cannot be replaced; nothing was changed"
            )
        self._executor = self._renewed(self.run_users_code)

    def submit(self, function: Callable[[Task], Result], task: Task) -> Future[Any]:
        """Hand a call out; `result_of` gives its result.

        Raises:
            BrokenExecutor: a worker of the executor has died.
            WorkerError: an executor of the caller's takes no more calls.
        """
        if self.view is None:
            return self.executor.submit(function, task)
        try:
            return self.executor.submit(remote_call, function, task, self.view, uuid.uuid4().hex)
        except BrokenExecutor:
            raise
        except RuntimeError as error:
            raise WorkerError(f"the given executor takes no more work ({error}); nothing was changed") from error

    def result_of(self, future: Future[Any]) -> Any:
        """Return the result of a call that has ended; None if the worker has not begun it, as the run is over.

        Raises:
            WorkerError: the worker sees other files.
        """
        result = future.result()
        if self.view is None:
            return result
        if result.flag_down and self.view.flag is not None and not self._called_off:
            raise WorkerError(refusal(result.place, f"cannot see {self.view.flag.path}"))
        return result.result

    def check_trouble(self) -> None:
        """Refuse to wait for what will never be done.

        Raises:
            WorkerError: the executor has no workers, or cannot be reached.
        """
        trouble = self.trouble()
        if trouble is not None:
            raise WorkerError(trouble)

    def call_off(self) -> bool:
        """Tell the workers to begin no further item; return whether they can be told, so that what is handed out ends by itself."""
        if self.view is None:
            if self.watch is not None:
                self.watch.stop()
            return False
        self._called_off = True
        if self.view.flag is not None:
            self.view.flag.take_down()
        return self.view.flag is not None

    def outlast(self, futures: Iterable[Future[Any]], error: BaseException) -> int:
        """Let workers that are not our own come to an end, after an error that ends the run: none may go on writing.

        They are waited for, unless it is by a signal that the run ends, or they never would. Those of our own are killed by who made them.

        Returns:
            How many calls were not waited for.
        """
        if self.view is None:
            return 0
        running = set(futures)
        if not self.call_off():
            running = {future for future in running if not future.cancel()}
        if isinstance(error, KeyboardInterrupt | Terminated):
            return len(running)
        while running and self.trouble() is None:
            running = wait(running, POLL_SECONDS).not_done
        for future in running:
            future.cancel()
        return len(running)

    def run(self, function: Callable[[Task], Result], tasks: Iterable[Task], done: Callable[[Result], object]) -> None:
        """Run every task and hand each result on as it comes, in any order; few tasks are under way at a time.

        A task whose worker dies is not run again: for that there is `prep.parallel.lost_workers`.

        Args:
            function: importable or picklable by value.
            tasks: picklable.
            done: called in this thread.

        Raises:
            WorkerError: a worker process died.
        """
        left = iter(tasks)
        running: set[Future[Result]] = set()
        try:
            while True:
                for task in islice(left, max(0, self.in_flight - len(running))):
                    running.add(self.submit(function, task))
                if not running:
                    return
                finished, running = wait(running, POLL_SECONDS, FIRST_COMPLETED)
                for future in finished:
                    _check_not_lost(future)
                    done(self.result_of(future))
                if not finished:
                    self.check_trouble()
        except BaseException as error:
            self.outlast(running, error)
            raise


def _check_not_lost(future: Future[Any]) -> None:
    error = lost_with_its_worker(future)
    if error is not None or future.cancelled():
        raise WorkerError(
            "a worker process died (out of memory, or killed from outside); nothing was changed; "
            "run again, with fewer --workers if memory was short, or with --workers 1 to see which item it is"
        ) from error


@contextmanager
def open_workers(count: int, *, item_timeout: float | None = None) -> Iterator[Workers]:
    """Give workers, which are gone when the block ends; at once if it ends by an error.

    One worker is this process itself, unless it must keep a limit of time, which no process can do for itself. More are loky's
    processes: copies of this one, or fresh interpreters that do not import the caller's `__main__`, so neither a script without a guard
    nor a notebook is run again.

    Args:
        count: of workers.
        item_timeout: seconds that an item may take; 0 for no limit, None for `ITEM_SECONDS` in processes and no limit in this one.
    """
    if count == 1 and not item_timeout:
        yield Workers(InlineExecutor(), 1)
        return
    seconds = ITEM_SECONDS if item_timeout is None else item_timeout
    with ExitStack() as stack:
        watch = stack.enter_context(new_watch(seconds)) if seconds else None
        pool = ProcessPool(count, watch)
        done = False
        try:
            yield Workers(None, count, renewed=pool.start, watch=watch)
            done = True
        finally:
            pool.end(kill=not done)


def default_workers() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
