"""Which strings of one column stand where in another, without a dictionary of millions of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from manifests.strings import PackedStrings, Positions

_BLOCK = 65_536


def positions_among(sought: PackedStrings, among: PackedStrings) -> Positions:
    """Return where each string stands among others: int64, shape (len(sought),); -1 where it does not.

    Args:
        sought: any strings.
        among: distinct strings.
    """
    if len(sought) == len(among) and _are_equal(sought, among):
        return np.arange(len(sought))
    hashes = _hashes(among)
    order = np.argsort(hashes)
    sorted_hashes = hashes[order]
    if (sorted_hashes[1:] == sorted_hashes[:-1]).any():  # hardly ever; a dictionary is right whatever the hashes
        number = {item: position for position, item in enumerate(among)}
        return np.fromiter((number.get(item, -1) for item in sought), dtype=np.int64, count=len(sought))
    found = np.full(len(sought), -1, dtype=np.int64)
    for start in range(0, len(sought) if len(among) else 0, _BLOCK):
        items = sought.take_bytes(np.arange(start, min(start + _BLOCK, len(sought))))
        wanted = np.fromiter(map(hash, items), dtype=np.int64, count=len(items))
        candidates = order[np.minimum(np.searchsorted(sorted_hashes, wanted), len(order) - 1)]
        others = among.take_bytes(candidates)
        same = np.fromiter((one == other for one, other in zip(items, others, strict=True)), dtype=np.bool_, count=len(items))
        found[start : start + len(items)] = np.where(same, candidates, -1)
    return found


def _are_equal(one: PackedStrings, other: PackedStrings) -> bool:
    for start in range(0, len(one), _BLOCK):
        positions = np.arange(start, min(start + _BLOCK, len(one)))
        if one.take_bytes(positions) != other.take_bytes(positions):
            return False
    return True


def _hashes(strings: PackedStrings) -> npt.NDArray[np.int64]:
    hashes = np.empty(len(strings), dtype=np.int64)
    for start in range(0, len(strings), _BLOCK):
        items = strings.take_bytes(np.arange(start, min(start + _BLOCK, len(strings))))
        hashes[start : start + len(items)] = np.fromiter(map(hash, items), dtype=np.int64, count=len(items))
    return hashes
