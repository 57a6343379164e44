"""Opening a dataset's files in their order, ahead of the one who reads them, and none that lies outside."""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from manifests.format.names import resolve_inside

_FILES_AHEAD = 16
"""Files that are open, and that the kernel has been asked for, before the first of them is read."""

_BYTES_AHEAD = 1 << 20
"""Of each of them; behind that, the kernel's own reading ahead takes over."""

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)  # a pipe opens at once, and is then refused
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_NO_FILE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


class Wrong(Exception):  # noqa: N818  # no error: it carries a finding out of a loop
    """What keeps a file from being looked at.

    Attributes:
        kind: as in a finding.
        message: as in a finding.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


@dataclass(frozen=True)
class Opened:
    """A file of the dataset.

    Attributes:
        rows: where its rows stand.
        real: its path in the dataset once symbolic links are followed.
        file: its descriptor, or why there is none.
        status: what the system says of it; None if it is not open.
    """

    rows: range
    real: str
    file: int | Wrong
    status: os.stat_result | None


def opened_ahead(folder: str, paths: Sequence[str]) -> Iterator[Opened]:
    """Yield each file opened, some files ahead of the reader, so that a disk can find the next ones meanwhile.

    A file is closed when the next one is asked for.

    Args:
        folder: the dataset's.
        paths: of each row, relative to it; those of one file stand together.
    """
    root = os.path.realpath(folder)
    folders: dict[str, str | None] = {}
    waiting: deque[Opened] = deque()
    try:
        for rows in _rows_of_files(paths):
            waiting.append(_opened(root, paths[rows[0]], rows, folders))
            if len(waiting) > _FILES_AHEAD:
                yield from _closing(waiting)
        while waiting:
            yield from _closing(waiting)
    finally:
        for opened in waiting:
            if isinstance(opened.file, int):
                os.close(opened.file)


def _closing(waiting: deque[Opened]) -> Iterator[Opened]:
    opened = waiting.popleft()
    try:
        yield opened
    finally:
        if isinstance(opened.file, int):
            os.close(opened.file)


def _rows_of_files(paths: Sequence[str]) -> Iterator[range]:
    """Yield the stretches of equal paths."""
    start = 0
    for position in range(1, len(paths) + 1):
        if position == len(paths) or paths[position] != paths[start]:
            yield range(start, position)
            start = position


def _opened(root: str, relative: str, rows: range, folders: dict[str, str | None]) -> Opened:
    try:
        file, real = _open_inside(root, relative, folders)
    except Wrong as wrong:
        return Opened(rows, relative, wrong, None)
    except OSError as error:
        missing = error.errno in _NO_FILE
        text = "no such file" if missing else f"cannot be opened: {error.strerror}"
        return Opened(rows, relative, Wrong("missing" if missing else "damaged", text), None)
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        os.close(file)
        return Opened(rows, real, Wrong("missing", "is no regular file"), None)
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file, 0, min(status.st_size, _BYTES_AHEAD), os.POSIX_FADV_WILLNEED)
    return Opened(rows, real, file, status)


def _open_inside(root: str, relative: str, folders: dict[str, str | None]) -> tuple[int, str]:
    """Open a dataset's file and return it with its real path in the dataset.

    Args:
        root: real path of the dataset.
        relative: path in the dataset.
        folders: folders met so far, each with its real path, or None if that lies outside; grows.

    Raises:
        Wrong: it lies outside.
        OSError: it cannot be opened.
    """
    folder, _, name = relative.rpartition("/")
    if folder not in folders:
        inside = resolve_inside(root, folder)
        folders[folder] = None if inside is None else os.fspath(inside)
    real_folder = folders[folder]
    if real_folder is None:
        raise _outside()
    path = f"{real_folder}/{name}"
    try:
        return os.open(path, _FLAGS | _NO_LINK), relative if path == f"{root}/{relative}" else os.path.relpath(path, root)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    inside = resolve_inside(root, relative)
    if inside is None:
        raise _outside()
    return os.open(inside, _FLAGS), os.path.relpath(inside, root)


def _outside() -> Wrong:
    return Wrong("outside", "lies outside the dataset once symbolic links are followed")
