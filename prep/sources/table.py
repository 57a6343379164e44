"""Records of a table: a row names a raw file and its labels, as in Kaggle's `train.csv` beside a folder of images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from manifests.names import collisions, name_problem
from manifests.schema import COLUMN_NAMES, split_label
from prep.errors import SourceError, UsageError
from prep.records import NO_LABELS, Failure, Listing, Record, Records, SourceFormat
from prep.sources.files import ARRAY_SUFFIXES, FolderFiles, suffix_of, without_raw_suffix
from prep.sources.identity import check_distinct
from prep.sources.tablefile import read_table
from prep.text import counted, is_text, printable, shown

if TYPE_CHECKING:
    import pandas as pd

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
    frame = table.frame
    named = [name for name in (options.id_column, options.path_column, *options.label_columns, *options.other_columns) if name is not None]
    _check_columns(table_path, frame, named)
    lookup = _Lookup([*files.images, *files.arrays])
    path_column = options.path_column or _find_path_column(table_path, root, frame, options, lookup)
    id_column = options.id_column or ("id" if "id" in frame.columns else path_column)
    label_columns = options.label_columns or _find_label_columns(table_path, frame, {id_column, path_column, *options.other_columns})
    _check_label_names(table_path, label_columns)
    ids = [without_raw_suffix(value.removeprefix("./")) for value in frame[id_column]]
    lines = [int(line) for line in table.lines]
    _check_ids(table_path, id_column, ids, lines)
    if not options.allow_empty_labels:
        _check_labels(table_path, frame, label_columns, lines)

    columns, dropped = _kept_columns(frame, {id_column, path_column}, label_columns)
    labels = list(frame[label_columns[0]]) if label_columns else [""] * len(frame)
    extras = [dict(zip(columns, values, strict=True)) for values in zip(*(frame[name] for name in columns), strict=True)] or [{}] * len(
        frame
    )
    records, failures = [], []
    for id_, value, label, extra in zip(ids, frame[path_column], labels, extras, strict=True):
        found = lookup.find(value)
        if len(found) == 1 and is_text(found[0]):
            records.append(Record(id=id_, source=found[0], label=label, columns=extra))
        else:
            failures.append(Failure(id=id_, source=printable(value), stage="find", error=_why_not_found(root, value, found)))
    if not records:
        raise SourceError(
            f"{table_path}: not one row's file could be found by column {path_column!r} below {root}:",
            [f"row {line}: {failure.error}" for failure, line in zip(failures, lines, strict=True)],
        )
    check_distinct(records)
    unnamed = len(lookup.paths) - len({record.source for record in records})
    notes = [
        f"table: {table_path.name}, {counted(len(frame), 'row')}; IDs from column {id_column!r}, files from column {path_column!r}",
        f"labels: {_describe_labels(frame, label_columns)}",
    ]
    notes += [f"not kept: {shown(dropped)}, names that the manifest gives a meaning of its own"] if dropped else []
    notes += [f"left aside: {counted(unnamed, 'file')} that no row names"] if unnamed else []
    return Listing(
        format=_format_of(table_path, records),
        root=root,
        records=_with_stats(sorted(records, key=lambda record: record.id), files),
        label_columns=("label", *label_columns[1:]) if label_columns else (),
        label_origin=f"table column {shown(list(label_columns), len(label_columns))}" if label_columns else NO_LABELS,
        failures=failures,
        notes=notes,
    )


def _with_stats(records: list[Record], files: FolderFiles) -> Records:
    """Pack records, with what the files that they name are like."""
    packed = Records.of(records)
    paths = [*files.images, *files.arrays]
    stats = np.concatenate([np.full((0, 2), -1), *(files.stats[kind] for kind in ("images", "arrays") if getattr(files, kind))])
    number = {path: position for position, path in enumerate(paths)}
    found = stats[[number[record.source] for record in records]]
    packed.sizes, packed.times = found[:, 0], found[:, 1]
    return packed


class _Lookup:
    """Finds the files that a table's value can mean.

    A value names a file by its path, its path without ending, its name, or its name without ending; the first of
    these that any file has counts.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths
        self._by_name: list[dict[str, list[str]]] = [{}, {}, {}, {}]
        for path in paths:
            stem = without_raw_suffix(path)
            for names, name in zip(self._by_name, (path, stem, path.rpartition("/")[2], stem.rpartition("/")[2]), strict=True):
                names.setdefault(name, []).append(path)

    def find(self, value: str) -> list[str]:
        name = value.removeprefix("./")
        return next((names[name] for names in self._by_name if name in names), [])

    def share(self, values: Sequence[str]) -> float:
        """Return the share of values that name a file."""
        return sum(bool(self.find(value)) for value in values) / len(values)


