"""One shard at a time, looked at closely: whatever is not as expected is read all the same, or named."""

from __future__ import annotations

import contextlib
import io
import os
import stat
from typing import NoReturn

import numpy as np

from loader.errors import OptionError, ShardError
from loader.feed.index.index import Index
from loader.feed.reading.folders import Folders, OutsideError
from loader.feed.reading.shortages import check_shortage
from manifests.errors import ArrayFileError
from manifests.format.npyfile import AnyArray, NpyHeader, read_header, read_stream

_MOST_TRIED = 100
"""Shards that are asked for shape and dtype when those before them cannot be read."""

_REBUILD = "build the shard again, or leave the row out"


class ShardFiles:
    """The shards of an index, by position.

    Attributes:
        folders: that the shards are in.
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
            ShortageError: the system has run out of something.
        """
        self._index = index
        self.keep_cached = keep_cached or not hasattr(os, "posix_fadvise")
        try:
            self.folders = Folders(index.root)
        except OSError as error:
            check_shortage(error, f"the folder of the shards, {index.root},")
            raise OptionError(
                f"the folder of the shards must be one that can be opened, got {str(index.root)!r}: {error.strerror}"
            ) from error
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
            ShortageError: the system has run out of something.
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
                self.fail(position, _damage(error), cause=error)
            except OSError as error:
                self.fail(position, _reason(error), cause=error)
            finally:
                self.forget(file.fileno())
        # Elements in another order or of another byte order cannot go to the batch as they are.
        is_plain = header.dtype.isnative and (not header.fortran_order or len(header.shape) < 2)
        return array if self.shape is None else array.reshape(self.shape), start if is_plain else b""

    def forget(self, file: int) -> None:
        """Tell the kernel that an open shard's pages are not needed again, unless they are to be kept."""
        if not self.keep_cached:
            with contextlib.suppress(OSError):  # it is only advice
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)

    def fail(self, position: int, found: str, advice: str = _REBUILD, cause: BaseException | None = None) -> NoReturn:
        """Raise a ShardError about one sample, or a ShortageError if it is not the shard's fault."""
        id_, path = self._index.ids[position], os.path.join(self._index.root, self._index.paths[position])
        check_shortage(cause, f"shard {path} of ID {id_!r}")
        raise ShardError(id_, path, self._expected, found, advice) from cause

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
            file = self.folders.open(self._index.paths[position].encode())
        except OutsideError as error:
            self.fail(position, str(error.strerror), "put the shard itself there: a feed reads nothing outside its folder")
        except OSError as error:
            self.fail(position, _reason(error), cause=error)
        try:
            found, cause = _strange(os.fstat(file)), None
        except OSError as error:
            found, cause = _reason(error), error
        if found is not None:
            os.close(file)
            self.fail(position, found, cause=cause)
        return os.fdopen(file, "rb")


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
