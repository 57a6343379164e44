"""One writer at a time: a lock on the dataset folder that a dead process does not keep."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prep.errors import OutputError


@contextmanager
def locked(state_folder: Path) -> Iterator[None]:
    """Hold the lock of a dataset while the block runs; the kernel frees it when the process ends, however it ends.

    Raises:
        OutputError: another process holds it.
    """
    with open(state_folder / "lock", "wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(f"{state_folder.parent}: another prep command is writing this dataset; wait for it to end") from error
        yield
