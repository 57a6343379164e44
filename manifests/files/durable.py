"""Bringing what was written to the disk: all of a file system at once where the system can, else file by file."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from manifests.files.atomic import sync_folder


def sync_below(folder: Path, files: Iterable[Path], emptied: Iterable[Path] = ()) -> None:
    """Let files and their folders survive a power cut from here on.

    On Linux one call flushes the file system that they are on, which for hundreds of small files costs a fraction of flushing
    each; elsewhere each file and each of their folders is flushed.

    Args:
        folder: on the file system that the files are on.
        files: that were written since the last time.
        emptied: folders from which files were removed or renamed since then; one that is gone does not count.

    Raises:
        OSError: the disk is full or fails; what was written may be lost.
    """
    syncfs = _syncfs()
    if syncfs is None:
        _sync_each(files, emptied)
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        syncfs(descriptor)
    except OSError as error:
        if error.errno not in {errno.ENOSYS, errno.EPERM}:  # a sandbox may forbid it
            error.filename = os.fspath(folder)
            raise
        _sync_each(files, emptied)
    finally:
        os.close(descriptor)


def _sync_each(files: Iterable[Path], emptied: Iterable[Path]) -> None:
    folders = {folder for folder in emptied if folder.is_dir()}
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        folders.add(file.parent)
    # A folder that was just made is lost with its files unless those above it say that it is there.
    above = {parent for folder in folders for parent in folder.parents}
    for folder in sorted(folders | above, reverse=True):
        sync_folder(folder)


@cache
def _syncfs() -> Callable[[int], None] | None:
    """Return Linux' `syncfs`, which Python does not offer; None where there is none."""
    try:
        function = ctypes.CDLL(None, use_errno=True).syncfs
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_int,)

    def syncfs(descriptor: int) -> None:
        if function(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return syncfs
