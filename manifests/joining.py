"""Which strings of one column stand where in another, without a dictionary of millions of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from manifests.strings import PackedStrings, Positions

_BLOCK = 65_536


class Finder:
    """Finds strings among others, some at a time; what it takes to do so is made when the first is sought."""

    def __init__(self, among: PackedStrings) -> None:
        """Take the distinct strings to find others among."""
        self.among = among

    def positions(self, sought: Sequence[bytes]) -> Positions:
        """Return where each string, in UTF-8, stands: int64, shape (len(sought),); -1 where it does not."""
        if not len(self.among):
            return np.full(len(sought), -1, dtype=np.int64)
        order, hashes, numbers = self._index
        if numbers is not None:
            return np.fromiter((numbers.get(item, -1) for item in sought), dtype=np.int64, count=len(sought))
        wanted = np.fromiter(map(hash, sought), dtype=np.int64, count=len(sought))
        candidates = order[np.minimum(np.searchsorted(hashes, wanted), len(order) - 1)]
        others = self.among.take_bytes(candidates)
        same = np.fromiter((one == other for one, other in zip(sought, others, strict=True)), dtype=np.bool_, count=len(sought))
        return np.where(same, candidates, -1)

    @cached_property
    def _index(self) -> tuple[Positions, npt.NDArray[np.int64], dict[bytes, int] | None]:
        """The order of the hashes, the hashes in that order, and a dictionary in their stead if two are equal, which hardly ever are."""
        order, hashes = _by_hash(self.among)
        if (hashes[1:] == hashes[:-1]).any():
            return order, hashes, {item: start + number for start, items in _blocks(self.among) for number, item in enumerate(items)}
        return order, hashes, None


class MatchFinder:
    """Finds strings among others that need not be distinct."""

    def __init__(self, among: PackedStrings) -> None:
        """Take the strings to find others among."""
        self._among = among
        self._order, self._hashes = _by_hash(among)
        self._of_equal_hashes: dict[int, dict[bytes, list[int]]] = {}

    def find(self, sought: Sequence[bytes]) -> tuple[Positions, npt.NDArray[np.bool_]]:
        """Return where each string, in UTF-8, stands first, -1 where it does not, and whether it does again.

        Returns:
            int64 and bool, each of shape (len(sought),).
        """
        first, again = np.full(len(sought), -1, dtype=np.int64), np.zeros(len(sought), dtype=np.bool_)
        wanted = np.fromiter(map(hash, sought), dtype=np.int64, count=len(sought))
        starts, stops = (np.searchsorted(self._hashes, wanted, side) for side in ("left", "right"))
        single = np.flatnonzero(stops - starts == 1)
        candidates = self._order[starts[single]]
        pairs = zip(single.tolist(), self._among.take_bytes(candidates), strict=True)
        same = np.fromiter((sought[place] == item for place, item in pairs), dtype=np.bool_, count=len(single))
        first[single[same]] = candidates[same]
        for place in np.flatnonzero(stops - starts > 1).tolist():
            places = self._of_hash(int(starts[place]), int(stops[place])).get(sought[place])
            if places:
                first[place], again[place] = places[0], len(places) > 1
        return first, again

    def places(self, sought: bytes) -> list[int]:
        """Return every place where a string stands."""
        start, stop = (int(np.searchsorted(self._hashes, hash(sought), side)) for side in ("left", "right"))
        return self._of_hash(start, stop).get(sought, [])

    def _of_hash(self, start: int, stop: int) -> dict[bytes, list[int]]:
        """Return where each string of one hash stands; as a rule it is one string."""
        if start == stop:
            return {}
        if start not in self._of_equal_hashes:
            found: dict[bytes, list[int]] = {}
            positions = self._order[start:stop]
            for position, item in zip(positions.tolist(), self._among.take_bytes(positions), strict=True):
                found.setdefault(item, []).append(position)
            self._of_equal_hashes[start] = found
        return self._of_equal_hashes[start]


def _by_hash(strings: PackedStrings) -> tuple[Positions, npt.NDArray[np.int64]]:
    """Return the order of the strings' hashes, equal ones as they stand, and the hashes in that order: int64, each of shape (n,)."""
    hashes = np.empty(len(strings), dtype=np.int64)
    for start, items in _blocks(strings):
        hashes[start : start + len(items)] = np.fromiter(map(hash, items), dtype=np.int64, count=len(items))
    order = np.argsort(hashes, kind="stable")
    return order, hashes[order]


def positions_among(sought: PackedStrings, among: PackedStrings) -> Positions:
    """Return where each string stands among others: int64, shape (len(sought),); -1 where it does not.

    Args:
        sought: any strings.
        among: distinct strings.
    """
    if are_equal(sought, among):
        return np.arange(len(sought))
    finder, found = Finder(among), np.empty(len(sought), dtype=np.int64)
    for start, items in _blocks(sought):
        found[start : start + len(items)] = finder.positions(items)
    return found


def are_equal(one: PackedStrings, other: PackedStrings) -> bool:
    """Return whether both are the same strings in the same order."""
    if one is other:
        return True
    return len(one) == len(other) and all(_are_equal(mine, theirs) for _, mine, theirs in _pairs(one, other))


def same_each(one: PackedStrings, other: PackedStrings) -> npt.NDArray[np.bool_]:
    """Return of each string whether that in its place is the same: bool, shape (n,).

    Args:
        one: n strings.
        other: as many.
    """
    same = np.ones(len(one), dtype=np.bool_)
    for start, mine, theirs in _pairs(one, other):
        block, items, others = slice(start, start + len(mine)), mine.as_items(), theirs.as_items()
        if items is not None and others is not None:
            same[block] = items == others
        elif not _are_equal(mine, theirs):
            every = np.arange(len(mine))
            same[block] = [item == another for item, another in zip(mine.take_bytes(every), theirs.take_bytes(every), strict=True)]
    return same


def _pairs(one: PackedStrings, other: PackedStrings) -> Iterator[tuple[int, PackedStrings, PackedStrings]]:
    """Yield the strings of both some at a time, with the position of the first."""
    for start in range(0, len(one), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(one)))
        yield start, one.select(rows), other.select(rows)


def _are_equal(one: PackedStrings, other: PackedStrings) -> bool:
    """Return the same of a block: their arrays tell in a hundredth of the time of the strings, unless both are packed differently."""
    items, others = one.as_items(), other.as_items()
    if items is not None and others is not None:
        return np.array_equal(items, others)
    mine, theirs = one.end_to_end(), other.end_to_end()
    if mine is not None and theirs is not None:
        return np.array_equal(mine[0], theirs[0]) and np.array_equal(mine[1], theirs[1])
    every = np.arange(len(one))
    return one.take_bytes(every) == other.take_bytes(every)


def _blocks(strings: PackedStrings) -> Iterator[tuple[int, list[bytes]]]:
    for start in range(0, len(strings), _BLOCK):
        yield start, strings.take_bytes(np.arange(start, min(start + _BLOCK, len(strings))))
