"""Shared memory for batches: workers write into its slots, and Keras gets arrays that look into them.

It is an anonymous file (`memfd_create`), which no limit on `/dev/shm` counts and of which nothing is left when the last
process that holds it ends, however it ends. The file is sparse and far larger than any memory: each slot begins at a
multiple of `STRIDE` bytes, grows into what lies behind it as its batches need, and costs what was written to it.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import struct
import tempfile
import weakref
from collections.abc import Callable, Iterable, Sequence
from io import FileIO
from typing import Any

import numpy as np
import numpy.typing as npt

from loader.feed.reading.buffers import Buffer, buffer_bytes
from loader.feed.tree import Tree, filled, form, leaves
from manifests.format.npyfile import AnyArray

STRIDE = 1 << 40
"""Bytes from one slot to the next."""

_JOBS = 1 << 60
"""Where the jobs of workers lie, behind all slots."""

_BEGUN = 1 << 61
"""Where workers count what they have begun, behind all jobs."""

_SIZE = 1 << 62

_COUNT = struct.Struct("=Q")

_ALIGNMENT = 64
"""Bytes: a cache line, and what JAX asks of memory that it is to use without a copy."""

_LEAST = 1 << 20
"""Bytes of a slot that are mapped at first."""

_KEPT_LAYOUTS = 4
"""Feeds whose division of a slot into rows is kept, each a few hundred objects."""

Description = tuple[Tree, list[tuple[int, tuple[int, ...], str]], int]
"""A batch in a slot: its form, each array's offset, shape and dtype, and the bytes of the slot that they lie in."""


class SharedMemory:
    """The file, and the slots of it that this process looks into.

    Attributes:
        descriptor: of the file, to be handed to other processes.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        """Make shared memory, or use some that another process made.

        Raises:
            OSError: the system has none to give.
        """
        # An object: an interrupt cannot come before the descriptor is known.
        file = FileIO(_anonymous_file() if descriptor is None else descriptor, "r+b")
        weakref.finalize(self, file.close)
        self.descriptor = file.fileno()
        if descriptor is None:
            os.ftruncate(self.descriptor, _SIZE)
        self._slots: dict[int, Slot] = {}

    def slot(self, number: int) -> Slot:
        """Return a slot, from 0."""
        if number not in self._slots:
            self._slots[number] = Slot(self.descriptor, number)
        return self._slots[number]

    def put_job(self, number: int, parts: Sequence[memoryview]) -> None:
        """Write a job's parts one after the other, each at a multiple of 64 bytes.

        Raises:
            OSError: there is not that much memory.
        """
        start = _JOBS + number * STRIDE
        for offset, part in zip(part_offsets([part.nbytes for part in parts]), parts, strict=True):
            view, place = part.cast("B"), start + offset
            while view.nbytes:
                written = os.pwrite(self.descriptor, view, place)
                view, place = view[written:], place + written

    def job(self, number: int, sizes: Sequence[int]) -> list[memoryview]:
        """Return a job's parts, of these sizes, as they lie in memory that is read-only here."""
        offsets = part_offsets(sizes)
        size = offsets[-1] + sizes[-1]
        whole = memoryview(mmap.mmap(self.descriptor, max(size, 1), access=mmap.ACCESS_READ, offset=_JOBS + number * STRIDE))
        return [whole[offset : offset + size] for offset, size in zip(offsets, sizes, strict=True)]

    def drop_job(self, number: int, sizes: Sequence[int]) -> None:
        """Give a job's memory back to the system."""
        self._give_back(_JOBS + number * STRIDE, part_offsets(sizes)[-1] + sizes[-1])

    def note_begun(self, worker: int, batches: int) -> None:
        """Note how many batches a worker has begun, the one in work included: who finds it dead can read that no other way."""
        os.pwrite(self.descriptor, _COUNT.pack(batches), _BEGUN + worker * _COUNT.size)

    def begun(self, worker: int) -> int:
        """Return how many batches a worker has begun; 0 for one that has noted nothing."""
        return int(_COUNT.unpack(os.pread(self.descriptor, _COUNT.size, _BEGUN + worker * _COUNT.size))[0])

    def clear(self, numbers: Iterable[int]) -> None:
        """Give the memory of slots back to the system, that of the largest batch that each has held."""
        for number in numbers:
            self._give_back(number * STRIDE, STRIDE)

    def _give_back(self, start: int, size: int) -> None:
        # Some systems cannot look into so much at once; they get the memory back at the end.
        with contextlib.suppress(OSError):
            if hasattr(mmap, "MADV_REMOVE") and size:
                with mmap.mmap(self.descriptor, size, offset=start) as whole:
                    whole.madvise(mmap.MADV_REMOVE)


