"""Reading shards straight into the rows of a batch.

Shards of one shape and dtype begin with the same bytes. So a header is parsed once, by NumPy, and after that only compared;
a sample costs three system calls and its elements are copied once, from the page cache to the batch. Whatever is not
exactly as expected is looked at again, slowly: to be read all the same if it is the same array in another layout, or to
say what is wrong.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import weakref
from collections.abc import Callable
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from loader.buffers import Buffer, BufferPool
from loader.errors import OptionError, ShardError
from loader.index import Index
from manifests.errors import ArrayFileError
from manifests.names import resolve_inside
from manifests.npyfile import AnyArray, NpyHeader, read_header, read_stream

# O_NOFOLLOW: a symbolic link is resolved and held against the root before it is opened.
# O_NONBLOCK: a named pipe in place of a shard must not wait for its writer; regular files do not notice.
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

# What is not in the page cache is asked for all together, so the first shard that would have to be waited for ends the fast way.
_NOWAIT = getattr(os, "RWF_NOWAIT", 0)

_AHEAD = 128
"""Shards that the kernel is asked for at once: enough to keep a disk busy, and far below the usual limit of open files."""

_REBUILD = "build the shard again, or leave the row out"


class ShardReader:
    """Reads samples by their position in an index.

    Attributes:
        shape: of one sample.
        dtype: of the shards, in native byte order.
    """

    def __init__(self, index: Index) -> None:
        """Open the dataset's folder, and its first shard if the index leaves shape or dtype open.

        Raises:
            OptionError: the folder cannot be opened.
            ShardError: the first shard cannot be read or does not fit what the index says.
        """
        self._index = index
        try:
            self._root = os.open(index.root, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
        except OSError as error:
            raise OptionError(
                f"the folder of the shards must be one that can be opened, got {str(index.root)!r}: {error.strerror}"
            ) from error
        self._close = weakref.finalize(self, os.close, self._root)
        # bool, shape (folders,): whether the folder's symbolic links, if it has any, were seen to stay inside the root.
        self._is_safe = np.zeros(len(index.folders), dtype=np.bool_)
        self._all_safe = False
        self._expected = str(index.array)
        self.shape, self.dtype = self._described()
        self._expected = f"{self.shape} {self.dtype}"
        self._row_bytes = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize
        # The bytes before the elements, as they were in the last shard that was parsed.
        self._header = b""
        self._nowait = _NOWAIT
        self._buffers = BufferPool(0, self.shape, self.dtype, 0)

    def close(self) -> None:
        """Close the dataset's folder; nothing can be read afterwards."""
        self._close()

    def read(self, positions: npt.NDArray[np.int64]) -> AnyArray:
        """Read samples.

        Args:
            positions: int64, shape (k,).

        Returns:
            Of the shards' dtype, shape (k, *shape). The caller's own: its memory is used again only when neither it nor
            any array made from it without a copy is left.

        Raises:
            ShardError: a shard is missing, damaged, unsafe, or of another shape or dtype.
        """
        header = self._learned(positions)
        pool = self._buffers
        if not pool.fits(len(positions), len(header)):
            pool = self._buffers = BufferPool(len(positions), self.shape, self.dtype, len(header))
        buffer = pool.take()
        self._fill(positions, buffer, header)
        return pool.lend(buffer, len(positions))

    def read_into(self, positions: npt.NDArray[np.int64], buffer_of: Callable[[int], Buffer]) -> None:
        """Read samples into the first rows of a buffer.

        Args:
            positions: int64, shape (k,).
            buffer_of: returns a buffer of at least k rows for headers of a given number of bytes.

        Raises:
            ShardError: as for `read`; the rows then hold anything.
        """
        header = self._learned(positions)
        self._fill(positions, buffer_of(len(header)), header)

    def _learned(self, positions: npt.NDArray[np.int64]) -> bytes:
        """Return the header to expect, from the first shard that is asked for if none was parsed yet."""
        self._check_folders(positions)
        if not self._header and len(positions):
            self._read_slowly(int(positions[0]))
        return self._header

    def _fill(self, positions: npt.NDArray[np.int64], buffer: Buffer, header: bytes) -> None:
        for row in self._read_fast(self._index.paths.take_bytes(positions), buffer, header):
            buffer.rows[row] = self._read_slowly(int(positions[row]))

    def _read_fast(self, paths: list[bytes], buffer: Buffer, header: bytes) -> list[int]:
        """Read shards that are exactly as expected: three system calls each, and one look at all of them together.

        Returns:
            The rows of those that are not, which hold anything.
        """
        k = len(paths)
        if not header:
            return list(range(k))
        size = len(header) + self._row_bytes
        done = self._read_cached(paths, buffer, size)
        if done == k and buffer.headers.startswith(header * k):
            return []
        counts = [size] * done
        for start in range(done, k, _AHEAD):
            counts += self._read_cold(paths[start : start + _AHEAD], buffer, start)
        starts = range(0, k * len(header), len(header))
        return [row for row, start in enumerate(starts) if counts[row] != size or not buffer.headers.startswith(header, start)]

    def _read_cached(self, paths: list[bytes], buffer: Buffer, size: int) -> int:
        """Read shards one after the other, up to the first that cannot be read at once and in full.

        Returns:
            How many were.
        """
        root, flags, nowait, open_, preadv, close = self._root, _FLAGS, self._nowait, os.open, os.preadv, os.close
        done = 0
        file = -1
        try:
            for path, parts in zip(paths, buffer.parts, strict=False):
                file = open_(path, flags, dir_fd=root)
                if preadv(file, parts, 0, nowait) != size:
                    break
                close(file)
                file = -1
                done += 1
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:  # some file systems always wait
                self._nowait = 0
        finally:
            if file >= 0:
                close(file)
        return done

    def _read_cold(self, paths: list[bytes], buffer: Buffer, first: int) -> list[int]:
        """Read shards into a buffer's rows from `first` on: the kernel is told of all of them before the first is waited for.

        Returns:
            How many bytes each gave; -1 for one that cannot be read.
        """
        files: list[int] = []
        counts: list[int] = []
        try:
            for path in paths:
                try:
                    file = os.open(path, _FLAGS, dir_fd=self._root)
                except OSError:
                    file = -1
                files.append(file)
                if file >= 0 and hasattr(os, "posix_fadvise"):
                    with contextlib.suppress(OSError):  # it is only advice, and what is no file shows when it is read
                        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_WILLNEED)
            for row, file in enumerate(files, start=first):
                try:
                    counts.append(os.readv(file, buffer.parts[row]) if file >= 0 else -1)
                except OSError:
                    counts.append(-1)
        finally:
            for file in files:
                if file >= 0:
                    os.close(file)
        return counts

    def _described(self) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
        """Return the samples' shape and dtype, of the first shard where the index does not say."""
        array = self._index.array
        if array.shape is not None and None not in array.shape and array.dtype is not None:
            return tuple(axis for axis in array.shape if axis is not None), np.dtype(array.dtype)
        self._check_folders(np.array([0]))
        with self._opened(0) as file:
            try:
                header = read_header(file, "")
            except ArrayFileError as error:
                self._fail(0, _damage(error), _REBUILD, error)
        shape, dtype = header.shape, header.dtype.newbyteorder("=")
        if self._index.channel_optional and array.shape is not None and len(shape) == len(array.shape) - 1:
            shape = (*shape, 1)
        fits = array.shape is None or (
            len(shape) == len(array.shape) and all(wanted in {None, axis} for wanted, axis in zip(array.shape, shape, strict=True))
        )
        if not fits or array.dtype not in {None, dtype.name}:
            self._fail(0, f"{header.shape} {dtype}", "correct dim and n_channels, or the shard")
        return shape, dtype

    def _read_slowly(self, position: int) -> AnyArray:
        """Read one sample whatever its header's bytes are, and take them as the ones to expect.

        Returns:
            Of the shards' dtype, of the samples' shape.
        """
        with self._opened(position) as file:
            try:
                header = read_header(file, "")
                self._check_header(position, header)
                file.seek(0)
                array = read_stream(file, "")
                file.seek(0)
                start = file.read(header.offset)
            except ArrayFileError as error:
                self._fail(position, _damage(error), _REBUILD, error)
            except OSError as error:
                self._fail(position, _reason(error), _REBUILD, error)
        # Elements in another order or of another byte order cannot go to the batch as they are.
        if header.dtype.isnative and (not header.fortran_order or len(header.shape) < 2):
            self._header = start
        return array.reshape(self.shape)

    def _check_header(self, position: int, header: NpyHeader) -> None:
        shapes = {self.shape}
        if self._index.channel_optional and self.shape[-1] == 1:
            shapes.add(self.shape[:-1])
        if header.shape not in shapes or header.dtype.newbyteorder("=") != self.dtype:
            self._fail(position, f"{header.shape} {header.dtype}", "all samples of a feed have one shape and dtype: " + _REBUILD)

    def _opened(self, position: int) -> io.BufferedReader:
        """Open a sample's shard for reading bytes."""
        try:
            file = self._descriptor(position, self._index.paths[position])
        except OSError as error:
            self._fail(position, _reason(error), _REBUILD, error)
        found = _strange(os.fstat(file))
        if found is not None:
            os.close(file)
            self._fail(position, found, _REBUILD)
        return os.fdopen(file, "rb")

    def _descriptor(self, position: int, path: str) -> int:
        try:
            return os.open(path.encode(), _FLAGS, dir_fd=self._root)
        except OSError as error:
            if error.errno not in {errno.ELOOP, errno.EMLINK}:
                raise
        # A symbolic link, or too many of them.
        inside = resolve_inside(self._index.root, path)
        if inside is None:
            self._fail_outside(position)
        return os.open(inside, _FLAGS)

    def _check_folders(self, positions: npt.NDArray[np.int64]) -> None:
        """Follow the symbolic links of each shard's folder once, and refuse those that leave the root."""
        if self._all_safe:
            return
        for position, folder in zip(positions.tolist(), self._index.folder_of[positions].tolist(), strict=True):
            if not self._is_safe[folder]:
                if resolve_inside(self._index.root, self._index.folders[folder]) is None:
                    self._fail_outside(position)
                self._is_safe[folder] = True
        self._all_safe = bool(self._is_safe.all())

    def _fail_outside(self, position: int) -> NoReturn:
        found = f"a symbolic link that leads out of {self._index.root}"
        self._fail(position, found, "put the shard itself there: a feed reads nothing outside its folder")

    def _fail(self, position: int, found: str, advice: str, cause: BaseException | None = None) -> NoReturn:
        path = os.path.join(self._index.root, self._index.paths[position])
        raise ShardError(self._index.ids[position], path, self._expected, found, advice) from cause


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
