"""Fingerprints: what tells whether a shard is that of a raw file as it is now, by a recipe."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from manifests.regularfile import open_regular
from prep.records import Records

Prints = npt.NDArray[np.bytes_]
"""Fingerprints: of dtype `S32`, shape (n,); empty where one is not known."""

_BLOCK = 65_536


def raw_identity(path: Path, *, checksum: bool) -> str:
    """Return what tells a raw file from its changed self: size and time of change, or its content.

    Raises:
        OSError: the file cannot be read.
    """
    if checksum:
        with open_regular(path) as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    status = os.stat(path)
    return f"stat:{status.st_size}:{status.st_mtime_ns}"


def fingerprint(identity: str, recipe_digest: str) -> str:
    """Return the digest of a raw item's identity and the recipe, 32 hex digits: equal fingerprint, equal shard."""
    return hashlib.sha256(f"{identity}\n{recipe_digest}".encode()).hexdigest()[:32]


def stat_prints(records: Records, recipe_digest: str, known: Prints) -> Prints:
    """Return the fingerprints of records whose files are told by size and time of change.

    Args:
        records: of the files.
        recipe_digest: of the recipe.
        known: those that need not be worked out: of dtype `S32`, shape (n,); empty where they must be.
    """
    prints = known.copy()
    due = np.flatnonzero(known == b"")
    for start in range(0, len(due), _BLOCK):
        block = due[start : start + _BLOCK]
        pairs = zip(records.sizes[block].tolist(), records.times[block].tolist(), strict=True)
        prints[block] = [fingerprint(f"stat:{size}:{time}", recipe_digest) for size, time in pairs]
    return prints


def content_prints(digests: npt.NDArray[np.uint8], recipe_digest: str) -> Prints:
    """Return the fingerprints of files that are told by content; empty where the digest is all zero, for not known.

    Args:
        digests: SHA-256 of each: uint8, shape (n, 32).
        recipe_digest: of the recipe.
    """
    prints = np.zeros(len(digests), dtype="S32")
    for row in np.flatnonzero(digests.any(axis=1)).tolist():
        prints[row] = fingerprint(f"sha256:{digests[row].tobytes().hex()}", recipe_digest)
    return prints
