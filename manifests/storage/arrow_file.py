"""Rows in an Arrow IPC file, to be mapped into memory: what a cache is made of.

Behind the IPC file stands a table of CRC-32 sums: one of all that is no column's data, compared when the file is opened, and one of each
column's, compared when the column is first used. So a damaged file is noticed before anything of it is used, and opening ten million rows
does not read them all. The sums are against accidents: whose files are believed is up to `storage.cache`.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from manifests.files.atomic import replacing
from manifests.rows import arrow

if TYPE_CHECKING:
    import pyarrow as pa

_VERSION = 3
"""Goes up with the form of this file and with every new demand on a manifest: what a cache holds is not validated again."""

_END = struct.Struct("<II8s")
"""The last bytes: size of the table of sums, its own sum, and a magic."""

_MAGIC = b"shardfd\n"
_OTHERS_MAY_WRITE = 0o022

_Piece = Sequence[int]
"""Where some bytes of the file are, and what they sum up to: (start, size, CRC-32)."""


class CacheFileError(Exception):
    """A file that does not hold rows of this version, or is damaged."""


def write_cache(rows: pa.Table, stamp: Mapping[str, Any], path: Path) -> None:
    """Write rows, replacing `path` at once; nobody but the user may write to the file.

    Args:
        rows: as `manifests.rows.table` has them.
        stamp: JSON that `read_cache` gives back.
        path: the file.

    Raises:
        OSError: the file cannot be written; `path` is then as it was.
    """
    with replacing(path) as file:
        os.fchmod(file.fileno(), os.fstat(file.fileno()).st_mode & ~_OTHERS_MAY_WRITE)
        with arrow.ipc.new_file(file, rows.schema) as writer:
            writer.write_table(rows.combine_chunks())
        file.flush()
        content = _mapped(file)
        columns = {name: list(_pieces(column, content)) for name, column in zip(rows.column_names, _table(content).columns, strict=True)}
        sums = {"version": _VERSION, "stamp": stamp, "columns": columns, "others": _sum_of_others(content, columns)}
        about = json.dumps(sums).encode()
        file.write(about + _END.pack(len(about), zlib.crc32(about), _MAGIC))


def read_cache(file: BinaryIO) -> tuple[pa.Table, Callable[[str], bool], dict[str, Any]]:
    """Return the rows that a file holds, mapped; whether a column of them is intact, by its name; and the stamp.

    Raises:
        CacheFileError: it holds none of this version, or is damaged.
        OSError: it cannot be read.
    """
    if os.fstat(file.fileno()).st_size < _END.size:
        raise CacheFileError("too short")
    content = _mapped(file)
    size, found, magic = _END.unpack(content[-_END.size :])
    about, content = content[-_END.size - size : -_END.size], content[: -_END.size - size]
    if magic != _MAGIC or len(about) != size or zlib.crc32(about) != found:
        raise CacheFileError("damaged, or no cache")
    try:
        sums = json.loads(bytes(about))
        if sums["version"] != _VERSION:
            raise CacheFileError("of another version")
        if sums["others"] != _sum_of_others(content, sums["columns"]):
            raise CacheFileError("damaged")
        pieces = dict(sums["columns"])
        return _table(content), lambda name: all(_is_intact(content, piece) for piece in pieces[name]), dict(sums["stamp"])
    except (arrow.pa.ArrowException, OSError, LookupError, TypeError, ValueError, RecursionError) as error:  # Arrow's are of no system call
        raise CacheFileError(str(error)) from error


def _mapped(file: BinaryIO) -> memoryview:
    return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _table(content: memoryview) -> pa.Table:
    return arrow.ipc.open_file(arrow.pa.py_buffer(content)).read_all()


def _pieces(column: pa.ChunkedArray, content: memoryview) -> Iterator[_Piece]:
    """Yield where a mapped column's data is."""
    base = arrow.pa.py_buffer(content).address
    for chunk in column.chunks:
        dictionary = chunk.dictionary.buffers() if arrow.pa.types.is_dictionary(column.type) else []
        for buffer in (*chunk.buffers(), *dictionary):
            if buffer is not None and buffer.size:
                start = buffer.address - base
                yield start, buffer.size, zlib.crc32(content[start : start + buffer.size])


def _is_intact(content: memoryview, piece: _Piece) -> bool:
    start, size, expected = piece
    return zlib.crc32(content[start : start + size]) == expected


def _sum_of_others(content: memoryview, columns: Mapping[str, Sequence[_Piece]]) -> int:
    """Return the sum of what stands between the columns' data: schema, sizes, padding."""
    found = position = 0
    for start, size, _ in sorted(piece for pieces in columns.values() for piece in map(tuple, pieces)):
        found = zlib.crc32(content[position:start], found)
        position = start + size
    return zlib.crc32(content[position:], found)
