"""Items of a table: a row names a raw file and its labels, as in Kaggle's `train.csv` beside a folder of images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from manifests.format.schema import is_contract_column, split_label
from manifests.rows import arrow
from manifests.rows.buffers import Positions, mask_array, number_array, string_array, text
from manifests.rows.names import collisions, name_problems
from manifests.rows.table import arrays, is_in, mapped, select, strings
from prep.errors import SourceError, UsageError
from prep.readers.registry import reader_of
from prep.sources.file_lookup import NO_FILE, find_files
from prep.sources.files import FolderFiles, Stats, column_of_paths, without_raw_suffix
from prep.sources.items import check_distinct, items_table, sorted_by_id
from prep.sources.listing import NO_LABELS, Failure, Listing
from prep.sources.table_file import RawTable, read_table
from prep.sources.table_options import TableOptions
from prep.text import counted, is_text, printable, shown

if TYPE_CHECKING:
    import pyarrow as pa


_LABEL_NAMES = ("label", "labels", "class", "target", "y", "category")
_FROM_TABLE = ("split", "group", "fold")
"""Columns of the contract that a table may bring along; the others are prep's to write."""

_MEMBER = "member"
"""Column that names the items of container files; where it is empty, a row stands for all of its file."""

_PROBED_ROWS = 100


def list_table(table_path: Path, root: Path, files: FolderFiles, options: TableOptions) -> Listing:
    """Make an item of each row of a table.

    Args:
        table_path: the table.
        root: the folder of the raw files.
        files: what `root` holds.
        options: which columns mean what.

    Raises:
        SourceError: the table lacks a column, has unsafe or repeated IDs or empty labels (all listed with their
            rows), or names no file of the folder.
        UsageError: the table leaves open which column means what.
    """
    table = read_table(table_path)
    columns, paths = table.rows, list(chain.from_iterable(files.raw.values()))
    named = [name for name in (options.id_column, options.path_column, *options.label_columns, *options.other_columns) if name is not None]
    _check_columns(table_path, columns.column_names, named)
    path_column = options.path_column or _find_path_column(table_path, root, columns, options, paths)
    id_column = options.id_column or ("id" if "id" in columns.column_names else path_column)
    has_members = _MEMBER in columns.column_names and any(reader_of(name).has_members for name in files.formats)
    taken = {id_column, path_column, *([_MEMBER] if has_members else [])}
    label_columns = options.label_columns or _find_label_columns(table_path, columns.column_names, taken | {*options.other_columns})
    _check_label_names(table_path, label_columns)
    names = ("label", *label_columns[1:]) if label_columns else ()
    label_kinds = options.kinds_of(dict(zip(label_columns, names, strict=True)))
    ids = mapped(columns[id_column], lambda value: without_raw_suffix(value.removeprefix("./"))).cast(arrow.pa.large_string())
    members = columns[_MEMBER].cast(arrow.pa.large_string()) if has_members else None
    if members is not None and id_column == path_column:
        ids = arrow.pc.if_else(arrow.pc.equal(members, text("")), ids, arrow.pc.binary_join_element_wise(ids, members, text("/")))
    _check_ids(table, id_column, ids)
    if not options.allow_empty_labels:
        _check_labels(table, label_columns)

    kept, dropped = _kept_columns(columns.column_names, taken, label_columns)
    found, failures = _found_files(root, ids, columns[path_column], paths)
    is_found = found >= 0
    if not is_found.any():
        raise SourceError(
            f"{table_path}: not one row's file could be found by column {path_column!r} below {root}:",
            [f"row {line}: {failure.error}" for failure, line in zip(failures, table.lines.tolist(), strict=True)],
        )
    notes = [
        f"table: {table_path.name}, {counted(len(columns), 'row')}; IDs from column {id_column!r}, files from column {path_column!r}",
        f"labels: {_describe_labels(columns, label_columns)}",
    ]
    del table  # and with it the columns that are not needed any more
    columns = columns.select(list(dict.fromkeys([*label_columns[:1], *kept])))
    if failures:
        ids, columns, found = ids.filter(mask_array(is_found)), select(columns, is_found), found[is_found]
        members = None if members is None else members.filter(mask_array(is_found))
    format_ = _format_of(table_path, files, found, paths)
    if has_members and not reader_of(format_).has_members:
        raise SourceError(f"{table_path}: column {_MEMBER!r} names items of container files, and rows name {format_}; rename the column")
    sizes, times = _stats_of(files, found)
    items = items_table(
        ids,
        column_of_paths(map(paths.__getitem__, found)),
        columns[label_columns[0]] if label_columns else None,
        members=members,
        columns={name: columns[name] for name in kept},
        sizes=sizes,
        mtimes=times,
    )
    check_distinct(items)  # in the order of the table, as the user sees it
    is_unnamed = np.ones(len(paths), dtype=np.bool_)
    is_unnamed[found] = False
    notes += [f"not kept: {shown(dropped)}, names that the manifest gives a meaning of its own"] if dropped else []
    return Listing(
        format=format_,
        root=root,
        items=sorted_by_id(items),
        label_columns=names,
        label_names={"label": label_columns[0]} if label_columns and label_columns[0] != "label" else {},
        label_kinds=label_kinds,
        label_origin=f"table column {shown(list(label_columns), len(label_columns))}" if label_columns else NO_LABELS,
        failures=failures,
        notes=notes,
        unnamed=int(is_unnamed.sum()),
    )


