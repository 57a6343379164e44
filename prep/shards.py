"""Writing a sample's array as a shard: plain `.npy`, version 1.0, C order, little-endian."""

from __future__ import annotations

import hashlib
import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.lib import format as npy_format

from manifests.npyfile import AnyArray
from manifests.schema import format_shape, parse_shape
from prep.moments import moments_of_each

_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenShard:
    """What a manifest says of a shard, in its own notation.

    Attributes:
        id: of the sample.
        shape: `32x32x3`.
        dtype: NumPy name.
        sha256: of the file's bytes, in hex.
        moments: what the dataset's statistics are put together from (see `prep.moments`).
    """

    id: str
    shape: str
    dtype: str
    sha256: str
    moments: bytes


@lru_cache
def shard_bytes(shape: str, dtype: str) -> int:
    """Return the size of a shard's file in bytes, from what the manifest says of it."""
    axes = parse_shape(shape)
    return len(_header(axes, np.dtype(dtype).newbyteorder("<").str)) + math.prod(axes) * np.dtype(dtype).itemsize


@dataclass(frozen=True)
class NewShard:
    """An array on its way to the disk.

    Attributes:
        id: of the sample.
        array: C-contiguous and little-endian; any shape.
        path: of the shard; nothing may read it before it is complete.
    """

    id: str
    array: AnyArray
    path: str | Path


def write_shard(id_: str, array: AnyArray, path: str | Path) -> WrittenShard:
    """Write an array as a new file; its folder is made.

    Args:
        id_: of the sample.
        array: C-contiguous and little-endian; any shape.
        path: of the shard; nothing may read it before it is complete.

    Raises:
        OSError: the file cannot be written.
    """
    return write_shards([NewShard(id_, array, path)])[0]


def write_shards(shards: Sequence[NewShard]) -> list[WrittenShard]:
    """Write arrays as new files; many small ones at a time take less than each for itself.

    Raises:
        OSError: a file cannot be written.
    """
    digests = []
    for shard in shards:
        header = _header(shard.array.shape, shard.array.dtype.str)
        payload = shard.array.reshape(-1).view(np.uint8).data if shard.array.size else memoryview(b"")
        digest = hashlib.sha256(header)
        digest.update(payload)
        digests.append(digest.hexdigest())
        write_new(shard.path, header, payload)
    moments = moments_of_each([shard.array for shard in shards])
    return [
        WrittenShard(id=shard.id, shape=_shape_text(shard.array.shape), dtype=shard.array.dtype.name, sha256=sha256, moments=own)
        for shard, sha256, own in zip(shards, digests, moments, strict=True)
    ]


def write_new(path: str | Path, header: bytes, payload: memoryview) -> None:
    """Write a file of two pieces in as few calls as the system needs; its folder is made if it is missing.

    Raises:
        OSError: the file cannot be written.
    """
    try:
        descriptor = os.open(path, _NEW)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        descriptor = os.open(path, _NEW)
    left = [memoryview(header), payload]
    try:
        while left:
            written = os.writev(descriptor, left)  # it may take less than it is given: at most 2 GiB at once on Linux
            while left and written >= left[0].nbytes:
                written -= left.pop(0).nbytes
            if written:
                left[0] = left[0][written:]
    except OSError as error:
        error.filename = os.fspath(path)
        raise
    finally:
        os.close(descriptor)


@lru_cache
def _header(shape: tuple[int, ...], dtype: str) -> bytes:
    """Return what a shard begins with; most shards of a dataset begin alike."""
    header = io.BytesIO()
    npy_format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
    return header.getvalue()


@lru_cache
def _shape_text(shape: tuple[int, ...]) -> str:
    return format_shape(shape)
