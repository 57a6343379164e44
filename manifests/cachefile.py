"""A table in one file, to be mapped into memory: a JSON header that says where each array lies, and the arrays.

    magic, 8 bytes | length of the header, 8 bytes | SHA-256 of the header, 32 bytes | header | arrays, each at a multiple of 64

Nothing is unpickled, and whatever does not fit together is refused before anything of it is used.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast, get_args

import numpy as np

from manifests.atomic import replacing
from manifests.columns import Coded, Column
from manifests.strings import AnyArray1d, PackedStrings
from manifests.table import PathKind, Table, default_paths

_MAGIC = b"shardfd\n"
_VERSION = 1
"""Goes up with the form of this file and with every new demand on a manifest: what a cache holds is not validated again."""

_HEADER_AT = 48
_LONGEST_HEADER = 1 << 24
_ALIGNMENT = 64
# A closed list: `np.dtype` of a stranger's text parses it, and warns or fails in many ways.
_DTYPE = re.compile(r"\|u1|<u[248]|<i8|\|S[1-9][0-9]{0,7}")


class CacheFileError(Exception):
    """A file that does not hold a table of this version, or is damaged."""


def write_cache(table: Table, stamp: Mapping[str, Any], path: Path) -> None:
    """Write a table of all rows, replacing `path` at once.

    Args:
        table: without a selection.
        stamp: JSON that `read_cache` gives back.
        path: the file.

    Raises:
        OSError: the file cannot be written; `path` is then as it was.
    """
    arrays: list[AnyArray1d] = []
    columns = {
        name: {"kind": "default-path"} if name == "path" and table.path_kind == "default" else _described(column, arrays)
        for name, column in table.columns.items()
    }
    header = {
        "version": _VERSION,
        "stamp": stamp,
        "rows": len(table),
        "columns": columns,
        "id_folders": _described(table.id_folders, arrays),
        "path_folders": None if table.path_folders is None else _described(table.path_folders, arrays),
        "path_kind": table.path_kind,
        "arrays": [{"dtype": array.dtype.str, "length": len(array), "at": at} for array, at in _placed(arrays)],
    }
    encoded = json.dumps(header).encode()
    with replacing(path) as file:
        file.write(_MAGIC + len(encoded).to_bytes(8, "little") + hashlib.sha256(encoded).digest() + encoded)
        start = _aligned(_HEADER_AT + len(encoded))
        for array, at in _placed(arrays):
            file.seek(start + at)
            file.write(np.ascontiguousarray(array).view(np.uint8).data)
        file.truncate(start + sum(_aligned(array.nbytes) for array in arrays))


def read_cache(file: BinaryIO) -> tuple[Table, Mapping[str, Any]]:
    """Return the table and the stamp of a file that `write_cache` wrote; the arrays stay in the file, which is mapped.

    Raises:
        CacheFileError: the file is no such file, is of another version, or is damaged.
        OSError: it cannot be read.
    """
    start = file.read(_HEADER_AT)
    length = int.from_bytes(start[8:16], "little")
    if start[:8] != _MAGIC or length > _LONGEST_HEADER:
        raise CacheFileError("holds no table")
    encoded = file.read(length)
    if hashlib.sha256(encoded).digest() != start[16:]:
        raise CacheFileError("the header is damaged")
    try:
        header = json.loads(encoded)
        if header["version"] != _VERSION:
            raise CacheFileError(f"is of version {header['version']}")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return _table(header, _mapped_arrays(header["arrays"], mapped, _aligned(_HEADER_AT + length))), header["stamp"]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise CacheFileError("the parts do not fit together") from error


def _placed(arrays: list[AnyArray1d]) -> Iterator[tuple[AnyArray1d, int]]:
    """Yield each array and its place behind the header."""
    at = 0
    for array in arrays:
        yield array, at
        at += _aligned(array.nbytes)


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _described(column: Column, arrays: list[AnyArray1d]) -> dict[str, Any]:
    """Say of which arrays a column is made, and append those."""
    if isinstance(column, Coded):
        arrays.append(column.codes)
        return {"kind": "coded", "codes": len(arrays) - 1, "values": _described(column.distinct, arrays)}
    numbers = {}
    for name, array in column.arrays().items():
        arrays.append(array)
        numbers[name] = len(arrays) - 1
    return {"kind": "strings", "arrays": numbers}


def _mapped_arrays(described: list[dict[str, Any]], mapped: mmap.mmap, start: int) -> list[AnyArray1d]:
    """Return arrays that look into the file.

    Raises:
        ValueError: one lies outside of it, or is of no dtype that a table has.
    """
    arrays: list[AnyArray1d] = []
    for item in described:
        length, at = item["length"], item["at"]
        if not _DTYPE.fullmatch(item["dtype"]) or length < 0 or at < 0 or at % _ALIGNMENT:
            raise ValueError(f"no array of a table: {item}")
        dtype = np.dtype(item["dtype"])
        arrays.append(np.frombuffer(mapped, dtype=dtype, count=length, offset=start + at) if length else np.zeros(0, dtype=dtype))
    return arrays


def _table(header: Mapping[str, Any], arrays: list[AnyArray1d]) -> Table:
    rows, kind = header["rows"], header["path_kind"]
    columns: dict[str, Column | None] = {
        name: None if item["kind"] == "default-path" else _column(item, arrays) for name, item in header["columns"].items()
    }
    ids = columns["id"]
    folders = {name: None if header[name] is None else _column(header[name], arrays) for name in ("id_folders", "path_folders")}
    if not isinstance(ids, PackedStrings) or not isinstance(folders["id_folders"], Coded) or kind not in get_args(PathKind):
        raise TypeError("no table")
    if any(column is None and (name, kind) != ("path", "default") for name, column in columns.items()):
        raise ValueError("a column without arrays")
    if any(column is not None and len(column) != rows for column in [*columns.values(), *folders.values()]):
        raise ValueError("columns of other lengths")
    if (kind in {"own", "mixed"}) != isinstance(folders["path_folders"], Coded) or (kind != "none" and "path" not in columns):
        raise ValueError("no folders of paths")
    return Table(
        columns={name: default_paths(ids) if column is None else column for name, column in columns.items()},
        ids=ids,
        id_folders=folders["id_folders"],
        path_folders=cast("Coded | None", folders["path_folders"]),
        path_kind=kind,
    )


def _column(item: Mapping[str, Any], arrays: list[AnyArray1d]) -> Column:
    if item["kind"] == "strings":
        return PackedStrings.of_arrays({name: arrays[number] for name, number in item["arrays"].items()})
    codes, values = arrays[item["codes"]], _column(item["values"], arrays)
    if item["kind"] != "coded" or codes.dtype.kind != "u" or not isinstance(values, PackedStrings):
        raise TypeError("no column")
    if len(codes) and int(codes.max()) >= len(values):
        raise ValueError("codes without a value")
    return Coded(codes=codes, distinct=values)
