"""Copies of this process (`fork`): when one is as good as a fresh interpreter, and what it begins with.

A copy is of the calling thread alone, and a lock that another thread held at that moment stays locked in it for ever: so only a
process in which nothing else runs is copied.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from threadpoolctl import threadpool_info

_THREADS = "/proc/self/task"

_KNOWN_THREADS = ("jemalloc_bg_thd",)
"""Names of threads that do not keep a process from being copied: that of jemalloc, which pyarrow starts, is made for it and begins anew."""

_PARENT_POLL_SECONDS = 0.5

_NEVER_COPIED = ("tensorflow", "jax", "torch")
"""Modules that have threads, or a device, which no copy could use."""

_HANGS_IN_COPIES = "0.3.30"
"""The release of OpenBLAS of which a factorisation may wait for ever after a fork, in parent and child (OpenBLAS issue 5520)."""


def can_be_copied() -> bool:
    """Return whether a copy of this process works as this one: on Linux, while nothing runs in it but the calling thread.

    Nor is a process copied that multiprocessing allows no processes of its own.

    The threads of OpenBLAS, which NumPy starts, do not count: it ends them before the process is copied.
    """
    if (
        sys.platform != "linux"
        or threading.active_count() > 1
        or multiprocessing.current_process().daemon
        or any(name in sys.modules for name in _NEVER_COPIED)
    ):
        return False
    pools = [pool for pool in threadpool_info() if pool["internal_api"] == "openblas"]
    if any(pool["threading_layer"] != "pthreads" or pool["version"].startswith(_HANGS_IN_COPIES) for pool in pools):
        return False
    blas = sum(int(pool["num_threads"]) - 1 for pool in pools)
    return sum(_name_of(thread) not in _KNOWN_THREADS for thread in os.listdir(_THREADS)) <= 1 + blas


def _name_of(thread: str) -> str:
    try:
        return Path(_THREADS, thread, "comm").read_text(encoding="utf-8").strip()
    except OSError:  # it has ended
        return _KNOWN_THREADS[0]


@contextmanager
def copying() -> Iterator[None]:
    """Let copies that are made in the block be made without a word of the threads that `can_be_copied` allows."""
    with warnings.catch_warnings():
        # Python warns of any thread; those of OpenBLAS end before a copy is made, and begin again when they are needed.
        warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork")
        yield


def begin_copy() -> None:
    """Let this process, which may be a copy, leave Ctrl-C to its parent and SIGTERM to the system."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a copy has its parent's handler
    gc.freeze()  # else every collection would touch, and so copy, all that the parent had made


def end_with(parent: int, clean_up: Callable[[], object] = lambda: None) -> None:
    """Let this process end once its parent is gone, in whatever it is."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_POLL_SECONDS)
        clean_up()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


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
