"""Reading shards straight into the rows of a batch.

Shards of one shape and dtype begin with the same bytes. So a header is parsed once, by NumPy, and after that only compared;
a sample costs three system calls and its elements are copied once, from the page cache to the batch. Whatever is not
exactly as expected is looked at again, slowly (see `loader.feed.reading.shard_file`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from loader.errors import ShardError
from loader.feed.index.index import Index
from loader.feed.reading.buffers import Buffer, BufferPool
from loader.feed.reading.folders import OPEN_FLAGS
from loader.feed.reading.layouts import Layouts
from loader.feed.reading.shard_file import ShardFiles
from manifests.format.npyfile import AnyArray

# What is not in the page cache is asked for all together, so the first shard that would have to be waited for ends the fast way.
_NOWAIT = getattr(os, "RWF_NOWAIT", 0)

_AHEAD = 128
"""Shards that the kernel is asked for at once: enough to keep a disk busy, and far below the usual limit of open files."""

_LARGEST = 1 << 30
"""Bytes of a file whose size is believed before its header was read: there is memory for that much."""

_COLD_READS = 16
"""Batches, after one that was not in memory, for which the next is asked for ahead; asking for what is there would be for nothing."""

Instead = Callable[[int, ShardError], int]
"""Called with a row and the reason why its shard cannot be read; returns the position of another, or raises."""


class ShardReader:
    """Reads samples by their position in an index.

    Attributes:
        shape: of one sample; None when samples may have several.
        dtype: of the shards, in native byte order.
    """

    def __init__(self, index: Index, *, varied: bool = False, keep_cached: bool = True, skips: bool = False) -> None:
        """Open the dataset's folder, and its first shard if the index leaves shape or dtype open.

        Args:
            index: the samples.
            varied: whether samples may have several shapes; then only `read_each` reads.
            keep_cached: False for telling the kernel that a shard's pages are not needed again.
            skips: whether another shard may show shape and dtype when the first one cannot.

        Raises:
            OptionError: the folder cannot be opened.
            ShardError: the first shard cannot be read or does not fit what the index says.
        """
        self._paths = index.paths
        self._files = ShardFiles(index, varied=varied, keep_cached=keep_cached, skips=skips)
        self.shape, self.dtype = self._files.shape, self._files.dtype
        shape = self.shape or ()
        self._row_bytes = int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize
        # The bytes before the elements, as they were in the last shard that was parsed.
        self._header = b""
        self._nowait = _NOWAIT
        self._cold_reads = 0
        self._buffers = BufferPool(0, shape, self.dtype, 0)
        self._layouts = Layouts(self.dtype)

    def let_go(self) -> None:
        """Close the folders and give up memory that waits to be used again; the next read gets both anew."""
        self._files.folders.let_go()
        self._buffers = BufferPool(0, self.shape or (), self.dtype, 0)
        self._layouts = Layouts(self.dtype)

    def read(self, positions: npt.NDArray[np.int64], instead: Instead | None = None) -> AnyArray:
        """Read samples of one shape.

        Args:
            positions: int64, shape (k,). Where another sample was read instead, its position is put here.
            instead: says which; None for an error.

        Returns:
            Of the shards' dtype, shape (k, *shape). The caller's own: its memory is used again only when neither it nor
            any array made from it without a copy is left.

        Raises:
            ShardError: a shard is missing, damaged, unsafe, or of another shape or dtype.
        """
        header = self._learned(positions, instead)
        pool = self._buffers
        if not pool.fits(len(positions), len(header)):
            pool = self._buffers = BufferPool(len(positions), self._row_shape, self.dtype, len(header))
        buffer = pool.take()
        self._fill(positions, buffer, header, instead)
        return pool.lend(buffer, len(positions))

    def read_into(self, positions: npt.NDArray[np.int64], buffer_of: Callable[[int], Buffer], instead: Instead | None = None) -> AnyArray:
        """Read samples of one shape into the first rows of a buffer.

        Args:
            positions: as for `read`.
            buffer_of: returns a buffer of at least k rows for headers of a given number of bytes.
            instead: as for `read`.

        Returns:
            The buffer's rows that were read, shape (k, *shape).

        Raises:
            ShardError: as for `read`; the rows then hold anything.
        """
        header = self._learned(positions, instead)
        buffer = buffer_of(len(header))
        self._fill(positions, buffer, header, instead)
        return buffer.rows[: len(positions)]

    def read_each(self, positions: npt.NDArray[np.int64], instead: Instead | None = None) -> list[AnyArray]:
        """Read samples one by one, each of a shape of its own.

        Args:
            positions: as for `read`.
            instead: as for `read`.

        Returns:
            Arrays of the shards' dtype.

        Raises:
            ShardError: a shard is missing, damaged, unsafe, or of another dtype.
        """
        paths = self._paths.take_bytes(positions)
        samples = self._read_each_cached(paths)
        self._note_cold(is_cold=len(samples) < len(paths))
        for start in range(len(samples), len(paths), _AHEAD):
            files = self._open_ahead(paths[start : start + _AHEAD])
            try:
                for row, file in enumerate(files, start=start):
                    sample = None
                    with contextlib.suppress(OSError):  # a closer look says which
                        sample = self._read_whole(file, 0) if file >= 0 else None
                    samples.append(self._read_closely(positions, row, instead) if sample is None else sample)
            finally:
                self._done_with(files)
        return samples

    @property
    def is_cold(self) -> bool:
        """Whether shards lately had to be waited for, so that it pays to announce the next ones."""
        return self._cold_reads > 0

    def announce(self, positions: npt.NDArray[np.int64]) -> None:
        """Tell the kernel of samples that will be read after the next ones, so that the disk is never without work."""
        if not hasattr(os, "posix_fadvise"):
            return
        for start in range(0, len(positions), _AHEAD):
            for file in self._open_ahead(self._paths.take_bytes(positions[start : start + _AHEAD])):
                if file >= 0:
                    os.close(file)

    def _note_cold(self, *, is_cold: bool) -> None:
        self._cold_reads = _COLD_READS if is_cold else max(0, self._cold_reads - 1)

    @property
    def _row_shape(self) -> tuple[int, ...]:
        assert self.shape is not None, "samples of several shapes have no rows"  # noqa: S101  # for the type checker
        return self.shape

    def _learned(self, positions: npt.NDArray[np.int64], instead: Instead | None) -> bytes:
        """Return the header to expect, from the first shard that is asked for if none was parsed yet.

        None of the shards is read the fast way if something is wrong here: the closer look then tells what, and where.
        """
        try:
            if not self._header and len(positions):
                _, self._header = self._files.read(int(positions[0]))
        except ShardError:
            if instead is None:
                raise
            return b""
        return self._header

    def _fill(self, positions: npt.NDArray[np.int64], buffer: Buffer, header: bytes, instead: Instead | None) -> None:
        for row in self._read_fast(self._paths.take_bytes(positions), buffer, header):
            buffer.rows[row] = self._read_closely(positions, row, instead)

    def _read_closely(self, positions: npt.NDArray[np.int64], row: int, instead: Instead | None) -> AnyArray:
        """Read one sample, or others in its stead until one can be."""
        while True:
            try:
                array, header = self._files.read(int(positions[row]))
            except ShardError as error:
                if instead is None:
                    raise
                positions[row] = instead(row, error)
            else:
                self._header = header or self._header
                return array

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
        self._note_cold(is_cold=done < k)
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
        folder_of, flags, nowait, open_, preadv, close = self._files.folders.of, OPEN_FLAGS, self._nowait, os.open, os.preadv, os.close
        forget = None if self._files.keep_cached else self._files.forget
        done = 0
        file = -1
        try:
            for path, parts in zip(paths, buffer.parts, strict=False):
                above, _, name = path.rpartition(b"/")
                folder = folder_of(above)
                file = open_(name, flags, dir_fd=folder.descriptor)
                if preadv(file, parts, 0, nowait) != size:
                    break
                if forget is not None:
                    forget(file)
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
        files = self._open_ahead(paths)
        counts: list[int] = []
        try:
            for row, file in enumerate(files, start=first):
                try:
                    counts.append(os.readv(file, buffer.parts[row]) if file >= 0 else -1)
                except OSError:
                    counts.append(-1)
        finally:
            self._done_with(files)
        return counts

    def _read_each_cached(self, paths: list[bytes]) -> list[AnyArray]:
        """Read shards of any shapes one after the other, up to the first that cannot be read at once and is as it should be."""
        samples: list[AnyArray] = []
        for path in paths:
            file = -1
            try:
                file = self._files.folders.open(path)
                sample = self._read_whole(file, self._nowait)
            except OSError as error:
                if error.errno == errno.EOPNOTSUPP:  # some file systems always wait
                    self._nowait = 0
                break
            finally:
                self._done_with([file])
            if sample is None:
                break
            samples.append(sample)
        return samples

    def _read_whole(self, file: int, flags: int) -> AnyArray | None:
        """Read a shard of any shape: one look at its size, one system call.

        Returns:
            The sample, in memory of its own; None if the shard is not exactly as it should be, or must be waited for.
        """
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
            return None
        # One byte more than the file has, so that it shows when it grows.
        memory = np.empty(status.st_size + 1, np.uint8)
        if os.preadv(file, [memory.data], 0, flags) != status.st_size:
            return None
        return self._layouts.array(memory[:-1])

    def _open_ahead(self, paths: list[bytes]) -> list[int]:
        """Open shards and tell the kernel that all of them will be read; -1 for one that cannot be opened."""
        files: list[int] = []
        try:
            for path in paths:
                try:
                    file = self._files.folders.open(path)
                except OSError:
                    file = -1
                files.append(file)
                if file >= 0 and hasattr(os, "posix_fadvise"):
                    with contextlib.suppress(OSError):  # it is only advice, and what is no file shows when it is read
                        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_WILLNEED)
        except BaseException:
            self._done_with(files)
            raise
        return files

    def _done_with(self, files: list[int]) -> None:
        for file in files:
            if file >= 0:
                self._files.forget(file)
                os.close(file)
