"""Telling whether a file is still the one that was read, by one `stat`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class FileState:
    """A file as it was found. A file that was replaced, or written to, has another state; one whose owner or mode changed has not.

    Attributes:
        path: absolute.
        size: in bytes.
        inode: its number.
        mtime_ns: when the content changed.
    """

    path: Path
    size: int
    inode: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Return the state that a file is in now.

        Raises:
            OSError: there is none, or it cannot be looked at.
        """
        path = Path(os.path.abspath(path))
        status = os.stat(path)
        return cls(path, status.st_size, status.st_ino, status.st_mtime_ns)
