"""Where chunks of work run: a `concurrent.futures.Executor`, local processes by default."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import resource_tracker
from typing import Any, TypeVar

from prep.errors import WorkerError
from prep.interrupts import held_off

Task = TypeVar("Task")
Result = TypeVar("Result")

CHUNKS_IN_FLIGHT = 4
"""Chunks that wait or run per worker: enough that no worker idles, few enough that memory does not grow with the data."""

_PARENT_POLL_SECONDS = 0.5


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


@dataclass(frozen=True)
class Workers:
    """An executor and how many calls it runs at once.

    Attributes:
        executor: any `concurrent.futures.Executor`.
        count: of its workers.
    """

    executor: Executor
    count: int

    def run(self, function: Callable[[Task], Result], tasks: Sequence[Task], done: Callable[[Result], object]) -> None:
        """Run every task and hand each result on as it comes, in any order; few tasks are under way at a time.

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
                for task in islice(left, max(0, self.count * CHUNKS_IN_FLIGHT - len(running))):
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
def open_workers(count: int) -> Iterator[Workers]:
    """Give workers, which are gone when the block ends; at once if it ends by an error.

    One worker is this process itself. More are loky's processes: fresh interpreters that do not import the caller's
    `__main__`, so neither a script without a guard nor a notebook is run again.
    """
    if count == 1:
        yield Workers(InlineExecutor(), 1)
        return
    from loky import ProcessPoolExecutor  # noqa: PLC0415  # slow to import, and one worker does without

    resource_tracker.ensure_running()  # loky needs it, and starting it unblocks Ctrl-C, as Python 3.11 writes it
    executor: ProcessPoolExecutor | None = None
    done = False
    try:
        with held_off(note=None), _interrupts_blocked():
            executor = ProcessPoolExecutor(max_workers=count, initializer=_depend_on_the_parent, initargs=(os.getpid(),))
            executor.submit(os.getpid)  # starts the processes, which inherit what is blocked
        yield Workers(executor, count)
        done = True
    finally:
        if executor is not None:
            executor.shutdown(wait=True, kill_workers=not done)


def default_workers() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block Ctrl-C in the processes that this thread starts.

    Ctrl-C goes to the whole process group, and an interpreter that it meets while it starts ends with a traceback. In this
    process the mask alone holds nothing back: numpy and Arrow have threads of their own, and any of them may take the signal.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _depend_on_the_parent(parent: int) -> None:
    """Let a worker end when its parent ends it or dies, and not before.

    Ctrl-C is the parent's to act on, wherever the worker was started from. A parent that is killed cannot end its workers, and
    the pipe that they wait at stays open, as each of them holds both ends.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_PARENT_POLL_SECONDS)
    os._exit(1)