def _check_columns(table_path: Path, frame: pd.DataFrame, named: Iterable[str]) -> None:
    missing = [name for name in named if name not in frame.columns]
    if missing:
        raise SourceError(f"{table_path}: no column {shown(missing)}; the columns are {shown(list(frame.columns), 20)}")


def _find_path_column(table_path: Path, root: Path, frame: pd.DataFrame, options: TableOptions, lookup: _Lookup) -> str:
    """Return the column whose values name files; the first rows are tried."""
    candidates = [options.id_column] if options.id_column in frame.columns and options.path_column is None else list(frame.columns)
    candidates = [name for name in candidates if name is not None and name not in {*options.label_columns, *options.other_columns}]
    probe = frame.head(_PROBED_ROWS)
    shares = {name: lookup.share(list(probe[name])) for name in candidates}
    best = [name for name in candidates if shares[name] and shares[name] == max(shares.values())]
    if not best:
        raise SourceError(
            f"{table_path}: no column names files below {root} (tried the first {counted(len(probe), 'row')} of "
            f"{shown(candidates, 20)}); pass --path-column, or the folder of the files as SOURCE and the table as --labels"
        )
    if len(best) > 1 and "path" not in best:
        raise UsageError(f"{table_path}: columns {shown(best)} all name files; choose one with --path-column")
    return "path" if "path" in best else best[0]


def _find_label_columns(table_path: Path, frame: pd.DataFrame, taken: set[str]) -> tuple[str, ...]:
    """Return the column called like a label, or the only one that is left."""
    others = [name for name in frame.columns if name not in taken]
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


def _check_ids(table_path: Path, column: str, ids: list[str], lines: list[int]) -> None:
    problems = [f"row {line}: ID {printable(id_)!r} {text}" for id_, line in zip(ids, lines, strict=True) if (text := name_problem(id_))]
    for position, earlier in collisions(ids):
        same = "stands already" if ids[position] == ids[earlier] else f"is on a case-insensitive disk the same as {ids[earlier]!r}"
        problems.append(f"row {lines[position]}: ID {printable(ids[position])!r} {same} in row {lines[earlier]}")
    if problems:
        raise SourceError(f"{table_path}: {counted(len(problems), 'problem')} with the IDs of column {column!r}:", problems)


def _check_labels(table_path: Path, frame: pd.DataFrame, label_columns: Sequence[str], lines: list[int]) -> None:
    problems = [
        f"row {line}: column {name!r} is empty"
        for name in label_columns
        for label, line in zip(frame[name], lines, strict=True)
        if not any(map(str.strip, split_label(label)))
    ]
    if problems:
        raise SourceError(
            f"{table_path}: {counted(len(problems), 'label')} missing; fill them in, or pass --allow-empty-labels to keep them without",
            problems,
        )


def _kept_columns(frame: pd.DataFrame, taken: set[str], label_columns: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the columns to carry over under their own names, and those whose names the manifest needs itself."""
    others = [name for name in frame.columns if name not in taken and name not in label_columns[:1]]
    kept = [name for name in others if name in _FROM_TABLE or name not in COLUMN_NAMES]
    return kept, [name for name in others if name not in kept]


def _describe_labels(frame: pd.DataFrame, label_columns: Sequence[str]) -> str:
    if not label_columns:
        return "none, as the table has no further column"
    return ", ".join(f"column {name!r} with {counted(frame[name].nunique(), 'distinct value')}" for name in label_columns)


def _why_not_found(root: Path, value: str, found: list[str]) -> str:
    if len(found) == 1:
        return f"the file's name {printable(found[0])!r} is not UTF-8; rename it"
    if found:
        return f"{printable(value)!r} could be any of {counted(len(found), 'file')}: {shown(found, 3)}; name it with its folder"
    return f"no file {printable(value)!r} below {root}"


def _format_of(table_path: Path, records: Sequence[Record]) -> SourceFormat:
    arrays = [record.source for record in records if suffix_of(record.source) in ARRAY_SUFFIXES]
    if arrays and len(arrays) != len(records):
        image = next(record.source for record in records if suffix_of(record.source) not in ARRAY_SUFFIXES)
        raise SourceError(f"{table_path}: names images ({image!r}) and arrays ({arrays[0]!r}); a dataset holds one or the other")
    return "arrays" if arrays else "images"
