"""What is wrong with a manifest: every problem, so that a user mends a file once and not row by row."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from manifests.columns import coded, values_of
from manifests.errors import Problem
from manifests.metadata import Metadata, is_dtype_name
from manifests.names import (
    MAX_COMPONENT_BYTES,
    collision_key,
    collisions,
    default_path,
    file_and_folder_clashes,
    name_problem,
    name_problems,
)
from manifests.schema import parse_shape, split_label
from manifests.table import Table

if TYPE_CHECKING:
    import pandas as pd

_ROW = re.compile(r"0|[1-9][0-9]{0,17}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

_Lines = npt.NDArray[np.int64]


def validate(rows: pd.DataFrame | Table, lines: _Lines, metadata: Metadata) -> list[Problem]:
    """Return every problem of a manifest's rows, in the order of the rows; an empty list if it is sound.

    Nothing on the disk is looked at: see `manifests.verification` for that.

    Args:
        rows: string columns, as read; empty strings where there is no value.
        lines: int64, shape (rows,): the line of the file where each row starts.
        metadata: of `dataset.json`; its classes are the only ones that labels may name.
    """
    if "id" not in rows.columns:
        return [missing_ids(list(rows.columns))]
    if isinstance(rows, Table) and _is_sound(rows, metadata):
        return []
    ids = _values(rows, "id")
    problems = [*_name_problems(ids, lines), *_file_problems(rows, ids, lines)]
    for column, check in _VALUE_CHECKS.items():
        if column in rows.columns:
            problems += _value_problems(_values(rows, column), lines, column, check)
    for column, spec in metadata.labels.items():
        if column in rows.columns:
            problems += _label_problems(_values(rows, column), lines, column, spec.classes)
    return sorted(problems, key=lambda problem: problem.row or 0)


def missing_ids(columns: Sequence[str]) -> Problem:
    """Return what is wrong with rows that have these columns, and no IDs."""
    return Problem(kind="no-id-column", column="id", message=f"is missing; the columns are {', '.join(map(repr, columns))}")


def labels_are_known(table: Table, metadata: Metadata) -> bool:
    """Return whether labels name only the classes of `dataset.json`, which may be newer than what was validated."""
    return all(
        set(spec.classes).issuperset(name for label in coded(table.column(column)).distinct for name in split_label(label))
        for column, spec in metadata.labels.items()
        if column in table
    )


def encoding_problems(frame: pd.DataFrame, lines: _Lines) -> Iterator[Problem]:
    """Yield a problem for each value that UTF-8 cannot write, such as a file name of another encoding.

    IDs and paths are left to `validate`. A manifest that was read has none.

    Args:
        frame: string columns of dtype object.
        lines: as for `validate`.
    """
    for column in frame.columns:
        if column not in {"id", "path"}:
            yield from _value_problems(list(frame[column]), lines, column, _check_encoding, kind="encoding")


def _name_problems(ids: list[str], lines: _Lines) -> Iterator[Problem]:
    for position, text in name_problems(ids).items():
        yield _at(lines, position, "id", "unsafe-id", f"ID {ids[position]!r} {text}")
    for position, earlier in collisions(ids):
        if ids[position] == ids[earlier]:
            yield _at(lines, position, "id", "duplicate-id", f"ID {ids[position]!r} stands already in row {lines[earlier]}")
        else:
            text = f"ID {ids[position]!r} and {ids[earlier]!r} in row {lines[earlier]} are one name on a case-insensitive disk"
            yield _at(lines, position, "id", "colliding-id", text)


def are_sound_beside(table: Table, changed: npt.NDArray[np.bool_], *, ids_are_old: bool) -> bool:
    """Return whether rows, of which most stand in a sound manifest, are seen to have no problem; else `validate` tells.

    Args:
        table: all of them.
        changed: those that do not stand there so: bool, shape (len(table),).
        ids_are_old: whether that manifest has their IDs, be it in other rows.
    """
    return _values_are_sound(table.select(changed)) and _files_are_sound(table) and (ids_are_old or not any(collisions(table.row_ids)))


def _is_sound(table: Table, metadata: Metadata) -> bool:
    """Return whether rows are seen to have no problem without a list of all of them, as nearly all are; else a second look tells."""
    return _values_are_sound(table) and not any(collisions(table.row_ids)) and _files_are_sound(table) and labels_are_known(table, metadata)


def _values_are_sound(table: Table) -> bool:
    """Return whether no row has a problem of its own."""
    for block in table.blocks(["id", *(name for name in _VALUE_CHECKS if name in table)]):
        if name_problems(block["id"]) or any(map(name_problem, _long_paths(block["id"]))):
            return False
        if any(value and check(value) for name, check in _VALUE_CHECKS.items() if name in table for value in set(block[name])):
            return False
    return True


def _long_paths(ids: Sequence[str]) -> list[str]:
    """Return the default paths of which the ending could make a name too long; four bytes are the most that a character takes in UTF-8."""
    return [path for path in map(default_path, ids) if len(path) * 4 > MAX_COMPONENT_BYTES]


def _files_are_sound(table: Table) -> bool:
    """Return whether the files cannot have a problem, once the IDs have none and no path is too long: they need no second look."""
    return table.path_kind in {"none", "default"} and not any(
        collision_key(part).endswith(".npy") for folder in table.id_folders.distinct for part in folder.split("/")
    )


def _values(rows: pd.DataFrame | Table, column: str) -> list[str]:
    return values_of(rows.column(column)) if isinstance(rows, Table) else list(rows[column])


def _file_problems(table: pd.DataFrame | Table, ids: list[str], lines: _Lines) -> Iterator[Problem]:
    """Check the files that rows name: safe, and one row a file unless the rows of a pack share it."""
    named = _values(table, "path") if "path" in table.columns else [""] * len(ids)
    rows = _values(table, "row") if "row" in table.columns else [""] * len(ids)
    files = [path or default_path(id_) for path, id_ in zip(named, ids, strict=True)]
    for position, (path, file) in enumerate(zip(named, files, strict=True)):
        # A default path is unsafe just when its ID is, except that the ending may make it too long.
        text = name_problem(file)
        if text and (path or not name_problem(ids[position])):
            yield _at(lines, position, "path" if path else "id", "unsafe-path", f"path {file!r} of ID {ids[position]!r} {text}")
    if any(named):
        keys = [f"{file}\0{row}" for file, row in zip(files, rows, strict=True)] if any(rows) else files
        for position, earlier in collisions(keys):
            if ids[position] != ids[earlier]:
                text = f"path {files[position]!r} of ID {ids[position]!r} is also that of {ids[earlier]!r} in row {lines[earlier]}"
                yield _at(lines, position, "path", "shared-path", text)
    for position, other in file_and_folder_clashes(files):
        text = f"path {files[position]!r} needs a folder where {files[other]!r} of row {lines[other]} is a file"
        yield _at(lines, position, "path", "path-under-file", text)


def _value_problems(
    values: Sequence[str], lines: _Lines, column: str, check: Callable[[str], str | None], *, kind: str = ""
) -> Iterator[Problem]:
    """Check the distinct values once, then name the rows of the bad ones."""
    bad = {value: text for value in set(values) if value and (text := check(value))}
    if bad:
        for position, value in enumerate(values):
            if value in bad:
                yield _at(lines, position, column, kind or f"bad-{column}", bad[value])


def _label_problems(labels: Sequence[str], lines: _Lines, column: str, classes: tuple[str, ...]) -> Iterator[Problem]:
    known = set(classes)

    def check(label: str) -> str | None:
        unknown = [name for name in split_label(label) if name not in known]
        shown = ", ".join(map(repr, classes[:10])) + (", ..." if len(classes) > 10 else "")
        return f"label {label!r} is not among the {len(classes)} classes of dataset.json: {shown}" if unknown else None

    yield from _value_problems(labels, lines, column, check)


def _check_encoding(text: str) -> str | None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return f"{text!r} cannot be encoded as UTF-8"
    return None


def _check_shape(text: str) -> str | None:
    try:
        parse_shape(text)
    except ValueError as error:
        return str(error)
    return None


def _check_dtype(text: str) -> str | None:
    return None if is_dtype_name(text) else f"expected the NumPy name of a numeric dtype, found {text!r}"


def _check_row(text: str) -> str | None:
    return None if _ROW.fullmatch(text) else f"expected a row number from 0, found {text!r}"


def _check_sha256(text: str) -> str | None:
    return None if _SHA256.fullmatch(text) else f"expected 64 hex digits, found {text!r}"


_VALUE_CHECKS: dict[str, Callable[[str], str | None]] = {
    "row": _check_row,
    "shape": _check_shape,
    "dtype": _check_dtype,
    "sha256": _check_sha256,
}


def _at(lines: _Lines, position: int, column: str, kind: str, message: str) -> Problem:
    return Problem(kind=kind, row=int(lines[position]), column=column, message=message)
