"""Moments of many shards, block by block, wherever they lie: in parts, in a file, or in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from manifests.strings import Positions
from prep.digests import Digests
from prep.moments import some_moments

_MOST_HELD = 8
"""Blocks that are kept in memory, as rows that follow each other may be of several."""


@dataclass(frozen=True, kw_only=True)
class MomentBlock:
    """Moments of n shards.

    Attributes:
        digests: SHA-256 of each one's bytes: uint8, shape (n, 32).
        lengths: how many bytes of moments each has: int64, shape (n,).
        moments: one behind the other.
    """

    digests: Digests
    lengths: npt.NDArray[np.int64]
    moments: bytes

    def select(self, which: Positions) -> MomentBlock:
        """Return some of them (int64, shape (k,))."""
        return MomentBlock(
            digests=self.digests[which], lengths=self.lengths[which], moments=some_moments(self.moments, self.lengths, which)
        )


class MomentSource(ABC):
    """Moments that stand in blocks.

    Attributes:
        firsts: number of the first shard of each block, and behind them how many there are: int64, shape (blocks + 1,).
    """

    def __init__(self, counts: Sequence[int]) -> None:
        """Take how many shards each block has."""
        self.firsts: Positions = np.cumsum([0, *counts], dtype=np.int64)
        self._held: dict[int, MomentBlock] = {}

    @abstractmethod
    def load(self, number: int) -> MomentBlock:
        """Return a block.

        Raises:
            OutputError: it cannot be read any more.
        """

    def read(self, which: Positions) -> Iterator[MomentBlock]:
        """Yield the moments of some shards (int64, shape (k,)) in this order, some at a time; best if it is about that of the blocks."""
        blocks = np.searchsorted(self.firsts, which, side="right") - 1
        cuts = [0, *(np.flatnonzero(np.diff(blocks)) + 1).tolist(), len(which)]
        for start, stop in pairwise(cuts):
            if start < stop:
                number = int(blocks[start])
                yield self._block(number).select(which[start:stop] - self.firsts[number])

    def _block(self, number: int) -> MomentBlock:
        if number not in self._held:
            if len(self._held) >= _MOST_HELD:
                del self._held[next(iter(self._held))]
            self._held[number] = self.load(number)
        return self._held[number]
