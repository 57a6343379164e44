"""One writer at a time: a dataset's lock, in the words of a command that finds it taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from manifests.files.lock import locked as lock
from prep.errors import OutputError


@contextmanager
def locked(state_folder: Path) -> Iterator[None]:
    """Hold the lock of a dataset while the block runs; the kernel frees it when the process ends, however it ends.

    Raises:
        OutputError: another process holds it.
        OSError: the folder cannot be written.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(lock(state_folder))
        except BlockingIOError as error:
            raise OutputError(f"{state_folder.parent}: another prep command is writing this dataset; wait for it to end") from error
        yield
