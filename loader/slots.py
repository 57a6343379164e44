"""Shared memory for batches: workers write into slots, and Keras gets arrays that look into them.

The memory is an anonymous file (`memfd_create`), which no limit on `/dev/shm` counts and of which nothing is left when the
last process that holds it ends, however it ends.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from loader.buffers import Buffer, buffer_bytes
from manifests.npyfile import AnyArray


@dataclass(frozen=True, kw_only=True)
class SlotLayout:
    """How shared memory is cut into slots, the same in every process.

    Attributes:
        slots: how many.
        rows: samples that one holds.
        shape: of one sample.
        dtype: of the samples.
    """

    slots: int
    rows: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @property
    def slot_bytes(self) -> int:
        """Bytes of one slot: whole pages, so that slots are aligned and no two share one."""
        row_bytes = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize
        return -(-buffer_bytes(self.rows, row_bytes) // mmap.PAGESIZE) * mmap.PAGESIZE


class Slot:
    """One batch's place in shared memory.

    Attributes:
        rows: shape (rows, *shape).
    """

    def __init__(self, memory: np.ndarray[tuple[int], np.dtype[np.uint8]], layout: SlotLayout) -> None:
        """Look into memory of `layout.slot_bytes` bytes."""
        self._memory = memory
        self._layout = layout
        self._buffer = self.buffer_of(0)
        self.rows: AnyArray = self._buffer.rows

    def buffer_of(self, header_bytes: int) -> Buffer:
        """Return the slot as a buffer for shards with headers of this many bytes."""
        layout = self._layout
        buffer: Buffer | None = getattr(self, "_buffer", None)
        if buffer is None or len(buffer.headers) != layout.rows * header_bytes:
            self._buffer = buffer = Buffer(layout.rows, layout.shape, layout.dtype, header_bytes, self._memory)
        return buffer


class SlotMemory:
    """Slots in shared memory.

    Attributes:
        layout: how many, and of what.
        descriptor: of the file, to be handed to other processes.
        slots: in order.
    """

    def __init__(self, layout: SlotLayout, descriptor: int | None = None) -> None:
        """Make shared memory, or look into some that another process made.

        Raises:
            OSError: there is not that much.
        """
        self.layout = layout
        size = layout.slots * layout.slot_bytes
        if descriptor is None:
            descriptor = anonymous_file()
            os.ftruncate(descriptor, size)
        self.descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)
        whole = np.frombuffer(mmap.mmap(descriptor, size), np.uint8)
        self.slots = [Slot(whole[start : start + layout.slot_bytes], layout) for start in range(0, size, layout.slot_bytes)]

    def lend(self, number: int, rows: int, give_back: Callable[[int], object]) -> AnyArray:
        """Return the first rows of a slot as an array.

        Args:
            number: of the slot.
            rows: samples.
            give_back: called with the number when the last array that looks into the slot is gone.
        """
        return np.asarray(_SlotLoan(self, number, rows, give_back))


class _SlotLoan:
    """What every array that looks into a lent slot holds on to, through NumPy's `base`."""

    def __init__(self, memory: SlotMemory, number: int, rows: int, give_back: Callable[[int], object]) -> None:
        self._memory = memory
        self._number = number
        self._give_back = give_back
        slot = memory.slots[number].rows
        self.__array_interface__ = {**slot.__array_interface__, "shape": (rows, *slot.shape[1:])}

    def __del__(self) -> None:
        self._give_back(self._number)


def anonymous_file() -> int:
    """Make a file that has no name, in memory where the system can, and return its descriptor."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("shardfeed", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile(prefix="shardfeed-") as file:
        return os.dup(file.fileno())
