"""SHA-256 digests by the million: as rows of bytes, found among others without a dictionary of texts."""

from __future__ import annotations

import binascii
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from manifests.columns import as_packed
from manifests.strings import PackedStrings, Positions
from manifests.table import Table
from prep.known import DIGEST_BYTES

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

    def positions(self, sought: Digests) -> Positions:
        """Return where each digest stands: int64, shape (len(sought),); -1 where it does not."""
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


def hex_column(digests: Digests) -> PackedStrings:
    """Return digests as a manifest writes them."""
    items = np.frombuffer(binascii.hexlify(digests.tobytes()), dtype=f"S{2 * DIGEST_BYTES}")
    return PackedStrings.of_arrays({"items": items})


def digest_blocks(rows: Table) -> Iterator[tuple[slice, Digests]]:
    """Yield the digests of some rows of a manifest at a time, all zero where a row has none."""
    start = 0
    for block in rows.column_blocks(["sha256"]):
        texts = as_packed(block["sha256"])
        content = _parsed_items(texts) or b"".join(_parsed(text) or bytes(DIGEST_BYTES) for text in texts.take_bytes(np.arange(len(texts))))
        yield slice(start, start + len(texts)), np.frombuffer(content, dtype=np.uint8).reshape(-1, DIGEST_BYTES)
        start += len(texts)


def _parsed_items(texts: PackedStrings) -> bytes:
    """Return digests, one behind the other; nothing if one is none."""
    items = texts.as_items()
    return _parsed(items.tobytes()) if items is not None and items.itemsize == 2 * DIGEST_BYTES else b""


def _parsed(text: bytes) -> bytes:
    """Return the digests that a text of hex digits stands for; nothing if it is none, or one that a manifest would write otherwise."""
    try:
        content = binascii.unhexlify(text)
    except ValueError:
        return b""
    return content if len(content) % DIGEST_BYTES == 0 and binascii.hexlify(content) == text else b""
