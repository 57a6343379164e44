"""Fingerprints: what tells whether a shard is that of a raw file as it is now, by a recipe."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from manifests.rows import arrow
from manifests.rows.buffers import array_of_bytes, fixed, fixed_array, number_array, numbers, view
from manifests.rows.table import strings

if TYPE_CHECKING:
    import pyarrow as pa

Prints = npt.NDArray[np.bytes_]
"""Fingerprints: of dtype `S32`, shape (n,); empty where one is not known."""

_WIDTH = 32
"""Hex digits of a fingerprint; what is of another length is none."""


def fingerprint(identity: str, recipe_digest: str) -> str:
    """Return the digest of a raw item's identity and the recipe, 32 hex digits: equal fingerprint, equal shard."""
    return hashlib.sha256(f"{identity}\n{recipe_digest}".encode()).hexdigest()[:_WIDTH]


def no_prints(count: int) -> Prints:
    """Return that no fingerprint is known."""
    return np.zeros(count, dtype=f"S{_WIDTH}")


def stat_prints(items: pa.Table, recipe_digest: str, known: Prints) -> Prints:
    """Return the fingerprints of items whose files are told by size and time of change, and items of one file by their names.

    Args:
        items: with the columns `size` and `mtime`.
        recipe_digest: of the recipe.
        known: those that need not be worked out: of dtype `S32`, shape (n,); empty where they must be.
    """
    prints = known.copy()
    sizes, mtimes = numbers(items["size"], np.int64), numbers(items["mtime"], np.int64)
    due = np.flatnonzero(known == b"")
    for start in range(0, len(due), arrow.ROWS_AT_ONCE):
        block = due[start : start + arrow.ROWS_AT_ONCE]
        members = _endings(items, block) if "member" in items.column_names else [""] * len(block)
        each = zip(sizes[block].tolist(), mtimes[block].tolist(), members, strict=True)
        prints[block] = [fingerprint(f"stat:{size}:{mtime}{member}", recipe_digest) for size, mtime, member in each]
    return prints


def content_prints(items: pa.Table, recipe_digest: str) -> Prints:
    """Return the fingerprints of items whose files are told by content; empty where that is not known.

    Args:
        items: with the column `content`.
        recipe_digest: of the recipe.
    """
    content = fixed(items["content"])
    prints = no_prints(len(content))
    known = np.flatnonzero(content.any(axis=1))
    for start in range(0, len(known), arrow.ROWS_AT_ONCE):
        block = known[start : start + arrow.ROWS_AT_ONCE]
        members = _endings(items, block) if "member" in items.column_names else [""] * len(block)
        for row, member in zip(block.tolist(), members, strict=True):
            prints[row] = fingerprint(f"sha256:{content[row].tobytes().hex()}{member}", recipe_digest)
    return prints


def _endings(items: pa.Table, rows: npt.NDArray[np.int64]) -> list[str]:
    """Return what stands behind the identity of the files of some items: which item of a container each is."""
    return [f":{member}" if member else "" for member in strings(items["member"].take(number_array(rows)))]


def as_prints(column: pa.ChunkedArray) -> Prints:
    """Return a column of fingerprints as NumPy has it: that of items, or of a manifest, where a text of another length is none."""
    if column.type == arrow.pa.binary(_WIDTH):
        return fixed(column).view(f"S{_WIDTH}").reshape(-1)  # (n, 32) bytes -> (n,)
    parts = [no_prints(0)]
    for chunk in column.cast(arrow.pa.large_string()).chunks:
        _, offsets, data = chunk.buffers()
        ends = view(offsets, np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
        content = view(data, np.uint8)
        good = np.diff(ends) == _WIDTH
        prints = no_prints(len(chunk))
        if good.all() and len(chunk):
            prints = content[ends[0] : ends[-1]].view(f"S{_WIDTH}")
        else:
            at = ends[:-1][good][:, None] + np.arange(_WIDTH)  # (k, 32)
            prints[good] = content[at].view(f"S{_WIDTH}").reshape(-1)
        parts.append(prints)
    return parts[1] if len(parts) == 2 else np.concatenate(parts)


def are_prints(column: pa.ChunkedArray) -> bool:
    """Return whether a column of items holds fingerprints and nothing else: hex digits, or all zero where one is not known."""
    is_digit = np.zeros(256, dtype=np.bool_)
    is_digit[list(b"0123456789abcdef")] = True
    for start in range(0, len(column), arrow.ROWS_AT_ONCE):
        block = fixed(column.slice(start, arrow.ROWS_AT_ONCE))
        if not is_digit[block[block.any(axis=1)]].all():
            return False
    return True


def print_array(prints: Prints) -> pa.Array:
    """Return fingerprints as a column of items."""
    return fixed_array(np.ascontiguousarray(prints).view(np.uint8).reshape(-1, _WIDTH))  # (n,) -> (n, 32) bytes


def print_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the fingerprints of items as a manifest writes them."""
    prints = fixed(column)
    return arrow.pa.chunked_array([array_of_bytes(np.full(len(prints), _WIDTH, dtype=np.int64), np.ascontiguousarray(prints))])
