"""Reading the header and the SHA-256 of a `.npy` file in one pass."""

from __future__ import annotations

import functools
import hashlib
import os
from dataclasses import dataclass
from io import BytesIO

from manifests.errors import ArrayFileError
from manifests.format.npyfile import LONGEST_HEADER, NpyHeader, check_size, read_header

_BLOCK_BYTES = 1 << 20
_HEADER_BYTES = 4096


@dataclass(frozen=True)
class ShardFacts:
    """The header and digest of a `.npy` file.

    Attributes:
        header: of the file.
        dtype: NumPy name of the header's dtype.
        sha256: of all bytes of the file, in hex; empty if only the header was read.
    """

    header: NpyHeader
    dtype: str
    sha256: str


def read_shard(file: int, size: int, *, deep: bool, name: str = "") -> ShardFacts:
    """Read the header of an open regular file, and with `deep` compute the SHA-256 of all its bytes.

    Args:
        file: descriptor, at the start of the file.
        size: of the file in bytes, from `os.fstat`.
        deep: whether to read the whole file.
        name: of the file, for messages.

    Raises:
        ArrayFileError: it is not a valid `.npy` file of numbers, or its size is not the one that its header says.
        OSError: it cannot be read.
    """
    first = os.read(file, min(size + 1, _BLOCK_BYTES) if deep else _HEADER_BYTES)
    wanted = _header_end(first)
    known = first if wanted <= len(first) or len(first) >= size else os.pread(file, min(wanted, LONGEST_HEADER), 0)
    try:
        header, dtype = _parsed(known[:wanted])
    except ArrayFileError as error:
        raise ArrayFileError(f"{name}{error}") from error
    check_size(size, header, name)
    return ShardFacts(header, dtype, _digest(file, first, size, name) if deep else "")


def _digest(file: int, first: bytes, size: int, name: str) -> str:
    """Return the SHA-256 of the bytes that were already read and of the rest of the file."""
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
    """Return where the header ends, by its length field."""
    if len(first) < 12:
        return len(first)
    return 10 + int.from_bytes(first[8:10], "little") if first[6] == 1 else 12 + int.from_bytes(first[8:12], "little")


@functools.lru_cache(maxsize=1024)
def _parsed(raw: bytes) -> tuple[NpyHeader, str]:
    """Parse a header and name its dtype. It is cached: all shards of one shape and dtype begin with the same bytes."""
    header = read_header(BytesIO(raw), "")
    return header, header.dtype.name