def _found_files(root: Path, ids: pa.ChunkedArray, column: pa.ChunkedArray, paths: Sequence[str]) -> tuple[Positions, list[Failure]]:
    """Return which file each row names: int64, shape (n,), below 0 where it names none that can be taken; and why, of those."""
    found, several = find_files(column, paths)
    not_text = np.array([position for position, path in enumerate(paths) if not is_text(path)], dtype=np.int64)
    missing = np.flatnonzero((found < 0) | np.isin(found, not_text))
    failures = []
    for start in range(0, len(missing), arrow.ROWS_AT_ONCE):
        rows = missing[start : start + arrow.ROWS_AT_ONCE]
        texts = (strings(some.take(number_array(rows))) for some in (ids, column))
        for id_, value, position in zip(*texts, found[rows].tolist(), strict=True):
            candidates = [paths[position]] if position >= 0 else several.get(value.removeprefix("./"), [])
            error = _why_not_found(root, value, candidates)
            failures.append(Failure(id=id_, source=printable(value), stage="find", error=error))
    found[missing] = NO_FILE
    return found, failures


def _stats_of(files: FolderFiles, found: Positions) -> Stats:
    """Return size and time of change of files, those of one reader after those of another, by their positions: int64, shape (2, n)."""
    stats = np.concatenate([files.stats[reader] for reader in files.raw])
    return np.ascontiguousarray(stats[found].T)


def _check_columns(table_path: Path, columns: list[str], named: Iterable[str]) -> None:
    missing = [name for name in named if name not in columns]
    if missing:
        raise SourceError(f"{table_path}: no column {shown(missing)}; the columns are {shown(columns, 20)}")


def _find_path_column(table_path: Path, root: Path, columns: pa.Table, options: TableOptions, paths: Sequence[str]) -> str:
    """Return the column whose values name files; the first rows are tried."""
    names = columns.column_names
    candidates = [options.id_column] if options.id_column is not None else names
    candidates = [name for name in candidates if name not in {*options.label_columns, *options.other_columns}]
    probe = columns.slice(0, _PROBED_ROWS)
    values = [string_array(strings(probe[name])) for name in candidates]
    found, _ = find_files(arrow.pa.chunked_array(values, type=arrow.pa.large_string()), paths)
    shares = dict(zip(candidates, (found != NO_FILE).reshape(-1, len(probe)).sum(axis=1).tolist(), strict=True))
    best = [name for name in candidates if shares[name] and shares[name] == max(shares.values())]
    if not best:
        raise SourceError(
            f"{table_path}: no column names files below {root} (tried the first {counted(len(probe), 'row')} of "
            f"{shown(candidates, 20)}); pass --path-column, or the folder of the files as SOURCE and the table as --labels"
        )
    if len(best) > 1 and "path" not in best:
        raise UsageError(f"{table_path}: columns {shown(best)} all name files; choose one with --path-column")
    return "path" if "path" in best else best[0]


