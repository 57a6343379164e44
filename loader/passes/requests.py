"""Counts the batches of a pass that were asked for by number, to tell when every one of them was."""

from __future__ import annotations

import numpy as np

_MOST_LOOKED_AT = 64
"""Batches that Keras takes at most to learn their shapes or to build a model; whoever takes more trains with them."""


class BatchRequests:
    """How often each batch of a pass was requested.

    Keras requests a few batches more, to learn their shapes: the ones since a `mark` can be forgotten again.
    """

    def __init__(self, num_batches: int) -> None:
        """Count the batches of a pass that has so many of them."""
        self._num_batches = num_batches
        self.clear()

    def clear(self) -> None:
        """Forget everything: another pass begins."""
        self._counts: np.ndarray[tuple[int], np.dtype[np.uint32]] | None = None
        self._total = 0
        self.mark()

    def add(self, batch: int) -> None:
        """Count a batch."""
        if self._counts is None:
            self._counts = np.zeros(self._num_batches, dtype=np.uint32)
        self._counts[batch] += 1
        self._total += 1
        if len(self._recent) <= _MOST_LOOKED_AT:
            self._recent.append(batch)

    def mark(self) -> None:
        """Begin a look at a few batches, or an epoch that may turn out to be one."""
        self._recent: list[int] = []

    def forget(self) -> None:
        """Take back what was counted since the mark, unless that was more than a look."""
        if self._counts is not None and len(self._recent) <= _MOST_LOOKED_AT:
            for batch in self._recent:
                self._counts[batch] -= 1
            self._total -= len(self._recent)
        self.mark()

    def __bool__(self) -> bool:
        """Whether there were any."""
        return self._total > 0

    def has(self, batch: int) -> bool:
        """Return whether a batch was requested."""
        return self._counts is not None and bool(self._counts[batch])

    def are_even(self, limit: int) -> bool:
        """Return whether each of the first `limit` batches was requested, and all of them equally often."""
        return self._counts is not None and 0 < self._counts[:limit].min() == self._counts[:limit].max()

    def are_repeated(self, limit: int) -> bool:
        """Return whether each of the first `limit` batches has just been requested twice or more."""
        is_time = self._total >= 2 * limit and self._total % limit == 0
        return is_time and self._counts is not None and bool(self._counts[:limit].min() > 1)
