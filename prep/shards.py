"""Writing a sample's array as a shard: plain `.npy`, version 1.0, C order, little-endian."""

from __future__ import annotations

import hashlib
import io
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.lib import format as npy_format

from manifests.npyfile import AnyArray
from manifests.schema import format_shape, parse_shape
from prep.moments import moments_of


@dataclass(frozen=True, kw_only=True)
class WrittenShard:
    """What a manifest says of a shard, in its own notation.

    Attributes:
        id: of the sample.
        shape: `32x32x3`.
        dtype: NumPy name.
        sha256: of the file's bytes, in hex.
        moments: what the dataset's statistics are put together from, as text (see `prep.moments`).
    """

    id: str
    shape: str
    dtype: str
    sha256: str
    moments: str


@lru_cache
def shard_bytes(shape: str, dtype: str) -> int:
    """Return the size of a shard's file in bytes, from what the manifest says of it."""
    axes = parse_shape(shape)
    layout = {"descr": npy_format.dtype_to_descr(np.dtype(dtype).newbyteorder("<")), "fortran_order": False, "shape": axes}
    header = io.BytesIO()
    npy_format.write_array_header_1_0(header, layout)
    return len(header.getvalue()) + math.prod(axes) * np.dtype(dtype).itemsize


def write_shard(id_: str, array: AnyArray, path: Path) -> WrittenShard:
    """Write an array as a new file; its folder is made.

    Args:
        id_: of the sample.
        array: C-contiguous and little-endian; any shape.
        path: of the shard; nothing may read it before it is complete.

    Raises:
        OSError: the file cannot be written.
    """
    header = io.BytesIO()
    npy_format.write_array_header_1_0(header, npy_format.header_data_from_array_1_0(array))
    payload = array.reshape(-1).view(np.uint8).data if array.size else b""
    digest = hashlib.sha256(header.getvalue())
    digest.update(payload)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb", buffering=0) as file:
        _write_all(file, header.getvalue())
        _write_all(file, payload)
    return WrittenShard(
        id=id_, shape=format_shape(array.shape), dtype=array.dtype.name, sha256=digest.hexdigest(), moments=moments_of(array)
    )


def _write_all(file: io.FileIO, data: bytes | memoryview) -> None:
    """Write to the end: a raw file may take less than it is given, at most 2 GiB at once on Linux."""
    view = memoryview(data)
    while view.nbytes:
        view = view[file.write(view) :]
