"""Memory for batches that is used again when nobody looks at it any more.

A fresh array of a megabyte costs a page fault for each of its pages, and it is in no cache: measured, a tenth of the
reading. Memory that a batch has just left is warm.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from manifests.format.npyfile import AnyArray

_ALIGNMENT = 64
"""Bytes: a cache line, and what JAX asks of memory that it is to use without a copy."""

_KEPT = 4
"""Buffers that wait to be used again; a training loop holds a few batches at once, and gives them back in turn."""


def buffer_bytes(rows: int, row_bytes: int) -> int:
    """Return how much memory a buffer needs: one byte more than its rows (see `Buffer.parts`)."""
    return rows * row_bytes + 1


class Buffer:
    """Memory for the samples of one batch, and for the bytes that stand before each in its file.

    Attributes:
        rows: C-contiguous, shape (rows, *shape), aligned to 64 bytes; row i is where sample i goes.
        interface: how NumPy describes `rows` to others.
        headers: the headers that were read, one after the other.
        parts: a tuple (header i, row i) of writable views per row, as `os.readv` takes it. A row's view is one byte
            longer than the row, so that a file that goes on behind its sample shows; filled in order, each row then
            overwrites what the one before it had too much.
    """

    def __init__(
        self,
        rows: int,
        shape: tuple[int, ...],
        dtype: np.dtype[np.generic],
        header_bytes: int,
        memory: npt.NDArray[np.uint8] | None = None,
    ) -> None:
        """Allocate memory for `rows` samples with headers of `header_bytes` bytes, or use some that is there.

        Args:
            rows: samples.
            shape: of one sample.
            dtype: of the samples.
            header_bytes: before each sample in its file.
            memory: uint8, of `buffer_bytes` or more, aligned to 64 bytes; None allocates.
        """
        row_bytes = math.prod(shape) * dtype.itemsize
        if memory is None:
            memory = np.empty(buffer_bytes(rows, row_bytes) + _ALIGNMENT, np.uint8)
            memory = memory[-memory.ctypes.data % _ALIGNMENT :]
        aligned = memory[: buffer_bytes(rows, row_bytes)]
        self.rows: AnyArray = aligned[:-1].view(dtype).reshape(rows, *shape)
        self.interface: dict[str, Any] = self.rows.__array_interface__
        self.headers = bytearray(rows * header_bytes)
        elements, headers = aligned.data, memoryview(self.headers)
        self.parts = [
            (headers[row * header_bytes : (row + 1) * header_bytes], elements[row * row_bytes : (row + 1) * row_bytes + 1])
            for row in range(rows)
        ]


class BufferPool:
    """Buffers of one size, lent as arrays; one comes back when the last array that looks into it is gone."""

    def __init__(self, rows: int, shape: tuple[int, ...], dtype: np.dtype[np.generic], header_bytes: int) -> None:
        """Lend arrays of up to `rows` samples; memory is allocated when it is first needed."""
        self._size = (rows, shape, dtype, header_bytes)
        # A list's append and pop are one step each, so threads may lend and give back.
        self._free: list[Buffer] = []

    def fits(self, rows: int, header_bytes: int) -> bool:
        """Return whether a buffer holds this many samples with headers of this length."""
        return rows <= self._size[0] and header_bytes == self._size[3]

    def take(self) -> Buffer:
        """Return a buffer that nobody looks into: the one that came back last, which is the warmest."""
        try:
            return self._free.pop()
        except IndexError:
            return Buffer(*self._size)

    def give_back(self, buffer: Buffer) -> None:
        """Take back a buffer that nobody looks into."""
        if len(self._free) < _KEPT:
            self._free.append(buffer)

    def lend(self, buffer: Buffer, rows: int) -> AnyArray:
        """Return the first rows of a buffer as an array; the buffer comes back by itself.

        Returns:
            Of the buffer's dtype, shape (rows, *shape); writable.
        """
        return np.asarray(_Loan(self, buffer, rows))


class _Loan:
    """What every array that looks into a lent buffer holds on to, through NumPy's `base`; its end ends the loan."""

    def __init__(self, pool: BufferPool, buffer: Buffer, rows: int) -> None:
        self._pool = pool
        self._buffer = buffer
        # https://numpy.org/doc/stable/reference/arrays.interface.html
        self.__array_interface__ = {**buffer.interface, "shape": (rows, *buffer.rows.shape[1:])}

    def __del__(self) -> None:
        self._pool.give_back(self._buffer)
