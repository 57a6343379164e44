"""SHA-256 digests by the million, found among others: in NumPy, where a hash table of them would take a gigabyte."""

from __future__ import annotations

import binascii
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from manifests.rows import arrow
from manifests.rows.buffers import array_of_bytes, view

if TYPE_CHECKING:
    import pyarrow as pa

DIGEST_BYTES = 32

Digests = npt.NDArray[np.uint8]
"""SHA-256: uint8, shape (n, 32)."""


class DigestFinder:
    """Finds digests among others."""

    def __init__(self, among: Digests) -> None:
        """Take the digests to find others among; of equal ones, one counts."""
        self._among = among
        keys = _keys(among)
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]

    def positions(self, sought: Digests) -> npt.NDArray[np.int64]:
        """Return where each digest stands first: int64, shape (len(sought),); -1 where it does not."""
        starts = range(0, len(sought), arrow.ROWS_AT_ONCE)
        parts = [self._positions(sought[start : start + arrow.ROWS_AT_ONCE]) for start in starts]
        return np.concatenate([np.zeros(0, dtype=np.int64), *parts])

    def _positions(self, sought: Digests) -> npt.NDArray[np.int64]:
        found = np.full(len(sought), -1, dtype=np.int64)
        keys = _keys(sought)
        at = np.searchsorted(self._keys, keys)
        left = np.arange(len(sought))
        while len(left):  # hardly ever twice: the first eight bytes are enough to tell digests apart
            left = left[at[left] < len(self._keys)]
            left = left[self._keys[at[left]] == keys[left]]
            candidates = self._order[at[left]]
            same = (self._among[candidates] == sought[left]).all(axis=1)
            found[left[same]] = candidates[same]
            left = left[~same]
            at[left] += 1
        return found


def _keys(digests: Digests) -> npt.NDArray[np.uint64]:
    return np.ascontiguousarray(digests[:, :8]).view(np.uint64).reshape(-1)  # (n, 8) bytes -> (n,)


def digests_of(column: pa.ChunkedArray) -> Digests:
    """Return the digests that a manifest's column `sha256` says, all zero where a row has none."""
    found = np.zeros((len(column), DIGEST_BYTES), dtype=np.uint8)
    start = 0
    for chunk in column.cast(arrow.pa.large_string()).chunks:
        for first in range(0, len(chunk), arrow.ROWS_AT_ONCE):
            block = chunk.slice(first, arrow.ROWS_AT_ONCE)
            found[start : start + len(block)] = _parsed(block)
            start += len(block)
    return found


def _parsed(block: pa.Array) -> Digests:
    _, offsets, data = block.buffers()
    ends = view(offsets, np.int64)[block.offset : block.offset + len(block) + 1]
    content = view(data, np.uint8)
    if (np.diff(ends) == 2 * DIGEST_BYTES).all():
        digests = _unhexlified(content[ends[0] : ends[-1]].tobytes())
        if digests:
            return np.frombuffer(digests, dtype=np.uint8).reshape(-1, DIGEST_BYTES)
    each = [content[start:end].tobytes() for start, end in pairwise(ends)]
    digests = b"".join([(len(text) == 2 * DIGEST_BYTES and _unhexlified(text)) or bytes(DIGEST_BYTES) for text in each])
    return np.frombuffer(digests, dtype=np.uint8).reshape(-1, DIGEST_BYTES)


def _unhexlified(text: bytes) -> bytes:
    """Return the digests that a text of hex digits stands for; nothing if it is none, or one that a manifest would write otherwise."""
    try:
        content = binascii.unhexlify(text)
    except ValueError:
        return b""
    return content if binascii.hexlify(content) == text else b""


def hex_column(digests: npt.NDArray[np.uint8]) -> pa.ChunkedArray:
    """Return digests, uint8 of shape (n, 32), as a manifest writes them."""
    lengths = np.full(len(digests), 2 * digests.shape[1], dtype=np.int64)
    return arrow.pa.chunked_array([array_of_bytes(lengths, binascii.hexlify(digests.tobytes()))])
