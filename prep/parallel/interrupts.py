"""Ctrl-C and SIGTERM: ended cleanly, and held off while a dataset changes over."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

COMPLETED = "it came too late to stop anything: the new dataset is in place"
"""Note on an interrupt that was held off until all was done."""

GOES_ON = "run the same command again: it goes on from"
"""Beginning of the note on a build that was interrupted."""

KEPT = "kept: the same command goes on from there"
"""How the note ends on an error after which the next build can go on."""

_stopping: list[int] = []
"""The signal that has come while `first_one_stops` holds it off."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(BaseException):
    """SIGTERM arrived; like KeyboardInterrupt it is no `Exception`, so that nothing on the way takes it for its own."""


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """Let SIGTERM raise `Terminated`, so that what a command holds is cleaned up."""

    def terminate(_signal: int, _frame: FrameType | None) -> None:
        raise Terminated

    previous = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def held_off(note: str | None = COMPLETED) -> Iterator[None]:
    """Run the block to its end before Ctrl-C or SIGTERM take effect.

    Signals reach Python in the main thread alone; in any other there is nothing to hold off.

    Args:
        note: that what is raised by a signal carries if it came while the block ran to its end without an error.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    previous = {number: signal.signal(number, lambda number, _frame: arrived.append(number)) for number in _SIGNALS}
    done = False
    try:
        yield
        done = True
    finally:
        for held, handler in previous.items():
            signal.signal(held, handler)
        for number in arrived[:1]:
            try:
                signal.raise_signal(number)
            except BaseException as error:
                if done and note is not None:
                    error.add_note(note)
                raise


def is_stopping() -> bool:
    """Return whether this process is to end soon: a signal has come that is held off."""
    return bool(_stopping)


@contextmanager
def first_one_stops() -> Iterator[Callable[[], bool]]:
    """Let the block come to a good end at the first Ctrl-C or SIGTERM; the second takes effect at once.

    The block gets a function that says whether a signal has come. When the block ends, the signal takes the effect that it
    would have had. A signal that is ignored, or that ends the process outright, stays as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    arrived = _stopping
    previous = {number: handler for number in _SIGNALS if callable(handler := signal.getsignal(number))}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def note(number: int, _frame: FrameType | None) -> None:
        if not arrived:
            arrived.append(number)
            return
        restore()
        arrived.clear()
        signal.raise_signal(number)

    for number in previous:
        signal.signal(number, note)
    try:
        yield lambda: bool(arrived)
    finally:
        restore()
        came_before, arrived[:] = arrived[:], []
        for came in came_before:
            signal.raise_signal(came)
            raise KeyboardInterrupt  # a handler of the caller's own has let the signal pass, but the block is not through
