"""Validating the rows of a manifest: every problem is listed, so that a user can fix all of them at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from manifests.errors import Problem
from manifests.format.metadata import Metadata, is_dtype_name
from manifests.format.names import (
    collisions,
    default_path,
    file_and_folder_clashes,
    name_problem,
)
from manifests.format.schema import array_column, array_names, parse_shape, split_label

_ROW = re.compile(r"0|[1-9][0-9]{0,17}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

_LONGEST_SHOWN = 300

_Lines = npt.NDArray[np.int64]


def validate(rows: Mapping[str, Sequence[str]], lines: _Lines, metadata: Metadata) -> list[Problem]:
    """Return every problem of a manifest's rows, in the order of the rows; an empty list if it is valid.

    It does not look at the shards: `manifests.verification.verify` does.

    Args:
        rows: column -> values, as read; empty strings where there is no value.
        lines: int64, shape (rows,): the line of the file where each row starts.
        metadata: of `dataset.json`; labels must be among its classes.
    """
    if "id" not in rows:
        return [missing_ids(list(rows))]
    ids = list(rows["id"])
    problems = [*_name_problems(ids, lines), *_file_problems(rows, ids, lines)]
    for column, check in value_checks(rows).items():
        if column in rows:
            problems += _value_problems(rows[column], lines, column, check)
    for column, spec in metadata.labels.items():
        if column in rows and not spec.is_number:  # numbers are checked when they are fed: here it would slow down each loading
            problems += _label_problems(rows[column], lines, column, spec.classes)
    return sorted(problems, key=lambda problem: problem.row or 0)


def missing_ids(columns: Sequence[str]) -> Problem:
    """Return the problem of rows that have these columns, and no column `id`."""
    return Problem(kind="no-id-column", column="id", message=f"is missing; the columns are {', '.join(map(repr, columns))}")


def encoding_problems(rows: Mapping[str, Sequence[str]], lines: _Lines) -> Iterator[Problem]:
    """Yield a problem for each value that cannot be encoded as UTF-8, such as a file name in another encoding.

    `validate` does this for IDs and paths. Values read from a manifest are always valid.

    Args:
        rows: as for `validate`.
        lines: as for `validate`.
    """
    for column, values in rows.items():
        if column not in {"id", "path"}:
            yield from _value_problems(values, lines, column, _check_encoding, kind="encoding")


def _name_problems(ids: list[str], lines: _Lines) -> Iterator[Problem]:
    for position, id_ in enumerate(ids):
        if text := name_problem(id_):
            yield _at(lines, position, "id", "unsafe-id", f"ID {_shown(id_)} {text}")
    for position, earlier in collisions(ids):
        if ids[position] == ids[earlier]:
            yield _at(lines, position, "id", "duplicate-id", f"ID {ids[position]!r} already appears in row {lines[earlier]}")
        else:
            text = f"ID {ids[position]!r} and {ids[earlier]!r} in row {lines[earlier]} are one name on a case-insensitive disk"
            yield _at(lines, position, "id", "colliding-id", text)


def _file_problems(columns: Mapping[str, Sequence[str]], ids: list[str], lines: _Lines) -> Iterator[Problem]:
    """Check that paths are safe, and that no two arrays share a file unless they are rows of a pack."""
    named, rows = (columns.get(name, [""] * len(ids)) for name in ("path", "row"))
    files = [path or default_path(id_) for path, id_ in zip(named, ids, strict=True)]
    safe: list[int] = []
    for position, (path, file) in enumerate(zip(named, files, strict=True)):
        # A default path is unsafe if its ID is, or if the suffix makes it too long.
        text = name_problem(file)
        if not text:
            safe.append(position)
        elif path or not name_problem(ids[position]):
            message = f"path {_shown(file)} of ID {_shown(ids[position])} {text}"
            yield _at(lines, position, "path" if path else "id", "unsafe-path", message)
    owners, holders, rows = list(range(len(ids))), ["path"] * len(ids), list(rows)  # of each file: its row, and the column that names it
    for column, position, path, row in _further_files(columns, array_names(columns)):
        if text := name_problem(path):
            yield _at(lines, position, column, "unsafe-path", f"path {_shown(path)} of ID {_shown(ids[position])} {text}")
        else:
            safe.append(len(files))
        owners.append(position)
        holders.append(column)
        files.append(path)
        rows.append(row)
    if any(named) or len(files) > len(ids):
        keys = [f"{file}\0{row}" for file, row in zip(files, rows, strict=True)] if any(rows) else files
        for at, earlier in collisions(keys):
            one, other = owners[at], owners[earlier]
            if one == other or ids[one] != ids[other]:
                text = f"path {files[at]!r} of ID {ids[one]!r} is also that of {ids[other]!r} in row {lines[other]}"
                yield _at(lines, one, holders[at], "shared-path", text)
    for below, above in file_and_folder_clashes([files[at] for at in safe]):
        at, earlier = safe[below], safe[above]
        text = f"path {files[at]!r} needs a folder where {files[earlier]!r} of row {lines[owners[earlier]]} is a file"
        yield _at(lines, owners[at], holders[at], "path-under-file", text)


def _further_files(columns: Mapping[str, Sequence[str]], names: Sequence[str]) -> Iterator[tuple[str, int, str, str]]:
    """Yield the column, position, path and row within a pack of each file of a further array."""
    for name in names:
        column = array_column(name, "path")
        paths = columns[column]
        rows = columns.get(array_column(name, "row"), [""] * len(paths))
        yield from ((column, position, path, row) for position, (path, row) in enumerate(zip(paths, rows, strict=True)) if path)


def _value_problems(
    values: Sequence[str], lines: _Lines, column: str, check: Callable[[str], str | None], *, kind: str = ""
) -> Iterator[Problem]:
    """Check each distinct value once, and yield a problem for each row with a bad one."""
    bad = {value: text for value in set(values) if value and (text := check(value))}
    if bad:
        for position, value in enumerate(values):
            if value in bad:
                yield _at(lines, position, column, kind or f"bad-{column.rpartition('.')[2]}", bad[value])


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


def _shown(name: str) -> str:
    return repr(name) if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]!r}..."


def value_checks(columns: Iterable[str]) -> dict[str, Callable[[str], str | None]]:
    """Return column -> what says of a value what is wrong with it, for rows with these columns and perhaps others."""
    further = {array_column(name, field): check for name in array_names(columns) for field, check in _VALUE_CHECKS.items()}
    return {**_VALUE_CHECKS, **further}


def _at(lines: _Lines, position: int, column: str, kind: str, message: str) -> Problem:
    return Problem(kind=kind, row=int(lines[position]), column=column, message=message)
