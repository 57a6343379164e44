"""The folders that shards are in, opened one name at a time: no symbolic link leads out of the dataset, whenever it was made."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from manifests.format.names import resolve_inside

# O_NOFOLLOW: a symbolic link is resolved, and opened only if it stays inside the root.
# O_NONBLOCK: a named pipe in place of a shard must not wait for its writer; regular files do not notice.
OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

_FOLDER = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY

_PERHAPS_A_LINK = frozenset({errno.ELOOP, errno.EMLINK, errno.ENOTDIR})
"""What systems say of a symbolic link that was not to be followed."""

_MOST_OPEN = 32
"""Folders that stay open; of more, those that are asked for again are opened again."""


class OutsideError(OSError):
    """A symbolic link that leads out of the root."""


class Folder:
    """A folder that is open as long as anybody refers to it: who reads in it, in whatever thread, never has it closed meanwhile.

    Attributes:
        descriptor: of the folder.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self) -> None:
        os.close(self.descriptor)


class Folders:
    """The folders below a root, by their paths. They are opened when they are needed and stay open, the last few of them.

    A folder is opened from the open one above it, so what has taken the place of a name since then is never followed.
    """

    def __init__(self, root: Path) -> None:
        """Open the root.

        Raises:
            OSError: it cannot be opened.
        """
        self._path = root
        self._root: Folder | None = None
        self._open: dict[bytes, Folder] = {}
        self.of(b"")

    def of(self, path: bytes) -> Folder:
        """Return a folder, opened. Hold on to it while its descriptor is used.

        Args:
            path: relative to the root, of safe names; empty for the root.

        Raises:
            OutsideError: a symbolic link in the path leads out of the root.
            OSError: the folder cannot be opened.
        """
        folder = self._open.get(path)
        if folder is not None:
            return folder
        if not path:
            folder = self._root
            if folder is None:
                folder = self._root = Folder(os.open(self._path, _FOLDER & ~os.O_NOFOLLOW))
            return folder
        above, _, name = path.rpartition(b"/")
        parent = self.of(above)
        try:
            folder = Folder(os.open(name, _FOLDER, dir_fd=parent.descriptor))
        except OSError as error:
            if error.errno not in _PERHAPS_A_LINK:
                raise
            folder = self._beneath(self._resolved(path))
        if len(self._open) >= _MOST_OPEN:
            self._open = {}
        self._open[path] = folder
        return folder

    def open(self, path: bytes) -> int:
        """Open a file for reading.

        Args:
            path: relative to the root, of safe names.

        Returns:
            The caller's descriptor.

        Raises:
            OutsideError: a symbolic link in the path leads out of the root.
            OSError: the file cannot be opened.
        """
        above, _, name = path.rpartition(b"/")
        folder = self.of(above)
        try:
            return os.open(name, OPEN_FLAGS, dir_fd=folder.descriptor)
        except OSError as error:
            if error.errno not in _PERHAPS_A_LINK:
                raise
        *names, name = self._resolved(path)
        folder = self._beneath(names)
        return os.open(name, OPEN_FLAGS, dir_fd=folder.descriptor)

    def let_go(self) -> None:
        """Close all folders, each as soon as nobody reads in it any more; they are opened again when they are needed."""
        self._root, self._open = None, {}

    def _resolved(self, path: bytes) -> list[bytes]:
        """Return the names that lead from the root to what a path leads to, symbolic links followed.

        Raises:
            OutsideError: that is not inside the root.
        """
        inside = resolve_inside(self._path, os.fsdecode(path))
        if inside is None:
            raise OutsideError(errno.ELOOP, f"a symbolic link that leads out of {self._path}")
        return [os.fsencode(name) for name in inside.relative_to(os.path.realpath(self._path)).parts]

    def _beneath(self, names: list[bytes]) -> Folder:
        """Open the folder that names lead to; none of them may be a symbolic link any more."""
        folder = self.of(b"")
        for name in names:
            folder = Folder(os.open(name, _FOLDER, dir_fd=folder.descriptor))
        return folder
