"""Writing a file so that a reader sees the old bytes or the new ones, never a part."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from manifests.files.regularfile import opened_folder

TEMPORARY_PREFIX = ".tmp-"
"""Names that begin so are unfinished files; nothing reads them."""

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Give a file to write to that takes the place of `path` when the block ends without an error.

    The bytes go to a temporary name in the same folder, are flushed to the disk, and are renamed; then the folder is
    flushed. The temporary name does not grow with the file's own, so a name of the greatest length can be written. What was written
    can be mapped before the block ends.

    Args:
        path: of the file.
        durable: whether to flush; not what is flushed later along with other files, or may be lost with the power.

    Raises:
        OSError: the folder cannot be written or the disk is full; `path` is then as it was.
    """
    temporary = TEMPORARY_PREFIX + secrets.token_hex(8)
    with opened_folder(path.parent) as folder:
        try:
            with os.fdopen(os.open(temporary, _NEW, 0o666, dir_fd=folder), "wb") as file:
                yield file
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            os.replace(temporary, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException as error:
            if isinstance(error, OSError) and error.filename == temporary:
                error.filename = os.fspath(path)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
            raise
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, where the system can: some network and FUSE file systems, and Windows, cannot."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EBADF}:
            raise
    finally:
        os.close(descriptor)
