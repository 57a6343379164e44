"""What a `.npy` file is: its header and its digest, from one reading."""

from __future__ import annotations

import functools
import hashlib
import os
from dataclasses import dataclass
from io import BytesIO

from manifests.errors import ArrayFileError
from manifests.npyfile import NpyHeader, check_size, read_header

_BLOCK_BYTES = 1 << 20
_HEADER_BYTES = 4096
_LONGEST_HEADER = 1 << 17
"""More than any header that NumPy reads."""


@dataclass(frozen=True)
class ShardFacts:
    """What a `.npy` file is.

    Attributes:
        header: its header.
        dtype: its NumPy name.
        sha256: of all its bytes, in hex; empty if they were not asked for.
    """

    header: NpyHeader
    dtype: str
    sha256: str


def read_shard(file: int, size: int, *, deep: bool, name: str = "") -> ShardFacts:
    """Read an open regular file: its header, and with `deep` all its bytes, which are hashed as they come.

    Args:
        file: descriptor, at its start.
        size: in bytes, as the system says.
        deep: whether to read on behind the header.
        name: how error messages call the file.

    Raises:
        ArrayFileError: it is no sound `.npy` file of numbers, or not of the size that its header says.
        OSError: it cannot be read.
    """
    first = os.read(file, min(size + 1, _BLOCK_BYTES) if deep else _HEADER_BYTES)
    wanted = _header_end(first)
    known = first if wanted <= len(first) or len(first) >= size else os.pread(file, min(wanted, _LONGEST_HEADER), 0)
    try:
        header, dtype = _parsed(known[:wanted])
    except ArrayFileError as error:
        raise ArrayFileError(f"{name}{error}") from error
    check_size(size, header, name)
    return ShardFacts(header, dtype, _digest(file, first, size, name) if deep else "")


def _digest(file: int, first: bytes, size: int, name: str) -> str:
    """Return the SHA-256 of the bytes that were read already and of all that follow."""
    digest = hashlib.sha256(first)
    total = len(first)
    if total < size or total == _BLOCK_BYTES:
        block = memoryview(bytearray(_BLOCK_BYTES))
        while count := os.readv(file, [block]):
            digest.update(block[:count])
            total += count
    if total != size:
        raise ArrayFileError(f"{name}: changed while it was read: expected {size} bytes, found {total}")
    return digest.hexdigest()


def _header_end(first: bytes) -> int:
    """Return where a header ends according to its own length field."""
    if len(first) < 12:
        return len(first)
    return 10 + int.from_bytes(first[8:10], "little") if first[6] == 1 else 12 + int.from_bytes(first[8:12], "little")


@functools.lru_cache(maxsize=1024)
def _parsed(raw: bytes) -> tuple[NpyHeader, str]:
    """Parse a header, with its dtype's name, once for all the files that begin with it: shards of one shape and dtype do."""
    header = read_header(BytesIO(raw), "")
    return header, header.dtype.name
