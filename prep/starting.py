"""How worker processes start: as copies of this process where it can be copied, else as fresh interpreters.

A fresh interpreter imports all that a worker needs, which takes 0.3 s of every processor: most of a small build. A copy has it
already. But a copy is of the calling thread alone, and a lock that another thread held at that moment stays locked in it for ever:
so only a process in which nothing else runs is copied.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import shutil
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

from loky.backend.context import LokyContext
from threadpoolctl import threadpool_info

from prep.watchdog import Watch, guard_this_process

_THREADS = "/proc/self/task"

_PARENT_POLL_SECONDS = 0.5

_NEVER_COPIED = ("tensorflow", "jax", "torch")
"""Modules that have threads, or a device, which no copy could use."""

_HANGS_IN_COPIES = "0.3.30"
"""The release of OpenBLAS of which a factorisation may wait for ever after a fork, in parent and child (OpenBLAS issue 5520)."""


class StartContext(LokyContext):  # type: ignore[misc]  # loky has no types
    """loky's context, of which the first processes may be copies; all later ones are fresh interpreters.

    loky starts further processes, in place of those that take too much memory, from a thread of its own: not a moment for copies.
    """

    def __init__(self) -> None:
        """Begin with fresh interpreters."""
        super().__init__()
        self._copies = False

    @contextmanager
    def first_processes(self, *, fresh: bool) -> Iterator[None]:
        """Let processes that start in the block be copies of this one, if it can be copied and they need not be fresh."""
        if fresh or not can_be_copied():
            resource_tracker.ensure_running()  # starting it unblocks Ctrl-C, as Python 3.11 writes it: not amid the block, then
            yield
            return
        self._copies = True
        try:
            with warnings.catch_warnings():
                # Python warns of any thread; those of OpenBLAS end before a copy is made, and begin again when they are needed.
                warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork")
                yield
        finally:
            self._copies = False

    def Process(self, *args: Any, **kwargs: Any) -> Any:  # noqa: N802  # multiprocessing's name
        """Return a process that is not yet started."""
        if not self._copies:
            return super().Process(*args, **kwargs)
        from multiprocessing.context import ForkProcess  # noqa: PLC0415  # there is none on Windows

        kwargs.pop("env", None)  # a copy has the environment of this process
        return ForkProcess(*args, **kwargs)


def can_be_copied() -> bool:
    """Return whether a copy of this process works as this one: on Linux, while nothing runs in it but the calling thread.

    The threads of OpenBLAS, which NumPy starts, do not count: it ends them before the process is copied.
    """
    if sys.platform != "linux" or threading.active_count() > 1 or any(name in sys.modules for name in _NEVER_COPIED):
        return False
    pools = [pool for pool in threadpool_info() if pool["internal_api"] == "openblas"]
    if any(pool["threading_layer"] != "pthreads" or pool["version"].startswith(_HANGS_IN_COPIES) for pool in pools):
        return False
    blas = sum(int(pool["num_threads"]) - 1 for pool in pools)
    return len(os.listdir(_THREADS)) <= 1 + blas


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Block Ctrl-C in the processes that this thread starts.

    Ctrl-C goes to the whole process group, and an interpreter that it meets while it starts ends with a traceback. In this
    process the mask alone holds nothing back: numpy and Arrow have threads of their own, and any of them may take the signal.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_worker(parent: int, watch: Watch | None) -> None:
    """Let a worker end when its parent ends it or dies, or when an item takes too long, and not before.

    Ctrl-C is the parent's to act on, wherever the worker was started from. A parent that is killed cannot end its workers, and
    the pipe that they wait at stays open, as each of them holds both ends.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a copy has its parent's handler
    gc.freeze()  # else every collection would touch, and so copy, all that the parent had made
    if not os.environ.setdefault("PYTHONFAULTHANDLER", ""):  # unless the user asks for dumps; empty keeps loky from it, too
        faulthandler.disable()  # a decoder that crashes is told in one line, by the parent
    if watch is not None:
        guard_this_process(watch)
    threading.Thread(target=_end_with, args=(parent, watch), daemon=True).start()


def _end_with(parent: int, watch: Watch | None) -> None:
    while os.getppid() == parent:
        time.sleep(_PARENT_POLL_SECONDS)
    if watch is not None:
        shutil.rmtree(watch.folder, ignore_errors=True)  # which a parent that was killed could not remove
    os._exit(1)
