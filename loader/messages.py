"""What the process that trains and its workers say to each other, over one pipe in each direction."""

from __future__ import annotations

import os
import pickle
import struct
import traceback
from collections.abc import Iterator
from dataclasses import dataclass

from loader.errors import WorkerError
from loader.index import Index
from loader.options import FeedOptions
from loader.slots import SlotLayout

TASK = struct.Struct("<qqq")
"""slot, pass, batch."""

REPLY = struct.Struct("<qq")
"""slot, and the number of samples; or `READY`, 0; or the slot and minus the number of bytes of an error that follows."""

READY = -1


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that a worker needs to know; sent once.

    Attributes:
        index: the samples.
        options: what decides the batches.
        layout: of the shared memory.
        parent: process id of the process that trains.
        idle: seconds without a task after which the worker leaves.
    """

    index: Index
    options: FeedOptions
    layout: SlotLayout
    parent: int
    idle: float


def write_all(descriptor: int, data: bytes) -> None:
    """Write to the end.

    Raises:
        OSError: the other side is gone.
    """
    view = memoryview(data)
    while view.nbytes:
        view = view[os.write(descriptor, view) :]


def read_exactly(descriptor: int, size: int) -> bytes | None:
    """Read so many bytes; None if the other side has closed the pipe."""
    data = bytearray()
    while len(data) < size:
        part = os.read(descriptor, size - len(data))
        if not part:
            return None
        data += part
    return bytes(data)


def pack_error(slot: int, error: BaseException) -> bytes:
    """Return the reply that carries an error, with the worker's traceback as a note."""
    error.add_note("in a worker process:\n" + "".join(traceback.format_exception(error)))
    try:
        payload = pickle.dumps(error)
        pickle.loads(payload)  # noqa: S301  # our own bytes: what does not come back here would not come back there
    except Exception:  # noqa: BLE001  # an exception's class can make pickling fail in any way
        stand_in = WorkerError(f"{type(error).__name__}: {error}")
        stand_in.__notes__ = error.__notes__
        payload = pickle.dumps(stand_in)
    return REPLY.pack(slot, -len(payload)) + payload


class Replies:
    """Cuts what comes through a worker's pipe into replies; a reply that is not complete yet waits."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, int | BaseException]]:
        """Take bytes, and yield each complete reply: the slot, and the number of samples or the error."""
        self._data += data
        while len(self._data) >= REPLY.size:
            slot, count = REPLY.unpack_from(self._data)
            size = REPLY.size + max(0, -count)
            if len(self._data) < size:
                return
            payload = bytes(self._data[REPLY.size : size])
            del self._data[:size]
            yield slot, pickle.loads(payload) if count < 0 else count  # noqa: S301  # from our own worker, through a pipe that nobody else has