def _find_label_columns(table_path: Path, columns: Iterable[str], taken: set[str]) -> tuple[str, ...]:
    """Return the column called like a label, or the only one that is left."""
    others = [name for name in columns if name not in taken]
    like_labels = [name for name in others if name.lower() in _LABEL_NAMES]
    if len(like_labels) == 1 or len(others) == 1:
        return tuple(like_labels or others)
    if not others:
        return ()
    raise UsageError(f"{table_path}: which column holds the label? choose with --label (several times for several): {shown(others, 20)}")


def _check_label_names(table_path: Path, label_columns: Sequence[str]) -> None:
    """Refuse further label columns that could not keep their names; the first is called `label` whatever its name."""
    reserved = [name for name in label_columns[1:] if is_contract_column(name) and name not in _FROM_TABLE]
    if reserved:
        raise UsageError(
            f"{table_path}: label column {shown(reserved)} has a name that the manifest gives a meaning of its own; "
            "rename it, or name it as the first --label"
        )


def _check_ids(table: RawTable, column: str, ids: pa.ChunkedArray) -> None:
    problems = [
        f"row {table.lines[position]}: ID {printable(ids[position].as_py())!r} {text}" for position, text in name_problems(ids).items()
    ]
    for position, earlier in collisions(ids):
        one, other = ids[position].as_py(), ids[earlier].as_py()
        same = "already appears" if one == other else f"is the same on a case-insensitive disk as {other!r}"
        problems.append(f"row {table.lines[position]}: ID {printable(one)!r} {same} in row {table.lines[earlier]}")
    if problems:
        raise SourceError(f"{table.path}: {counted(len(problems), 'problem')} with the IDs of column {column!r}:", problems)


def _check_labels(table: RawTable, label_columns: Sequence[str]) -> None:
    problems = []
    for name in label_columns:
        column = table.rows[name]
        values = arrow.pa.chunked_array([arrow.pc.unique(column)])
        empty = [label for _, block in arrays(values) for label in block.to_pylist() if not any(map(str.strip, split_label(label)))]
        if empty:
            problems += [f"row {line}: column {name!r} is empty" for line in table.lines[is_in(column, empty)]]
    if problems:
        raise SourceError(
            f"{table.path}: {counted(len(problems), 'label')} missing; fill them in, or pass --allow-empty-labels to keep them without",
            problems,
        )


def _kept_columns(columns: Sequence[str], taken: set[str], label_columns: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the columns to carry over under their own names, and those whose names the manifest needs itself."""
    others = [name for name in columns if name not in taken and name not in label_columns[:1]]
    kept = [name for name in others if name in _FROM_TABLE or not is_contract_column(name)]
    return kept, [name for name in others if name not in kept]


def _describe_labels(rows: pa.Table, label_columns: Sequence[str]) -> str:
    if not label_columns:
        return "none, as the table has no further column"
    return ", ".join(f"column {name!r} with {counted(len(arrow.pc.unique(rows[name])), 'distinct value')}" for name in label_columns)


def _why_not_found(root: Path, value: str, found: list[str]) -> str:
    if len(found) == 1:
        return f"the file's name {printable(found[0])!r} is not UTF-8; rename it"
    if found:
        return f"{printable(value)!r} could be any of {counted(len(found), 'file')}: {shown(found, 3)}; name it with its folder"
    return f"no file {printable(value)!r} below {root}"


def _format_of(table_path: Path, files: FolderFiles, found: Positions, paths: Sequence[str]) -> str:
    named: dict[str, str] = {}  # name of a reader -> the first of its files that a row names
    start = 0
    for format_, taken in files.raw.items():
        inside = (found >= start) & (found < start + len(taken))
        start += len(taken)
        if inside.any():
            named[format_] = paths[int(found[np.argmax(inside)])]
    if len(named) > 1:
        one, other = (f"{format_} ({path!r})" for format_, path in list(named.items())[:2])
        raise SourceError(f"{table_path}: names {one} and {other}; a dataset holds one or the other")
    return next(iter(named))
