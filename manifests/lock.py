"""One writer at a time: a lock on a dataset that a dead process does not keep."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_NAME = "lock"

_LOOK_SECONDS = 0.05


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
    descriptor = os.open(state_folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
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
        os.close(descriptor)
