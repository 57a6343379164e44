"""One shard at a time, looked at closely: whatever is not as expected is read all the same, or named."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import weakref
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from loader.errors import OptionError, ShardError
from loader.feed.index.index import Index
from manifests.errors import ArrayFileError
from manifests.format.names import resolve_inside
from manifests.format.npyfile import AnyArray, NpyHeader, read_header, read_stream

# O_NOFOLLOW: a symbolic link is resolved and held against the root before it is opened.
# O_NONBLOCK: a named pipe in place of a shard must not wait for its writer; regular files do not notice.
OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

_MOST_TRIED = 100
"""Shards that are asked for shape and dtype when those before them cannot be read."""

_REBUILD = "build the shard again, or leave the row out"


class ShardFiles:
    """The shards of an index, by position.

    Attributes:
        root: descriptor of the dataset's folder.
        shape: of one sample; None when samples may have several.
        dtype: of the shards, in native byte order.
        keep_cached: False for telling the kernel that a shard's pages are not needed again.
    """

    def __init__(self, index: Index, *, varied: bool = False, keep_cached: bool = True, skips: bool = False) -> None:
        """Open the dataset's folder, and its first shard if the index leaves open what is needed.

        Args:
            index: the samples.
            varied: whether samples may have several shapes.
            keep_cached: see above.
            skips: whether another shard may show shape and dtype when the first one cannot.

        Raises:
            OptionError: the folder cannot be opened.
            ShardError: the first shard cannot be read or does not fit what the index says.
        """
        self._index = index
        self.keep_cached = keep_cached or not hasattr(os, "posix_fadvise")
        try:
            self.root = os.open(index.root, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
        except OSError as error:
            raise OptionError(
                f"the folder of the shards must be one that can be opened, got {str(index.root)!r}: {error.strerror}"
            ) from error
        self.close = weakref.finalize(self, os.close, self.root)
        # bool, shape (folders,): whether the folder's symbolic links, if it has any, were seen to stay inside the root.
        self._is_safe = np.zeros(len(index.folders), dtype=np.bool_)
        self._all_safe = False
        self.shape: tuple[int, ...] | None = None
        self._expected = str(index.array)
        shape, self.dtype = self._described(varied=varied, tries=_MOST_TRIED if skips else 1)
        self.shape = None if varied else shape
        self._expected = f"{'any shape' if varied else self.shape} {self.dtype}"

    def read(self, position: int) -> tuple[AnyArray, bytes]:
        """Read one sample whatever its header's bytes are.

        Returns:
            The sample, of the shards' dtype and the samples' shape; and the bytes before the elements if other shards that
            begin with them can be read without a closer look, else none.

        Raises:
            ShardError: the shard is missing, damaged, unsafe, or of another shape or dtype.
        """
        self.check_folders(np.array([position]))
        with self._opened(position) as file:
            try:
                header = read_header(file, "")
                self._check_header(position, header)
                file.seek(0)
                array = read_stream(file, "")
                file.seek(0)
                start = file.read(header.offset)
            except ArrayFileError as error:
                self.fail(position, _damage(error), cause=error)
            except OSError as error:
                self.fail(position, _reason(error), cause=error)
            finally:
                self.forget(file.fileno())
        # Elements in another order or of another byte order cannot go to the batch as they are.
        is_plain = header.dtype.isnative and (not header.fortran_order or len(header.shape) < 2)
        return array if self.shape is None else array.reshape(self.shape), start if is_plain else b""

    def check_folders(self, positions: npt.NDArray[np.int64]) -> None:
        """Follow the symbolic links of each shard's folder once.

        Raises:
            ShardError: they lead out of the root.
        """
        if self._all_safe:
            return
        for position, folder in zip(positions.tolist(), self._index.folder_of[positions].tolist(), strict=True):
            if not self._is_safe[folder]:
                if resolve_inside(self._index.root, self._index.folders[folder]) is None:
                    self._fail_outside(position)
                self._is_safe[folder] = True
        self._all_safe = bool(self._is_safe.all())

    def forget(self, file: int) -> None:
        """Tell the kernel that an open shard's pages are not needed again, unless they are to be kept."""
        if not self.keep_cached:
            with contextlib.suppress(OSError):  # it is only advice
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)

    def fail(self, position: int, found: str, advice: str = _REBUILD, cause: BaseException | None = None) -> NoReturn:
        """Raise a ShardError about one sample."""
        path = os.path.join(self._index.root, self._index.paths[position])
        raise ShardError(self._index.ids[position], path, self._expected, found, advice) from cause

    def _described(self, *, varied: bool, tries: int) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
        """Return the samples' shape and dtype, of the first shard that shows them where the index does not say."""
        array = self._index.array
        if array.dtype is not None and (varied or (array.shape is not None and None not in array.shape)):
            return tuple(axis for axis in array.shape or () if axis is not None), np.dtype(array.dtype)
        last = min(tries, len(self._index)) - 1
        for position in range(last):
            with contextlib.suppress(ShardError):
                return self._shown_by(position)
        return self._shown_by(last)

    def _shown_by(self, position: int) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
        """Return the shape and dtype that a shard's header gives to all samples."""
        array = self._index.array
        self.check_folders(np.array([position]))
        with self._opened(position) as file:
            try:
                header = read_header(file, "")
            except ArrayFileError as error:
                self.fail(position, _damage(error), cause=error)
            except OSError as error:
                self.fail(position, _reason(error), cause=error)
            finally:
                self.forget(file.fileno())
        shape, dtype = header.shape, header.dtype.newbyteorder("=")
        if self._index.channel_optional and array.shape is not None and len(shape) == len(array.shape) - 1:
            shape = (*shape, 1)
        fits = array.shape is None or (
            len(shape) == len(array.shape) and all(wanted in {None, axis} for wanted, axis in zip(array.shape, shape, strict=True))
        )
        if not fits or array.dtype not in {None, dtype.name}:
            self.fail(position, f"{header.shape} {dtype}", "correct dim and n_channels, or the shard")
        return shape, dtype

    def _check_header(self, position: int, header: NpyHeader) -> None:
        is_fit = header.dtype.newbyteorder("=") == self.dtype
        if self.shape is not None:
            shapes = {self.shape}
            if self._index.channel_optional and self.shape[-1] == 1:
                shapes.add(self.shape[:-1])
            is_fit &= header.shape in shapes
        if not is_fit:
            self.fail(position, f"{header.shape} {header.dtype}", "all samples of a feed have one shape and dtype: " + _REBUILD)

    def _opened(self, position: int) -> io.BufferedReader:
        """Open a sample's shard for reading bytes."""
        try:
            file = self._descriptor(position, self._index.paths[position])
        except OSError as error:
            self.fail(position, _reason(error), cause=error)
        found = _strange(os.fstat(file))
        if found is not None:
            os.close(file)
            self.fail(position, found)
        return os.fdopen(file, "rb")

    def _descriptor(self, position: int, path: str) -> int:
        try:
            return os.open(path.encode(), OPEN_FLAGS, dir_fd=self.root)
        except OSError as error:
            if error.errno not in {errno.ELOOP, errno.EMLINK}:
                raise
        # A symbolic link, or too many of them.
        inside = resolve_inside(self._index.root, path)
        if inside is None:
            self._fail_outside(position)
        return os.open(inside, OPEN_FLAGS)

    def _fail_outside(self, position: int) -> NoReturn:
        found = f"a symbolic link that leads out of {self._index.root}"
        self.fail(position, found, "put the shard itself there: a feed reads nothing outside its folder")


def _strange(status: os.stat_result) -> str | None:
    """Say what is there instead of a file with something in it."""
    if stat.S_ISDIR(status.st_mode):
        return "a folder"
    if not stat.S_ISREG(status.st_mode):
        return "something that is not a file"
    return None if status.st_size else "an empty file"


def _damage(error: ArrayFileError) -> str:
    return f"a file that cannot be used ({str(error).removeprefix(': ')})"


def _reason(error: OSError) -> str:
    return "no such file" if isinstance(error, FileNotFoundError | NotADirectoryError) else f"a file that cannot be read ({error.strerror})"
