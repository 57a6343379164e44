"""One writer at a time: a lock on a dataset that a dead process does not keep."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from manifests.files.regularfile import open_state_file

LOCK_NAME = "lock"

_LOOK_SECONDS = 0.05

_held: set[int] = set()
"""Descriptors of this process by which it holds locks, or waits for them."""


def _let_go() -> None:
    """Close what a copy of this process has of its locks: it would keep them for as long as it lives, whatever becomes of this one."""
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_let_go)


@contextmanager
def locked(state_folder: Path, *, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock of a dataset while the block runs; the kernel frees it when the process ends, however it ends.

    Args:
        state_folder: the dataset's `.prep`.
        patience: seconds to wait for another process that holds it.

    Raises:
        BlockingIOError: another process holds it.
        OSError: the folder cannot be written.
    """
    descriptor = open_state_file(state_folder / LOCK_NAME, os.O_RDWR | os.O_CREAT)
    _held.add(descriptor)
    try:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(_LOOK_SECONDS)
            else:
                break
        yield
    finally:
        _held.discard(descriptor)
        os.close(descriptor)
