"""What the process that trains and its workers say to each other, over one pipe in each direction."""

from __future__ import annotations

import contextlib
import os
import pickle
import struct
import traceback
from collections.abc import Iterator
from dataclasses import dataclass

from loader.errors import WorkerError
from loader.feed.reading.shared_memory import Description
from loader.workers.pickling import exception_bytes, exception_of

_HEAD = struct.Struct("<QQ")
"""Kind, and the number of bytes that follow."""

_TASK = struct.Struct("<qqqq")

_BRIEF, _PICKLED = range(2)


@dataclass(frozen=True, kw_only=True)
class Task:
    """Put a batch into a slot.

    Attributes:
        feed: number of the feed.
        slot: number of the slot.
        pass_: number of the pass.
        batch: number of the batch within the pass.
    """

    feed: int
    slot: int
    pass_: int
    batch: int


@dataclass(frozen=True, kw_only=True)
class Admit:
    """Here is a feed.

    Attributes:
        feed: its number.
        sizes: of the job's parts, which lie in shared memory under the same number.
    """

    feed: int
    sizes: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Dismiss:
    """Nothing more will be asked of a feed."""

    feed: int


@dataclass(frozen=True, kw_only=True)
class Ready:
    """The worker has started."""


@dataclass(frozen=True, kw_only=True)
class Leaving:
    """The worker ends of its own accord, having had nothing to do."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """A batch is in its slot.

    Attributes:
        slot: which.
        description: of the batch.
        samples: how many it has.
        skipped: (ID, reason) of samples that another one stands for.
        seconds: spent on reading, on transforming, and on writing to the slot.
    """

    slot: int
    description: Description
    samples: int
    skipped: tuple[tuple[str, str], ...]
    seconds: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A batch could not be made.

    Attributes:
        slot: that it was for.
        error: why; None if it cannot be sent.
        text: its class and its message.
        notes: what it says beside, such as for which sample it was raised; the worker's traceback is the last.
    """

    slot: int
    error: bytes | None
    text: str
    notes: tuple[str, ...]

    def exception(self) -> BaseException:
        """Return the error as an exception of its own class, or a `WorkerError` that says what it was if it cannot come back."""
        error: BaseException | None = None
        if self.error is not None:
            with contextlib.suppress(
                Exception, SystemExit, GeneratorExit
            ):  # a user's class may do anything here, which it did not do in the worker
                error = exception_of(self.error)
        if error is None:
            error = WorkerError(self.text)
        error.__notes__ = list(self.notes)
        return error


Said = Ready | Leaving | Done | Failed
Order = Task | Admit | Dismiss


def packed(message: Order | Said) -> bytes:
    """Return a message as bytes."""
    if isinstance(message, Task):  # by far the most
        data = _TASK.pack(message.feed, message.slot, message.pass_, message.batch)
        return _HEAD.pack(_BRIEF, len(data)) + data
    data = pickle.dumps(message)
    return _HEAD.pack(_PICKLED, len(data)) + data


def failed(slot: int, error: BaseException) -> Failed:
    """Return what to say of an error."""
    notes = map(str, getattr(error, "__notes__", ()))
    lines = traceback.format_exception(error)
    try:
        text = f"{type(error).__qualname__}: {error}"
    except Exception:  # noqa: BLE001  # a user's class
        text = f"{type(error).__qualname__}, whose message cannot be shown"
    return Failed(slot=slot, error=exception_bytes(error), text=text, notes=(*notes, "in a worker process:\n" + "".join(lines)))


def write_all(descriptor: int, data: bytes) -> None:
    """Write to the end.

    Raises:
        OSError: the other side is gone.
    """
    view = memoryview(data)
    while view.nbytes:
        view = view[os.write(descriptor, view) :]


def read_order(descriptor: int) -> Order | None:
    """Wait for the next order; None if the other side has closed the pipe."""
    head = _read_exactly(descriptor, _HEAD.size)
    if head is None:
        return None
    kind, size = _HEAD.unpack(head)
    data = _read_exactly(descriptor, size)
    if data is None:
        return None
    if kind == _BRIEF:
        feed, slot, pass_, batch = _TASK.unpack(data)
        return Task(feed=feed, slot=slot, pass_=pass_, batch=batch)
    order: Order = pickle.loads(data)  # noqa: S301  # from the process that started this one, through a pipe that nobody else has
    return order


def _read_exactly(descriptor: int, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        part = os.read(descriptor, size - len(data))
        if not part:
            return None
        data += part
    return bytes(data)


class Replies:
    """Cuts what comes through a worker's pipe into messages; one that is not complete yet waits."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[Said]:
        """Take bytes, and yield each complete message."""
        self._data += data
        while len(self._data) >= _HEAD.size:
            _, size = _HEAD.unpack_from(self._data)
            end = _HEAD.size + size
            if len(self._data) < end:
                return
            payload = bytes(self._data[_HEAD.size : end])
            del self._data[:end]
            yield pickle.loads(payload)  # noqa: S301  # from our own worker, through a pipe that nobody else has
