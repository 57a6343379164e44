"""Checking all rows of a manifest at once. Nearly every manifest passes; `format.validation` lists the problems of one that does not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from manifests.format.metadata import Metadata
from manifests.format.names import array_folder, default_path, name_problem
from manifests.format.schema import array_names, split_label
from manifests.rows import arrow
from manifests.rows.buffers import text
from manifests.rows.named_arrays import array_rows
from manifests.rows.names import collisions, plain
from manifests.rows.paths import Rows, are_default_paths, default_paths
from manifests.rows.table import distinct, is_dictionary, string_column

if TYPE_CHECKING:
    import pyarrow as pa

_SHA256 = "^(?:[0-9a-f]{64})?$"
_FILE_AS_FOLDER = r"(?i)\.npy/"


def is_sound(rows: pa.Table, metadata: Metadata, checks: Mapping[str, Callable[[str], str | None]]) -> bool:
    """Return whether rows pass every check; if not, `validation.validate` lists the problems.

    Args:
        rows: as `table.rows_of` makes them, with a column `id`.
        metadata: of `dataset.json`.
        checks: column -> a function that says what is wrong with one of its values, or returns None.
    """
    return (
        _names_are_safe(rows["id"])
        and not any(collisions(rows["id"]))
        and _files_are_sound(rows)
        and all(_values_are_sound(rows[name], name, check) for name, check in checks.items() if name in rows.column_names)
        and labels_are_known(rows, rows.column_names, metadata)
    )


def labels_are_known(rows: Rows, names: Collection[str], metadata: Metadata) -> bool:
    """Return whether every label is a class of `dataset.json`, which may have changed since the rows were validated."""
    return all(
        set(spec.classes).issuperset(name for label in distinct(rows.column(column)) for name in split_label(label))
        for column, spec in metadata.labels.items()
        if column in names and not spec.is_number
    )


def may_share_files(ids: pa.ChunkedArray) -> bool:
    """Return whether the default paths of two IDs might be one file, or one a folder in the other's, on some disk."""
    return _any_matches(ids, _FILE_AS_FOLDER) or next(collisions(ids), None) is not None


def _names_are_safe(names: pa.ChunkedArray) -> bool:
    for start in range(0, len(names), arrow.ROWS_AT_ONCE):
        block = names.slice(start, arrow.ROWS_AT_ONCE)
        others = block.filter(arrow.pc.invert(plain(block))).to_pylist()
        if any(name_problem(name) or name_problem(default_path(name)) for name in others):
            return False
    return True


def _files_are_sound(rows: pa.Table) -> bool:
    """Return whether every array has its own file, with a safe path that is no folder in the path of another one."""
    pc, ids = arrow.pc, rows["id"]
    names = array_names(rows.column_names)
    has_paths = "path" in rows.column_names and pc.any(pc.not_equal(rows["path"], text(""))).as_py()
    main, further = rows["path"] if has_paths else None, [array_rows(rows, name) for name in names]
    if (main is None or are_default_paths(main, ids)) and all(
        are_default_paths(some["path"], some["id"], array_folder(name)) for name, some in zip(names, further, strict=True)
    ):
        return not _any_matches(ids, _FILE_AS_FOLDER)
    columns = [default_paths(ids) if main is None else main, *(some["path"] for some in further)]
    paths = arrow.pa.chunked_array([chunk for column in columns for chunk in string_column(column).chunks], type=arrow.pa.large_string())
    return (
        bool(pc.all(pc.ends_with(paths, ".npy")).as_py())
        and not _any_matches(paths, _FILE_AS_FOLDER)
        and _names_are_safe(paths)
        and not any(collisions(paths))
    )


def _values_are_sound(column: pa.ChunkedArray, name: str, check: Callable[[str], str | None]) -> bool:
    if name.rpartition(".")[2] == "sha256" and not is_dictionary(column):
        return bool(arrow.pc.all(arrow.pc.match_substring_regex(column, _SHA256)).as_py())
    return not any(check(value) for value in distinct(column) if value)


def _any_matches(column: pa.ChunkedArray, pattern: str) -> bool:
    return bool(arrow.pc.any(arrow.pc.match_substring_regex(column, pattern)).as_py())
