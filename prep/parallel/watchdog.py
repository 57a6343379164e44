"""A limit on the time that one item may take, kept inside the worker process that reads it."""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import mmap
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import IO

from prep.parallel.interrupts import is_stopping
from prep.parallel.run_flag import is_called_off
from prep.sources.items import Item

_PREFIX = "prep-watch-"

_ALIVE = "alive"
"""In a watch's folder: locked for as long as anybody needs it."""

_STOP = "stop"

_SEMAPHORES = "semaphores"
"""In a watch's folder: names of loky's semaphores, which outlive processes that are killed all at once."""

SEMAPHORE_FOLDER = Path("/dev/shm")  # noqa: S108  # where Linux has them; elsewhere nobody can list them
"""Where named semaphores are files."""

_SLACK = 8
"""The clock is set anew once an eighth of the limit has passed: setting it starts a thread, which for every item would cost more than
reading a small one. An item has its full time, and at most an eighth more."""

_ITEM_BYTES = 8192
"""For the ID under way: more than the path of a file may have."""

_LENGTH_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Watch:
    """The limit, and where a worker leaves word of the item that broke it.

    Attributes:
        folder: on this machine; holds `<pid>.item`, the ID under way behind its length, and `<pid>.late`, not empty once it took
            too long.
        seconds: that one item may take.
    """

    folder: Path
    seconds: float

    def stop(self) -> None:
        """Tell the workers to begin no further item."""
        (self.folder / _STOP).touch()

    def note_semaphores(self, names: Iterable[str]) -> None:
        """Let whoever finds the folder left by a killed process group remove these, too."""
        with open(self.folder / _SEMAPHORES, "a", encoding="utf-8") as file:
            file.writelines(f"{name}\n" for name in names)

    def take_late(self) -> frozenset[str]:
        """Return the IDs at which workers have ended themselves since the last call."""
        found = []
        for late in self.folder.glob("*.late"):
            if late.stat().st_size:
                found.append(_item_in(late.with_suffix(".item").read_bytes()))
                late.unlink()
        return frozenset(found)


@contextmanager
def new_watch(seconds: float) -> Iterator[Watch]:
    """Give a watch, whose folder is gone when the block ends; so are folders of processes that were killed, and of their workers."""
    _remove_left_ones()
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name:
        folder = Path(name)
        # Workers that are copies of this process hold it as well, for as long as they may write.
        with open(folder / _ALIVE, "xb") as alive:
            fcntl.flock(alive, fcntl.LOCK_EX)
            yield Watch(folder=folder, seconds=seconds)


def _remove_left_ones() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # It is somebody else's, or it has gone meanwhile, or is only now being made.
        with contextlib.suppress(OSError):
            if folder.lstat().st_uid == os.geteuid() and not folder.is_symlink():
                with open(folder / _ALIVE, "rb") as alive:
                    fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove_semaphores(folder / _SEMAPHORES)
                    shutil.rmtree(folder)


def _remove_semaphores(noted: Path) -> None:
    names = noted.read_text(encoding="utf-8").split("\n") if noted.exists() else []
    for name in filter(is_semaphore, names):
        (SEMAPHORE_FOLDER / name).unlink(missing_ok=True)


def is_semaphore(name: str) -> bool:
    """Return whether a file in `SEMAPHORE_FOLDER` is a semaphore of loky's."""
    return name.startswith("sem.loky-") and "/" not in name


class _Guard:
    """The watch of this process.

    The clock runs in a thread of C's, which ends the process without asking the interpreter: a decoder in an endless loop may
    never give the interpreter lock back.
    """

    def __init__(self, watch: Watch) -> None:
        self._slack = watch.seconds / _SLACK
        self._seconds = watch.seconds + self._slack
        self._set_at: float | None = None
        self._stop = os.fspath(watch.folder / _STOP)
        base = watch.folder / str(os.getpid())
        # Memory that the parent sees as a file's content, whatever becomes of this process.
        with open(base.with_suffix(".item"), "w+b") as file:
            file.truncate(_ITEM_BYTES)
            self._item = mmap.mmap(file.fileno(), _ITEM_BYTES)
        self._late: IO[bytes] = open(base.with_suffix(".late"), "wb", buffering=0)  # noqa: SIM115  # as long as the process

    def begin(self, id_: str) -> None:
        name = id_.encode(errors="surrogateescape")[: _ITEM_BYTES - _LENGTH_BYTES]
        self._item[: _LENGTH_BYTES + len(name)] = len(name).to_bytes(_LENGTH_BYTES, "little") + name
        now = time.monotonic()
        if self._set_at is None or now >= self._set_at + self._slack:
            faulthandler.dump_traceback_later(self._seconds, exit=True, file=self._late)
            self._set_at = now

    def is_told_to_stop(self) -> bool:
        return os.path.exists(self._stop)

    def end(self) -> None:
        if self._set_at is not None:
            faulthandler.cancel_dump_traceback_later()
            self._set_at = None


def _item_in(content: bytes) -> str:
    """Return the ID that a guard wrote."""
    length = int.from_bytes(content[:_LENGTH_BYTES], "little")
    return content[_LENGTH_BYTES : _LENGTH_BYTES + length].decode(errors="surrogateescape")


_guards: list[_Guard] = []
"""None, or the one of this process."""


def guard_this_process(watch: Watch) -> None:
    """Let this process end itself when an item takes too long; for a worker's start."""
    _guards[:] = [_Guard(watch)]


def stop_clock() -> None:
    """Let what comes before the next item take its time: it is no item's fault."""
    for guard in _guards:
        guard.end()


def watched(items: Sequence[Item]) -> Iterator[Item]:
    """Give each item, with the clock running until `stop_clock` or the next; none any more once the build is to stop."""
    if not _guards:
        yield from takewhile(lambda _: not (is_stopping() or is_called_off()), items)
        return
    guard = _guards[0]
    try:
        for item in takewhile(lambda _: not guard.is_told_to_stop(), items):
            guard.begin(item.id)
            yield item
    finally:
        guard.end()
