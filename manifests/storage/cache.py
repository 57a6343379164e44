"""What was read from a big manifest, kept beside it, so that it is parsed once and not at every start.

A cache holds for one state of one file: same size, inode, time of change of the content and of the inode. The last one
cannot be set by anybody, so neither a restored time nor a cache that came with a dataset from elsewhere can pass for it.
A file that had just changed when it was read may change again without a sign, so then its digest is compared too.

What a cache holds is not validated again, so only files of the user's own and of the superuser are believed, which nobody else can write
to, in a folder of which the same holds. Who shares a dataset of somebody else's keeps a cache below `~/.cache`.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manifests.errors import ManifestError
from manifests.files.regularfile import open_regular
from manifests.format.schema import STATE_FOLDER
from manifests.rows.checked import CheckedRows
from manifests.rows.paths import with_layout
from manifests.storage.arrow_file import CacheFileError, read_cache, write_cache

if TYPE_CHECKING:
    import pyarrow as pa

CACHED_ROWS = 100_000
"""Rows from which a manifest is cached; below, reading it takes less than a second."""

WRITTEN_ROWS = 1_000
"""Rows from which a manifest is cached by who has written it, and has them at hand."""

_READ_BYTES = 1 << 20
_OTHERS_MAY_WRITE = 0o022

_GRANULARITY = 2 * 10**9
"""Nanoseconds: the coarsest clock of a file system that is in use (FAT) counts in steps of two seconds."""


@dataclass(frozen=True)
class Stamp:
    """One state of a manifest's file.

    Attributes:
        size: in bytes.
        inode: its number.
        mtime_ns: when the content changed.
        ctime_ns: when anything changed.
        sha256: of the content, in hex, if it had changed so lately that the times do not tell; else None.
    """

    size: int
    inode: int
    mtime_ns: int
    ctime_ns: int
    sha256: str | None


class StampedFile(io.RawIOBase):
    """A manifest that is read from its beginning to its end, and remembered as it was.

    Attributes:
        status: of the file, as it was opened.
    """

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            OSError: it cannot be opened.
        """
        self._file = open_regular(path)
        self.status = os.fstat(self._file.fileno())
        self._digest = hashlib.sha256() if _is_recent(self.status.st_mtime_ns, self.status.st_ctime_ns) else None

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read bytes into a buffer, and digest them where the times do not tell."""
        count = self._file.readinto(buffer)
        if self._digest is not None:
            self._digest.update(memoryview(buffer)[:count])
        return count

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def stamp(self) -> Stamp:
        """Return the state of the file that was read."""
        return _stamp(self.status, None if self._digest is None else self._digest.hexdigest())


def _stamp(status: os.stat_result, sha256: str | None) -> Stamp:
    return Stamp(status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, sha256)


def _is_recent(mtime_ns: int, ctime_ns: int) -> bool:
    """Return whether a file might change now and show the same times afterwards."""
    return max(mtime_ns, ctime_ns) > time.time_ns() - _GRANULARITY


def cached_rows(path: Path, parse: Callable[[], pa.Table]) -> CheckedRows | None:
    """Return what was kept of a manifest, if it is still what the file says; the arrays stay on the disk, mapped.

    Args:
        path: the manifest.
        parse: reads the manifest. If a column turns out to be damaged when it is first used, this is done after all, and raises a
            `ManifestError` if the manifest has changed by then.
    """
    try:
        status = os.stat(path)
        for place in _places(path, status):
            found = _read(place)
            if found is not None and found[2] == _stamp(status, found[2].sha256):
                table, is_intact, stamp = found
                rows = CheckedRows(table, is_intact, lambda: _parsed_again(path, stamp, parse))  # noqa: B023  # returned at once
                settled = _settled(path, stamp)
                if settled != stamp:
                    keep_table(rows.table(), path, settled)
                if settled.sha256 is None or _is_unchanged(path, stamp):
                    return rows
    except OSError:
        pass
    return None


def _parsed_again(path: Path, stamp: Stamp, parse: Callable[[], pa.Table]) -> pa.Table:
    """Read a manifest of which rows may be in use.

    Raises:
        ManifestError: it has changed, or gone.
    """
    try:
        rows, is_same = parse(), _stamp(os.stat(path), stamp.sha256) == stamp and (stamp.sha256 is None or _is_unchanged(path, stamp))
    except OSError:
        is_same = False
    if not is_same:
        raise ManifestError(f"{path}: has changed since it was opened, and the cache of what it was is damaged; load it again")
    return rows


def keep_table(table: pa.Table, path: Path, stamp: Stamp) -> None:
    """Keep what was read from a manifest and found sound: beside it, or in the user's cache folder if that is not allowed.

    Where neither can be written, or the disk is full, nothing is kept.

    Args:
        table: all of its rows.
        path: the manifest.
        stamp: of the file as it was read.
    """
    try:
        places = _places(path, os.stat(path))
        stamp = _settled(path, stamp)
    except OSError:
        return
    for place in places:
        try:
            if place.is_shared and not place.is_ours:
                continue
            place.file.parent.mkdir(mode=0o755 if place.is_shared else 0o700, parents=not place.is_shared, exist_ok=True)
            if _is_trusted(os.lstat(place.file.parent), stat.S_IFDIR, place.owners):
                write_cache(with_layout(table), asdict(stamp), place.file)
                return
        except OSError as error:
            if error.errno not in {errno.EACCES, errno.EPERM, errno.EROFS}:
                return


def keep_written(table: pa.Table, path: Path, sha256: str) -> None:
    """Keep the rows of a manifest that was just written from them, so that nobody has to parse it; see `keep_table`.

    Args:
        table: all of its rows, in the order of the file.
        path: the manifest; where it is another by now, nothing is kept.
        sha256: of what was written, in hex.
    """
    digest = hashlib.sha256()
    try:
        with StampedFile(path) as file:
            while piece := file.read(_READ_BYTES):
                digest.update(piece)
            stamp = file.stamp()
    except OSError:
        return
    if digest.hexdigest() == sha256:
        keep_table(table, path, stamp)


@dataclass(frozen=True)
class _Place:
    """Where a cache may be.

    Attributes:
        file: the cache.
        owners: user numbers of whom it is believed.
        is_shared: whether it lies in the dataset, for everybody who reads that.
        is_ours: whether this user is to write it.
    """

    file: Path
    owners: frozenset[int]
    is_shared: bool
    is_ours: bool


def _places(path: Path, status: os.stat_result) -> list[_Place]:
    """Return where a manifest's cache may be, the best place first."""
    me = os.geteuid()
    shared = path.parent / STATE_FOLDER / _name(path.name)
    beside = _Place(shared, frozenset({me, 0}), is_shared=True, is_ours=status.st_uid == me)
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # the specification says to pass over any other
        base = os.path.expanduser("~/.cache")
    if not os.path.isabs(base):
        return [beside]
    return [beside, _Place(Path(base) / "shardfeed" / _name(os.path.realpath(path)), frozenset({me}), is_shared=False, is_ours=True)]


