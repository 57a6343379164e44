"""Records of a table: a row names a raw file and its labels, as in Kaggle's `train.csv` beside a folder of images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from manifests.columns import Column, ColumnBuilder, as_packed, blank_column, coded, is_in, mapped_column, values_of
from manifests.names import collisions, name_problems
from manifests.schema import COLUMN_NAMES, split_label
from manifests.strings import PackedStrings, Positions
from prep.errors import SourceError, UsageError
from prep.records import NO_LABELS, Failure, Listing, Records, SourceFormat
from prep.sources.files import FolderFiles, Stats, without_raw_suffix
from prep.sources.identity import check_distinct
from prep.sources.lookup import NO_FILE, FileLookup
from prep.sources.tablefile import RawTable, read_table
from prep.text import counted, is_text, printable, shown

_BLOCK = 65_536

_LABEL_NAMES = ("label", "labels", "class", "target", "y", "category")
_FROM_TABLE = ("split", "group", "fold")
"""Columns of the contract that a table may bring along; the others are prep's to write."""

_PROBED_ROWS = 100


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """Which columns mean what; None where the table must tell.

    Attributes:
        id_column: names the samples.
        path_column: names the raw files.
        label_columns: hold labels, the primary one first.
        allow_empty_labels: whether rows may have no label.
        other_columns: say something else, such as the group, and are taken for neither.
    """

    id_column: str | None = None
    path_column: str | None = None
    label_columns: tuple[str, ...] = ()
    allow_empty_labels: bool = False
    other_columns: tuple[str, ...] = ()