def part_offsets(sizes: Sequence[int]) -> list[int]:
    """Return where parts of these sizes lie, one after the other and each at a multiple of 64 bytes."""
    offsets, end = [], 0
    for size in sizes:
        offsets.append(end)
        end += -(-size // _ALIGNMENT) * _ALIGNMENT
    return offsets


class Slot:
    """One batch's place in shared memory."""

    def __init__(self, descriptor: int, number: int) -> None:
        """Look into slot `number` of the file."""
        self._descriptor = descriptor
        self._offset = number * STRIDE
        self._memory: npt.NDArray[np.uint8] = np.empty(0, np.uint8)
        self._used = 0
        self._buffers: dict[tuple[Any, ...], Buffer] = {}

    def clear(self) -> None:
        """Forget what lies in the slot; arrays that look into it will change."""
        self._used = 0

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> AnyArray:
        """Return room for an array behind those that were made since the slot was cleared.

        Returns:
            Uninitialised, C-contiguous, aligned to 64 bytes.
        """
        size = math.prod(shape) * dtype.itemsize
        return np.ndarray(shape, dtype, buffer=self._taken(size)[:size].data)

    def buffer(self, rows: int, shape: tuple[int, ...], dtype: np.dtype[Any], header_bytes: int) -> Buffer:
        """Return room for the samples of a batch, and for the bytes that stand before each in its file."""
        size = buffer_bytes(rows, math.prod(shape) * dtype.itemsize)
        key = (self._used, rows, shape, dtype, header_bytes)
        memory = self._taken(size)
        buffer = self._buffers.get(key)
        if buffer is None:
            if len(self._buffers) >= _KEPT_LAYOUTS:
                self._buffers.clear()
            buffer = self._buffers[key] = Buffer(rows, shape, dtype, header_bytes, memory)
        return buffer

    def describe(self, batch: Tree) -> Description:
        """Say where a batch's arrays lie in the slot; those that lie elsewhere are copied into it first."""
        return form(batch), [self._described(array) for array in leaves(batch)], self._used

    def lend(self, description: Description, give_back: Callable[[], object]) -> Tree:
        """Return a batch whose arrays look into the slot.

        Args:
            description: by the process that wrote it.
            give_back: called when the last of the arrays is gone.
        """
        form_, arrays, used = description
        self._map(used)
        whole = np.asarray(_Loan(self._memory, give_back))
        return filled(form_, [np.ndarray(shape, dtype, buffer=whole, offset=offset) for offset, shape, dtype in arrays])

    def copied(self, description: Description) -> Tree:
        """Return a batch as arrays of the caller's own."""
        form_, arrays, used = description
        self._map(used)
        return filled(form_, [np.array(np.ndarray(shape, dtype, buffer=self._memory, offset=offset)) for offset, shape, dtype in arrays])

    def _described(self, array: AnyArray) -> tuple[int, tuple[int, ...], str]:
        offset = array.__array_interface__["data"][0] - self._memory.__array_interface__["data"][0]
        if not (array.flags.c_contiguous and offset >= 0 and offset + array.nbytes <= self._used and array.dtype.isnative):
            copy = self.allocate(array.shape, array.dtype.newbyteorder("="))
            copy[...] = array
            return self._described(copy)
        return offset, array.shape, array.dtype.str

    def _taken(self, size: int) -> npt.NDArray[np.uint8]:
        """Return the next `size` bytes or more."""
        start = self._used
        self._used = start + max(-(-size // _ALIGNMENT), 1) * _ALIGNMENT
        self._map(self._used)
        return self._memory[start : self._used]

    def _map(self, size: int) -> None:
        """See to it that so many bytes can be looked into; arrays that look into fewer go on to see the same ones."""
        if size > len(self._memory):
            size = max(-(-size // mmap.PAGESIZE) * mmap.PAGESIZE, 2 * len(self._memory), _LEAST)
            self._memory = np.frombuffer(mmap.mmap(self._descriptor, size, offset=self._offset), np.uint8)
            self._buffers.clear()  # they lie in the memory as it was mapped before


class _Loan:
    """What every array that looks into a lent slot holds on to, through NumPy's `base`."""

    _give_back: Callable[[], object] | None = None  # what an interrupt amid __init__ leaves

    def __init__(self, memory: npt.NDArray[np.uint8], give_back: Callable[[], object]) -> None:
        self._give_back = give_back
        # https://numpy.org/doc/stable/reference/arrays.interface.html
        self.__array_interface__ = memory.__array_interface__
        self._memory = memory

    def __del__(self) -> None:
        if self._give_back is not None:
            self._give_back()


def shared_place() -> str:
    """Say where shared memory lies, for messages."""
    return "the machine's memory" if hasattr(os, "memfd_create") else tempfile.gettempdir()


def _anonymous_file() -> int:
    """Make a file that has no name, in memory where the system can, and return its descriptor."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("shardfeed", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile(prefix="shardfeed-") as file:
        return os.dup(file.fileno())
