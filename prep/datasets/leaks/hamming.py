"""Pairs of 64-bit hashes with a small Hamming distance, without comparing each with each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

BITS = 64

Hashes = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]


def near_pairs(hashes: Hashes, distance: int) -> Iterator[tuple[Positions, Positions]]:
    """Yield pairs of positions whose hashes differ in at most `distance` bits; a pair may come more than once.

    Of `distance + 1` bands of bits, two such hashes agree in at least one (the pigeonhole principle): only hashes that
    agree in a band are compared. Sorted by a band, these stand together, and each is compared with those behind it.

    Args:
        hashes: distinct, shape (n,).
        distance: from 0; less than 64.
    """
    bounds = np.linspace(0, BITS, distance + 2).astype(int)
    for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        band = (hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(band, kind="stable")
        band = band[order]
        starts = np.flatnonzero(np.r_[True, band[1:] != band[:-1]]) if len(band) else np.zeros(0, dtype=np.int64)
        lengths = np.diff(np.r_[starts, len(band)])
        behind = np.repeat(starts + lengths, lengths) - np.arange(len(band)) - 1  # how many follow in the same band
        left = np.flatnonzero(behind > 0)
        step = 1
        while len(left):
            one, other = order[left], order[left + step]
            near = np.bitwise_count(hashes[one] ^ hashes[other]) <= distance
            if near.any():
                yield one[near], other[near]
            step += 1
            left = left[behind[left] >= step]


def clusters(count: int, pairs: Iterator[tuple[Positions, Positions]]) -> list[list[int]]:
    """Return what pairs connect, directly or through others: sorted positions of each cluster of two or more, by its first.

    Args:
        count: of positions.
        pairs: arrays of positions, of equal length.
    """
    parent = list(range(count))

    def root(position: int) -> int:
        while parent[position] != position:
            parent[position] = parent[parent[position]]
            position = parent[position]
        return position

    for one, other in pairs:
        for left, right in zip(one.tolist(), other.tolist(), strict=True):
            low, high = sorted((root(left), root(right)))
            parent[high] = low
    found: dict[int, list[int]] = {}
    for position in range(count):
        found.setdefault(root(position), []).append(position)
    return [members for members in found.values() if len(members) > 1]
