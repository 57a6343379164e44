"""Writing a sample's arrays as shards: plain `.npy`, version 1.0, C order, little-endian."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy_format

from manifests.files.atomic import TEMPORARY_PREFIX
from manifests.format.names import SHARD_FOLDER, default_path
from manifests.format.npyfile import AnyArray
from manifests.format.schema import format_shape, parse_shape
from manifests.rows.buffers import codes_of
from prep.build.state.moments import moments_of_each

if TYPE_CHECKING:
    import pyarrow as pa

_MOST = np.iinfo(np.int64).max
_PATH_MAX = os.pathconf(os.sep, "PC_PATH_MAX")
"""In bytes, with the zero at its end."""

_TOKEN_BYTES = 16
"""Of the name of a temporary file beside a shard."""

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenShard:
    """What a manifest says of a shard, in its own notation.

    Attributes:
        id: of the sample.
        shape: `32x32x3`.
        dtype: NumPy name.
        sha256: of the file's bytes, in hex.
        moments: what the dataset's statistics are put together from (see `prep.build.state.moments`); empty for a further array.
        arrays: the sample's further arrays by name, likewise.
    """

    id: str
    shape: str
    dtype: str
    sha256: str
    moments: bytes
    arrays: Mapping[str, WrittenShard] = field(default_factory=dict)


def path_problem(target: str | Path, id_: str, base: str = SHARD_FOLDER) -> str | None:
    """Say what is wrong if the path of an ID's shard below a folder is longer than the system takes, or None."""
    folder, name = os.path.split(os.fsencode(os.path.join(target, default_path(id_, folder=base))))
    length = len(folder) + 1 + max(len(name), len(TEMPORARY_PREFIX) + _TOKEN_BYTES)
    if length < _PATH_MAX:
        return None
    return (
        f"the path of its shard would have {length:,} bytes while the dataset is built, and {_PATH_MAX - 1:,} are possible; "
        "shorten the names of its folders, or move the dataset to a shorter path"
    )


@lru_cache
def shard_bytes(shape: str, dtype: str) -> int:
    """Return the size of a shard's file in bytes, from what the manifest says of it."""
    axes = parse_shape(shape)
    return len(_header(axes, np.dtype(dtype).newbyteorder("<").str)) + math.prod(axes) * np.dtype(dtype).itemsize


def of_each_kind(rows: pa.Table, function: Callable[[str, str], int]) -> npt.NDArray[np.int64]:
    """Return for each row what a function gives for its shape and dtype, at most the greatest int64: shape (n,).

    Args:
        rows: with the columns `shape` and `dtype`, of few distinct values.
        function: is called once for each pair that there is.
    """
    (shapes, shape_texts), (dtypes, dtype_texts) = codes_of(rows["shape"]), codes_of(rows["dtype"])
    width = max(len(dtype_texts), 1)
    kinds, inverse = np.unique(shapes.astype(np.int64) * width + dtypes, return_inverse=True)
    values = [min(function(shape_texts[kind // width], dtype_texts[kind % width]), _MOST) for kind in kinds.tolist()]
    found: npt.NDArray[np.int64] = np.array(values, dtype=np.int64)[inverse]
    return found


@dataclass(frozen=True)
class NewShard:
    """An array on its way to the disk.

    Attributes:
        id: of the sample.
        array: C-contiguous and little-endian; any shape.
        path: of the shard; nothing may read it before it is complete.
        stage: the folder that the shard is laid out in: it is not made if it is missing, as those below it are. None makes every folder.
        is_main: whether it is the sample's main array, of which statistics are made.
    """

    id: str
    array: AnyArray
    path: str | Path
    stage: str | Path | None = None
    is_main: bool = True


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
        write_new(shard.path, header, payload, stage=shard.stage)
    moments = iter(moments_of_each([shard.array for shard in shards if shard.is_main]))
    return [
        WrittenShard(
            id=shard.id,
            shape=_shape_text(shard.array.shape),
            dtype=shard.array.dtype.name,
            sha256=sha256,
            moments=next(moments) if shard.is_main else b"",
        )
        for shard, sha256 in zip(shards, digests, strict=True)
    ]


def write_new(path: str | Path, header: bytes, payload: memoryview, *, stage: str | Path | None = None) -> None:
    """Write a file of two pieces in as few calls as the system needs; its folder is made if it is missing.

    A file that is there may be another process' that writes the same shard, and may have been told of as complete: it is replaced by
    a complete one, never written to.

    Args:
        path: of the file.
        header: the first piece.
        payload: the second one.
        stage: a folder above, which is not made if it is missing.

    Raises:
        OSError: the file cannot be written.
    """
    try:
        _write_or_replace(path, header, payload)
    except FileNotFoundError:
        _make_folder(os.path.dirname(path), stage)
        _write_or_replace(path, header, payload)


def _write_or_replace(path: str | Path, header: bytes, payload: memoryview) -> None:
    try:
        _write(path, header, payload)
    except FileExistsError:
        temporary = os.path.join(os.path.dirname(path), TEMPORARY_PREFIX + secrets.token_hex(8))
        try:
            _write(temporary, header, payload)
            os.replace(temporary, path)
        except OSError as error:
            error.filename = os.fspath(path)
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


def _make_folder(folder: str, stage: str | Path | None) -> None:
    if stage is None:
        os.makedirs(folder, exist_ok=True)
        return
    stage = os.fspath(stage)
    made = stage
    for name in os.path.relpath(folder, stage).split(os.sep):
        made = os.path.join(made, name)
        with contextlib.suppress(FileExistsError):
            os.mkdir(made)


def _write(path: str | Path, header: bytes, payload: memoryview) -> None:
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
