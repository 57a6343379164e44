"""How an override of `__getitem__` knows of which pass its batch is, also when several passes are under way at once."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from loader.errors import BatchIndexError
from loader.passes.counter import Walk


class BatchIndex(int):
    """A batch's number within its pass, as an override of `__getitem__` gets it: an integer that knows its pass.

    The next one (`index + 1`, `(index + 1) % len(self)`) knows it too. `int(index)` is a plain number, and so is what is pickled.
    """

    pass_: int
    walk: Walk | None

    @classmethod
    def of(cls, batch: int, pass_: int, walk: Walk | None = None) -> BatchIndex:
        """Return the number of a batch, and the walk that is at it."""
        index = cls(batch)
        index.pass_, index.walk = pass_, walk
        return index

    def __add__(self, other: int) -> BatchIndex:
        return BatchIndex.of(int(self) + other, self.pass_)

    __radd__ = __add__

    def __sub__(self, other: int) -> BatchIndex:
        return BatchIndex.of(int(self) - other, self.pass_)

    def __mod__(self, other: int) -> BatchIndex:
        return BatchIndex.of(int(self) % other, self.pass_)

    def __reduce__(self) -> tuple[Any, ...]:
        return int, (int(self),)


class OverridePasses:
    """The passes whose batches overrides of `__getitem__` are making right now, by thread."""

    def __init__(self) -> None:
        """Begin with none."""
        self._passes: dict[int, int] = {}

    @contextlib.contextmanager
    def asking(self, pass_: int) -> Iterator[None]:
        """Let this thread ask for batches of a pass."""
        thread = threading.get_ident()
        before = self._passes.get(thread)
        self._passes[thread] = pass_
        try:
            yield
        finally:
            if before is None:
                del self._passes[thread]
            else:
                self._passes[thread] = before

    def pass_of_thread(self, current: int) -> int | None:
        """Return the pass that this thread asks for; None for the current one.

        Args:
            current: the current pass.

        Raises:
            BatchIndexError: an override may have handed over to this thread, and several are at work for several passes.
        """
        mine = self._passes.get(threading.get_ident())
        if mine is not None:
            return mine
        if threading.current_thread() is threading.main_thread():  # a callback, or a notebook's cell
            return None
        others = {*list(self._passes.values())}  # a list at once: other threads change the dict
        if len(others) > 1:
            raise BatchIndexError(
                f"thread {threading.current_thread().name!r} asks for a batch by number while batches of passes {sorted(others)} are being "
                "made; hand it the index that __getitem__ was given, which knows its pass"
            )
        return next(iter(others - {current}), None)