def _name(of: str) -> str:
    return f"manifest-{hashlib.sha256(os.fsencode(of)).hexdigest()[:32]}.cache"


def _read(place: _Place) -> tuple[pa.Table, Callable[[str], bool], Stamp] | None:
    """Return what a cache holds, or None if it is not there or not to be believed."""
    try:
        # A link may lead to a file of somebody else, a pipe would wait for a writer.
        descriptor = os.open(place.file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            folder = os.lstat(place.file.parent)
            if not (_is_trusted(os.fstat(descriptor), stat.S_IFREG, place.owners) and _is_trusted(folder, stat.S_IFDIR, place.owners)):
                return None
            rows, is_intact, stamp = read_cache(file)
            return rows, is_intact, Stamp(**stamp)
    except (OSError, CacheFileError, TypeError):
        return None


def _is_trusted(status: os.stat_result, kind: int, owners: frozenset[int]) -> bool:
    """Return whether a file or folder is of a kind, belongs to one of some users, and can be written to by its owner alone."""
    return stat.S_IFMT(status.st_mode) == kind and status.st_uid in owners and not status.st_mode & _OTHERS_MAY_WRITE


def _settled(path: Path, stamp: Stamp) -> Stamp:
    """Drop a digest that is not needed any more: the content is the same still, and every later change will show in the times."""
    if stamp.sha256 is None or _is_recent(stamp.mtime_ns, stamp.ctime_ns) or not _is_unchanged(path, stamp):
        return stamp
    return replace(stamp, sha256=None)


def _is_unchanged(path: Path, stamp: Stamp) -> bool:
    """Compare the content's digest."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == stamp.sha256
