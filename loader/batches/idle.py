"""Sequences that nobody walks through let go of descriptors, threads and memory, all but those that were used last.

TensorFlow holds on to every sequence that `fit` was given until the process ends, so nothing can wait for a sequence to go.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Hashable
from typing import Protocol

MOST_IDLE = 4
"""Sequences that were used last and keep what they have: one or two for each of training, validation and test."""

MOST_WALKED = 8
"""Sequences amid a walk that keep what they have, if they were used last: one that was broken off may never be gone on with."""


class Holder(Protocol):
    """A sequence: it has what it can get again."""

    @property
    def is_amid_walk(self) -> bool:
        """Whether somebody is likely to ask for its next batch."""

    def let_go(self) -> None:
        """Give up everything that can be had again; nothing is waited for."""


class RecentlyUsed:
    """The sequences that were used last, in their order; one that is no longer among them lets go."""

    def __init__(self) -> None:
        """Know none."""
        self._lock = threading.Lock()
        self._order: dict[Hashable, weakref.ref[Holder]] = {}
        self._last: weakref.ref[Holder] | None = None

    def note(self, holder: Holder) -> None:
        """Note that a sequence is used now."""
        if self._last is not None and self._last() is holder:
            return
        with self._lock:
            self._order.pop(id(holder), None)
            self._last = self._order[id(holder)] = weakref.ref(holder)
            gone = self._no_longer_kept()
        for other in gone:
            other.let_go()

    def _no_longer_kept(self) -> list[Holder]:
        gone = []
        rank = 0
        for key, reference in reversed(list(self._order.items())):
            holder = reference()
            if holder is None:
                del self._order[key]
                continue
            if rank >= (MOST_WALKED if holder.is_amid_walk else MOST_IDLE):
                del self._order[key]
                gone.append(holder)
            rank += 1
        return gone


RECENTLY_USED = RecentlyUsed()
"""Those of this process."""
