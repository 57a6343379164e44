"""Rows in an Arrow IPC file, to be mapped into memory: what a cache is made of.

What an old release or a stranger has written is refused before anything of it is used.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from manifests.files.atomic import replacing
from manifests.rows import arrow
from manifests.rows.buffers import integers

if TYPE_CHECKING:
    import pyarrow as pa

_KEY = b"shardfeed"
_VERSION = 2
"""Goes up with the form of this file and with every new demand on a manifest: what a cache holds is not validated again."""


class CacheFileError(Exception):
    """A file that does not hold rows of this version, or is damaged."""


def write_cache(rows: pa.Table, stamp: Mapping[str, Any], path: Path) -> None:
    """Write rows, replacing `path` at once.

    Args:
        rows: as `manifests.rows.table` has them.
        stamp: JSON that `read_cache` gives back.
        path: the file.

    Raises:
        OSError: the file cannot be written; `path` is then as it was.
    """
    about = json.dumps({"version": _VERSION, "stamp": stamp}).encode()
    rows = rows.replace_schema_metadata({**(rows.schema.metadata or {}), _KEY: about})
    with replacing(path) as file, arrow.ipc.new_file(file, rows.schema) as writer:
        writer.write_table(rows.combine_chunks())


def read_cache(file: BinaryIO) -> tuple[pa.Table, dict[str, Any]]:
    """Return the rows that a file holds, mapped, and its stamp.

    Raises:
        CacheFileError: it holds none of this version, or is damaged.
        OSError: it cannot be read.
    """
    if not os.fstat(file.fileno()).st_size:
        raise CacheFileError("empty")
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        rows = arrow.ipc.open_file(arrow.pa.py_buffer(mapped)).read_all()
        about = json.loads((rows.schema.metadata or {})[_KEY])
        rows.validate()
        if about["version"] != _VERSION or not all(map(_is_sound, rows.columns)) or len(set(rows.column_names)) < len(rows.column_names):
            raise CacheFileError("of another version, or damaged")
        others = {name: value for name, value in rows.schema.metadata.items() if name != _KEY}
        return rows.replace_schema_metadata(others or None), dict(about["stamp"])
    except (
        arrow.pa.ArrowException,
        OSError,
        LookupError,
        TypeError,
        ValueError,
        RecursionError,
    ) as error:  # Arrow's OSErrors are of no system call
        raise CacheFileError(str(error)) from error


def _is_sound(column: pa.ChunkedArray) -> bool:
    """Return whether a column is of a kind that rows have, and points nowhere outside of its own data."""
    pa = arrow.pa
    if column.null_count:
        return False
    if column.type == pa.large_string():
        return all(_offsets_are_sound(chunk, np.int64) for chunk in column.chunks)
    if column.type != pa.dictionary(pa.int32(), pa.string()):
        return False
    return all(_offsets_are_sound(chunk.dictionary, np.int32) and _codes_are_sound(chunk) for chunk in column.chunks)


def _codes_are_sound(chunk: Any) -> bool:
    codes = integers(chunk.indices)
    return not len(codes) or (int(codes.min()) >= 0 and int(codes.max()) < len(chunk.dictionary))


def _offsets_are_sound(strings: pa.Array, dtype: type) -> bool:
    _, offsets, data = strings.buffers()
    if not len(strings):
        return True
    ends: npt.NDArray[np.signedinteger] = np.frombuffer(offsets, dtype=dtype)[strings.offset : strings.offset + len(strings) + 1]
    return bool(ends[0] >= 0 and (ends[1:] >= ends[:-1]).all() and ends[-1] <= (0 if data is None else len(data)))
