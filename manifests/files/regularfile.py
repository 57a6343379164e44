"""Opening a file that a stranger may have put there."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path

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
