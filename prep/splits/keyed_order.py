"""The order in which splits are drawn: by a hash of each name with the seed as key, whatever the order of the rows."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from manifests.rows import arrow
from manifests.rows.buffers import number_array

if TYPE_CHECKING:
    import pyarrow as pa

_KEY_BYTES = 16


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


def in_order_of_draw(ids: pa.Array, positions: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int64]:
    """Return some positions (int64, shape (k,)) in the order of the hashes of their IDs."""
    digest = KeyedHash(seed)
    keys = np.empty(len(positions), dtype=f"S{_KEY_BYTES}")
    for start in range(0, len(positions), arrow.ROWS_AT_ONCE):
        some = positions[start : start + arrow.ROWS_AT_ONCE]
        keys[start : start + len(some)] = [digest(id_) for id_ in ids.take(number_array(some)).to_pylist()]
    return positions[np.argsort(keys, kind="stable")]
