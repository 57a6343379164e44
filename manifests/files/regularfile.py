"""Opening a file that a stranger may have put there: a pipe is not waited for, and below a dataset's `.prep` no link is followed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path

STATE_FOLDER = ".prep"
"""Folder of the state of builds, in the folder of a dataset."""

# O_PATH, where there is such, needs no right to list the folder.
_FOLDER = os.O_DIRECTORY | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)

# O_NONBLOCK lets a pipe open at once; regular files do not heed it.
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
_READ = os.O_RDONLY | os.O_CLOEXEC | _NONBLOCK


def read_beginning_with(mark: bytes, path: str | Path, most: int) -> bytes | None:
    """Return the content of a file that begins with a mark and is no larger than `most` bytes; None of any other.

    In as few calls as the system needs, for what reads many files.

    Raises:
        OSError: the file cannot be read, or is a folder, a pipe, a socket or a device.
    """
    descriptor = os.open(path, _READ)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is no regular file", str(path))
        if status.st_size > most or os.pread(descriptor, len(mark), 0) != mark:
            return None
        content = os.read(descriptor, status.st_size + 1)  # one more than there is, to meet its end
        if len(content) == status.st_size:
            return content
        pieces = [content]
        while content and sum(map(len, pieces)) <= most:  # it grows, or the system gives less than it is asked for
            content = os.read(descriptor, most)
            pieces.append(content)
        return b"".join(pieces)
    finally:
        os.close(descriptor)


def open_regular(path: str | Path, *, opener: Callable[[str, int], int] = os.open) -> BufferedReader:
    """Open a file for reading bytes, if it is one: a named pipe would wait for ever for somebody to write to it.

    Args:
        path: of the file.
        opener: from the path and flags to a descriptor; `open_state_file` follows no link.

    Raises:
        OSError: the file cannot be opened, or is a folder, a pipe, a socket or a device.
    """
    file = open(path, "rb", opener=lambda name, flags: opener(name, flags | _NONBLOCK))  # noqa: SIM115  # the caller's
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "is no regular file", str(path))
    return file


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