def list_table(table_path: Path, root: Path, files: FolderFiles, options: TableOptions) -> Listing:
    """Make a record of each row of a table.

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
    columns = table.columns
    named = [name for name in (options.id_column, options.path_column, *options.label_columns, *options.other_columns) if name is not None]
    _check_columns(table_path, list(columns), named)
    lookup = FileLookup([*files.images, *files.arrays])
    path_column = options.path_column or _find_path_column(table_path, root, columns, options, lookup)
    id_column = options.id_column or ("id" if "id" in columns else path_column)
    label_columns = options.label_columns or _find_label_columns(table_path, columns, {id_column, path_column, *options.other_columns})
    _check_label_names(table_path, label_columns)
    ids = as_packed(mapped_column(columns[id_column], lambda value: without_raw_suffix(value.removeprefix("./"))))
    _check_ids(table_path, id_column, ids, table.lines)
    if not options.allow_empty_labels:
        _check_labels(table_path, table, label_columns)

    kept, dropped = _kept_columns(list(columns), {id_column, path_column}, label_columns)
    found, failures = _found_files(root, ids, columns[path_column], lookup)
    rows = np.flatnonzero(found >= 0)
    if not len(rows):
        raise SourceError(
            f"{table_path}: not one row's file could be found by column {path_column!r} below {root}:",
            [f"row {line}: {failure.error}" for failure, line in zip(failures, table.lines.tolist(), strict=True)],
        )
    sizes, times = _stats_of(files, found[rows])
    records = Records(
        ids.select(rows),
        _sources_of(lookup, found[rows]),
        columns[label_columns[0]].select(rows) if label_columns else blank_column(len(rows)),
        columns={name: columns[name].select(rows) for name in kept},
        sizes=sizes,
        times=times,
    )
    check_distinct(records)  # in the order of the table, as the user sees it
    unnamed = len(lookup.paths) - len(np.unique(found[rows]))
    notes = [
        f"table: {table_path.name}, {counted(len(table), 'row')}; IDs from column {id_column!r}, files from column {path_column!r}",
        f"labels: {_describe_labels(columns, label_columns)}",
    ]
    notes += [f"not kept: {shown(dropped)}, names that the manifest gives a meaning of its own"] if dropped else []
    notes += [f"left aside: {counted(unnamed, 'file')} that no row names"] if unnamed else []
    return Listing(
        format=_format_of(table_path, files, found[rows], lookup),
        root=root,
        records=records.select(records.ids.order()),
        label_columns=("label", *label_columns[1:]) if label_columns else (),
        label_origin=f"table column {shown(list(label_columns), len(label_columns))}" if label_columns else NO_LABELS,
        failures=failures,
        notes=notes,
    )


def _found_files(root: Path, ids: PackedStrings, column: Column, lookup: FileLookup) -> tuple[Positions, list[Failure]]:
    """Return which file each row names: int64, shape (n,), below 0 where it names none that can be taken; and why, of those."""
    found, failures = lookup.find(column), []
    taken = np.flatnonzero(found >= 0)
    for start in range(0, len(taken), _BLOCK):
        rows = taken[start : start + _BLOCK]
        found[rows[[not is_text(lookup.paths[position]) for position in found[rows].tolist()]]] = NO_FILE
    missing = np.flatnonzero(found < 0)
    for start in range(0, len(missing), _BLOCK):
        rows = missing[start : start + _BLOCK]
        for id_, value in zip(ids.take(rows), values_of(column.select(rows)), strict=True):
            why = _why_not_found(root, value, lookup.candidates(value))
            failures.append(Failure(id=id_, source=printable(value), stage="find", error=why))
    return found, failures


def _sources_of(lookup: FileLookup, found: Positions) -> PackedStrings:
    """Return the paths of files by their positions."""
    sources = ColumnBuilder(few=0)
    for start in range(0, len(found), _BLOCK):
        sources.add([lookup.paths[position] for position in found[start : start + _BLOCK].tolist()])
    return sources.strings()


def _stats_of(files: FolderFiles, found: Positions) -> Stats:
    """Return size and time of change of files, images before arrays, by their positions: int64, shape (2, n)."""
    stats = np.concatenate([files.stats[kind] for kind in ("images", "arrays") if getattr(files, kind)])
    return np.ascontiguousarray(stats[found].T)


def _check_columns(table_path: Path, columns: list[str], named: Iterable[str]) -> None:
    missing = [name for name in named if name not in columns]
    if missing:
        raise SourceError(f"{table_path}: no column {shown(missing)}; the columns are {shown(columns, 20)}")


def _find_path_column(table_path: Path, root: Path, columns: Mapping[str, Column], options: TableOptions, lookup: FileLookup) -> str:
    """Return the column whose values name files; the first rows are tried."""
    candidates = [options.id_column] if options.id_column in columns and options.path_column is None else list(columns)
    candidates = [name for name in candidates if name is not None and name not in {*options.label_columns, *options.other_columns}]
    probe = np.arange(min(_PROBED_ROWS, *map(len, columns.values())))
    shares = {name: sum(lookup.names_any(values_of(columns[name].select(probe)))) for name in candidates}
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
    reserved = [name for name in label_columns[1:] if name in COLUMN_NAMES and name not in _FROM_TABLE]
    if reserved:
        raise UsageError(
            f"{table_path}: label column {shown(reserved)} has a name that the manifest gives a meaning of its own; "
            "rename it, or name it as the first --label"
        )


def _check_ids(table_path: Path, column: str, ids: PackedStrings, lines: npt.NDArray[np.int64]) -> None:
    problems = []
    for start in range(0, len(ids), _BLOCK):
        block = ids.take(np.arange(start, min(start + _BLOCK, len(ids))))
        found = name_problems(block)
        problems += [f"row {lines[start + place]}: ID {printable(block[place])!r} {text}" for place, text in found.items()]
    for position, earlier in collisions(ids):
        one, other = ids[position], ids[earlier]
        same = "stands already" if one == other else f"is on a case-insensitive disk the same as {other!r}"
        problems.append(f"row {lines[position]}: ID {printable(one)!r} {same} in row {lines[earlier]}")
    if problems:
        raise SourceError(f"{table_path}: {counted(len(problems), 'problem')} with the IDs of column {column!r}:", problems)


def _check_labels(table_path: Path, table: RawTable, label_columns: Sequence[str]) -> None:
    problems = []
    for name in label_columns:
        column = coded(table.columns[name])
        empty = [label for label in column.distinct if not any(map(str.strip, split_label(label)))]
        problems += [f"row {line}: column {name!r} is empty" for line in table.lines[is_in(column, empty)]]
    if problems:
        raise SourceError(
            f"{table_path}: {counted(len(problems), 'label')} missing; fill them in, or pass --allow-empty-labels to keep them without",
            problems,
        )


def _kept_columns(columns: Sequence[str], taken: set[str], label_columns: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the columns to carry over under their own names, and those whose names the manifest needs itself."""
    others = [name for name in columns if name not in taken and name not in label_columns[:1]]
    kept = [name for name in others if name in _FROM_TABLE or name not in COLUMN_NAMES]
    return kept, [name for name in others if name not in kept]


def _describe_labels(columns: Mapping[str, Column], label_columns: Sequence[str]) -> str:
    if not label_columns:
        return "none, as the table has no further column"
    return ", ".join(f"column {name!r} with {counted(len(coded(columns[name]).distinct), 'distinct value')}" for name in label_columns)


def _why_not_found(root: Path, value: str, found: list[str]) -> str:
    if len(found) == 1:
        return f"the file's name {printable(found[0])!r} is not UTF-8; rename it"
    if found:
        return f"{printable(value)!r} could be any of {counted(len(found), 'file')}: {shown(found, 3)}; name it with its folder"
    return f"no file {printable(value)!r} below {root}"


def _format_of(table_path: Path, files: FolderFiles, found: Positions, lookup: FileLookup) -> SourceFormat:
    are_arrays = found >= len(files.images)
    if are_arrays.any() and not are_arrays.all():
        image, array = (lookup.paths[int(found[np.argmax(which)])] for which in (~are_arrays, are_arrays))
        raise SourceError(f"{table_path}: names images ({image!r}) and arrays ({array!r}); a dataset holds one or the other")
    return "arrays" if are_arrays.any() else "images"
