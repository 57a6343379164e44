"""Where chunks of work run: a `concurrent.futures.Executor`, local processes by default."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Any, TypeVar

from prep.copies import interrupts_blocked
from prep.errors import WorkerError
from prep.interrupts import held_off
from prep.watchdog import Watch, new_watch

Task = TypeVar("Task")
Result = TypeVar("Result")

CHUNKS_IN_FLIGHT = 4
"""Chunks that wait or run per worker: enough that no worker idles, few enough that memory does not grow with the data."""

_NO_ROOM = (errno.EAGAIN, errno.ENOMEM)

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


class Workers:
    """An executor and how many calls it runs at once.

    Attributes:
        count: of the executor's workers.
        watch: the limit on an item's time, or None.
        run_users_code: whether functions of the user's will run: in fresh interpreters, then, where they find nothing but what they bring.
    """

    def __init__(
        self,
        executor: Executor | None,
        count: int,
        *,
        renewed: Callable[[bool], Executor] | None = None,
        watch: Watch | None = None,
    ) -> None:
        """Take an executor.

        Args:
            executor: any `concurrent.futures.Executor`; it is the caller's to shut down. None for `renewed` to make one when it is
                needed: a build of which nothing changed starts no process.
            count: of its workers.
            renewed: returns an executor in place of one that broke, of fresh interpreters if it is to be; None if there can be no other.
            watch: the limit that the workers keep.
        """
        self._executor = executor
        self.count = count
        self.watch = watch
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

    @property
    def renewable(self) -> bool:
        """Whether a broken executor can be replaced."""
        return self._renewed is not None

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

    def run(self, function: Callable[[Task], Result], tasks: Iterable[Task], done: Callable[[Result], object]) -> None:
        """Run every task and hand each result on as it comes, in any order; few tasks are under way at a time.

        A task whose worker dies is not run again: for that there is `prep.dispatch`.

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
                    running.add(self.executor.submit(function, task))
                if not running:
                    return
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    done(future.result())
        except BrokenProcessPool as error:
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
        pool = _ProcessPool(count, watch)
        done = False
        try:
            yield Workers(None, count, renewed=pool.start, watch=watch)
            done = True
        finally:
            pool.end(kill=not done)


class _ProcessPool:
    """loky's processes, which can be started anew."""

    def __init__(self, count: int, watch: Watch | None) -> None:
        self._count = count
        self._watch = watch
        self._executor: Executor | None = None

    def start(self, fresh: bool) -> Executor:  # noqa: FBT001  # called by position
        """Start processes, as fresh interpreters or as it takes the least time; those that were there are ended.

        Raises:
            WorkerError: the system has no room for them.
        """
        from loky import ProcessPoolExecutor  # noqa: PLC0415  # slow to import, and one worker does without

        from prep.starting import StartContext, begin_worker  # noqa: PLC0415  # imports it, too

        self.end(kill=True)
        context = StartContext()
        try:
            with held_off(note=None), context.first_processes(fresh=fresh), interrupts_blocked():
                executor: Executor = ProcessPoolExecutor(
                    max_workers=self._count, context=context, initializer=begin_worker, initargs=(os.getpid(), self._watch)
                )
                self._executor = executor
                executor.submit(os.getpid)  # starts the processes, which inherit what is blocked
        except OSError as error:
            if error.errno not in _NO_ROOM:  # what was printed is written out before, and may meet a closed pipe
                raise
            raise WorkerError(
                f"worker processes cannot be started: {error.strerror or error}; is there enough memory, and room for processes "
                "(ulimit -u)? try --workers 1"
            ) from error
        return executor

    def end(self, *, kill: bool) -> None:
        """End the processes, those that still work too if `kill`."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, kill_workers=kill)  # type: ignore[call-arg]  # loky's own argument
            self._executor = None


def default_workers() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
