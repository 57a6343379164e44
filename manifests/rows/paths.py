"""Where the shards of a manifest's rows are: their paths, relative to the manifest, and the folders of these."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import numpy as np

from manifests.format.names import SHARD_FOLDER
from manifests.rows import arrow
from manifests.rows.buffers import integer_array, string_array, text

if TYPE_CHECKING:
    import pyarrow as pa

PathKind = Literal["none", "default", "own", "mixed"]
"""Which rows have a path: none; all, and each is `shards/<id>.npy`; all; some."""

_PATH_KIND, _HAS_FOLDERS = b"shardfeed.path_kind", b"shardfeed.id_has_folders"
"""Keys of a schema's metadata."""

_OF_ANY_ROWS: dict[str, PathKind] = {"none": "none", "default": "default", "own": "own"}
"""Kinds that any selection of the rows has too."""

_FROM_LAST_SLASH = r"/?[^/]*$"


class Rows(Protocol):
    """A manifest or a table: what has columns of strings, by name."""

    def column(self, name: str, /) -> pa.ChunkedArray:
        """Return a column."""
        ...


class Files(NamedTuple):
    """The shards of some rows.

    Attributes:
        ids: of the rows.
        prefix: the path of each row is `<prefix><id>.npy`, unless there are `paths`.
        paths: the path of each row; None if all follow from the IDs.
        folders: of each row's path, empty for the manifest's own: a dictionary of strings.
    """

    ids: pa.ChunkedArray
    prefix: str
    paths: pa.ChunkedArray | None
    folders: pa.ChunkedArray


def default_paths(ids: pa.ChunkedArray, folder: str = SHARD_FOLDER) -> pa.ChunkedArray:
    """Return the path of each ID's shard where the manifest names none; see `names.default_path`."""
    return arrow.pc.binary_join_element_wise(text(_prefix(folder)), ids, text(".npy"), text(""))


def paths_of(rows: Rows, names: Collection[str], folder: str) -> pa.ChunkedArray:
    """Return the path of each row.

    Args:
        rows: some rows.
        names: of their columns.
        folder: of the shards of rows without a path; empty for arrays beside the manifest.
    """
    default = default_paths(rows.column("id"), folder)
    if "path" not in names:
        return default
    paths = rows.column("path")
    return arrow.pc.if_else(arrow.pc.equal(paths, text("")), default, paths)


def files_of(rows: Rows, schema: pa.Schema, folder: str) -> Files:
    """Return the shards of rows.

    Args:
        rows: some rows.
        schema: of the table that they were selected from, which may say what `with_layout` found.
        folder: of the shards of rows without a path; empty for arrays beside the manifest.
    """
    kind, ids = path_kind(rows, schema), rows.column("id")
    if kind in {"own", "mixed"}:
        paths = paths_of(rows, schema.names, folder)
        return Files(ids, "", paths, folders_of(paths))
    prefix = _prefix(SHARD_FOLDER if kind == "default" else folder)
    known = (schema.metadata or {}).get(_HAS_FOLDERS)
    folders = folders_of(ids, has_folders=None if known is None else known == b"True")
    return Files(ids, prefix, None, arrow.pa.chunked_array([_with_prefix(chunk, prefix) for chunk in folders.chunks], type=folders.type))


def path_kind(rows: Rows, schema: pa.Schema) -> PathKind:
    """Return which rows have a path; the arguments are those of `files_of`."""
    pc = arrow.pc
    known = (schema.metadata or {}).get(_PATH_KIND, b"").decode()
    if known in _OF_ANY_ROWS:
        return _OF_ANY_ROWS[known]
    if "path" not in schema.names:
        return "none"
    paths = rows.column("path")
    has_path = pc.not_equal(paths, text(""))
    if not pc.any(has_path).as_py():
        return "none"
    if not pc.all(has_path).as_py():
        return "mixed"
    return "default" if are_default_paths(paths, rows.column("id")) else "own"


def are_default_paths(paths: pa.ChunkedArray, ids: pa.ChunkedArray, folder: str = SHARD_FOLDER) -> bool:
    """Return whether each path is the one that its ID has by default; some at a time, as all of them written out take memory."""
    pc, step = arrow.pc, arrow.ROWS_AT_ONCE
    blocks = ((paths.slice(start, step), default_paths(ids.slice(start, step), folder)) for start in range(0, len(ids), step))
    return all(pc.all(pc.equal(some, default)).as_py() for some, default in blocks)


def with_layout(rows: pa.Table) -> pa.Table:
    """Return rows whose schema says where their files are: finding that out of ten million paths takes a second."""
    layout = {_PATH_KIND: path_kind(rows, rows.schema).encode(), _HAS_FOLDERS: str(any_has_folder(rows["id"])).encode()}
    return rows.replace_schema_metadata({**(rows.schema.metadata or {}), **layout})


def any_has_folder(names: pa.ChunkedArray) -> bool:
    """Return whether any name has a `/`."""
    return bool(arrow.pc.any(arrow.pc.match_substring(names, "/")).as_py())


def folders_of(names: pa.ChunkedArray, *, has_folders: bool | None = None) -> pa.ChunkedArray:
    """Return the part of each name before its last `/`, empty if it has none: a dictionary of strings.

    Args:
        names: of strings.
        has_folders: whether any of them has a `/`, if that is known.
    """
    pa, pc = arrow.pa, arrow.pc
    if len(names) and (any_has_folder(names) if has_folders is None else has_folders):
        blocks = (names.slice(start, arrow.ROWS_AT_ONCE) for start in range(0, len(names), arrow.ROWS_AT_ONCE))
        each = [pc.replace_substring_regex(block, _FROM_LAST_SLASH, "").dictionary_encode() for block in blocks]
        folders = pa.chunked_array([chunk for found in each for chunk in found.chunks], type=each[0].type).unify_dictionaries()
    else:
        codes = integer_array(np.zeros(len(names), dtype=np.int32))
        folders = pa.chunked_array([pa.DictionaryArray.from_arrays(codes, string_array([""]))])
    return folders.cast(pa.dictionary(pa.int32(), pa.string()))


def _with_prefix(folders: pa.DictionaryArray, prefix: str) -> pa.DictionaryArray:
    names = string_array([(prefix + name).rstrip("/") for name in folders.dictionary.to_pylist()])
    return arrow.pa.DictionaryArray.from_arrays(folders.indices, names.cast(arrow.pa.string()))


def _prefix(folder: str) -> str:
    return f"{folder}/" if folder else ""
