"""The order in which splits are drawn: by a hash of each name with the seed as key, whatever the order of the rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from manifests.strings import PackedStrings, Positions

_KEY_BYTES = 16
_BLOCK = 65_536


class KeyedHash:
    """Hashes names with the seed as key."""

    def __init__(self, seed: int) -> None:
        """Take the seed."""
        self._keyed = hashlib.blake2b(digest_size=_KEY_BYTES, key=str(seed).encode()[:64])

    def __call__(self, name: str) -> bytes:
        """Return a name's hash."""
        keyed = self._keyed.copy()
        keyed.update(name.encode())
        return keyed.digest()


def in_order_of_draw(ids: PackedStrings, positions: Positions, seed: int) -> Iterator[int]:
    """Yield some positions (int64, shape (k,)) in the order of the hashes of their IDs."""
    digest = KeyedHash(seed)
    keys = np.empty(len(positions), dtype=f"S{_KEY_BYTES}")
    for start in range(0, len(positions), _BLOCK):
        block = positions[start : start + _BLOCK]
        keys[start : start + _BLOCK] = [digest(id_) for id_ in ids.take(block)]
    order = np.argsort(keys, kind="stable")
    del keys
    for start in range(0, len(order), _BLOCK):
        yield from positions[order[start : start + _BLOCK]].tolist()
