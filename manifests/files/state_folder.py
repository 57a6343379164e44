"""Opening what lies in a dataset's `.prep` by the descriptors of its folders: no link there is followed, wherever it leads.

A dataset may be a stranger's, and a link in it may lead to the files of whoever opens it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

STATE_FOLDER = ".prep"
"""Folder of the state of builds, in the folder of a dataset."""

# O_PATH, where there is such, needs no right to list the folder.
_FOLDER = os.O_DIRECTORY | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)


@contextmanager
def opened_folder(folder: Path, *, make: bool = False) -> Iterator[int]:
    """Hold a folder by a descriptor, for functions that take a `dir_fd`.

    Args:
        folder: any; from the last `.prep` in its path on, none of its parts may be a link.
        make: whether to make it if it is missing; what it lies in must be there.

    Raises:
        OSError: it is not there, or it is a link or no folder.
    """
    parts = Path(folder).parts
    first = max((at for at, part in enumerate(parts) if part == STATE_FOLDER), default=len(parts))
    descriptor = os.open(Path(*parts[:first]), _FOLDER)
    try:
        for name in parts[first:]:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(name, dir_fd=descriptor)
            try:
                inner = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
            except OSError as error:
                error.filename = os.fspath(folder)
                raise
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def open_state_file(path: str | Path, flags: int, mode: int = 0o666) -> int:
    """Open a file and return its descriptor; an `opener` for `open`. A link in its place is not followed.

    Raises:
        OSError: it cannot be opened, or a part of its path from `.prep` on is a link.
    """
    path = Path(path)
    with opened_folder(path.parent) as folder:
        try:
            return os.open(path.name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=folder)
        except OSError as error:
            error.filename = os.fspath(path)
            raise
