"""Records of a folder of raw files: the ID is the path without its ending, the class is the parent folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from manifests.classes import classes_of
from manifests.columns import Coded, ColumnBuilder
from manifests.names import name_problems
from manifests.schema import LABEL_SEPARATOR
from manifests.strings import PackedStrings
from prep.errors import SourceError
from prep.records import NO_LABELS, Failure, Listing, Records, SourceFormat
from prep.sources.files import Stats
from prep.sources.identity import check_distinct
from prep.text import counted, printable, shown

_BLOCK = 65_536


def list_folder(
    root: Path,
    paths: list[str],
    format_: SourceFormat,
    *,
    allow_empty_labels: bool,
    split_folders: Sequence[str] = (),
    stats: Stats | None = None,
) -> Listing:
    """Make a record of each file.

    Args:
        root: the source's folder.
        paths: of the raw files, relative to it.
        format_: what the raw files are.
        allow_empty_labels: take files that lie in no class folder although others do.
        split_folders: top folders that are splits, and no classes.
        stats: size and time of change of each file: int64, shape (n, 2).

    Raises:
        SourceError: two files of one ID, files without a class beside files with one, or a class name that cannot be.
    """
    names, sources, folders = ColumnBuilder(few=0), ColumnBuilder(few=0), ColumnBuilder(few=None)
    failures: list[Failure] = []
    bad: list[int] = []
    for start in range(0, len(paths), _BLOCK):  # what follows works on the columns, which take a fraction of the lists
        block = paths[start : start + _BLOCK]
        ids = [path[: path.rfind(".")] for path in block]  # each has the ending of a raw file
        problems = name_problems(ids)
        failures += [
            Failure(id="", source=printable(block[position]), stage="find", error=f"ID {printable(ids[position])!r} {problem}")
            for position, problem in problems.items()
        ]
        bad += [start + position for position in problems]
        if problems:
            ids, block = ([name for position, name in enumerate(some) if position not in problems] for some in (ids, block))
        names.add(ids)
        sources.add(block)
        folders.add([id_.rpartition("/")[0] for id_ in ids])
    labels = _labels_of(folders.coded(), split_folders)
    good = np.delete(np.arange(len(paths)), bad)
    sizes, times = (None, None) if stats is None else (stats[good, 0], stats[good, 1])
    records = Records(names.strings(), sources.strings(), labels, sizes=sizes, times=times)
    del names, sources, folders, good
    check_distinct(records)
    distinct = list(labels.distinct)
    labelled = any(distinct)
    _check_labels(records, distinct, labelled=labelled, allow_empty_labels=allow_empty_labels)
    if not records.ids.are_sorted():  # paths come sorted; without their endings they nearly are
        records = records.select(records.ids.order())
    if labelled:
        classes = classes_of(distinct)
        note = f"labels: name of the parent folder, {counted(len(classes), 'class', 'classes')}: {shown(list(classes), 10)}"
    else:
        note = "labels: none, as no file lies in a class folder"
    return Listing(
        format=format_,
        root=root,
        records=records,
        label_columns=("label",) if labelled else (),
        label_origin="folder names" if labelled else NO_LABELS,
        failures=failures,
        notes=[note],
    )


def _labels_of(folders: Coded, split_folders: Sequence[str]) -> Coded:
    """Return each record's label: the last component of its folder, unless that is a split."""
    names = ["" if folder in split_folders else folder.rpartition("/")[2] for folder in folders.distinct]
    distinct = sorted(set(names))
    number = {name: position for position, name in enumerate(distinct)}
    codes = np.array([number[name] for name in names], dtype=np.min_scalar_type(max(len(distinct) - 1, 0)))
    return Coded(codes=folders.spread(codes), distinct=PackedStrings(distinct))


def _check_labels(records: Records, labels: list[str], *, labelled: bool, allow_empty_labels: bool) -> None:
    several = sorted(label for label in labels if LABEL_SEPARATOR in label)
    if several:
        raise SourceError(f"class folders must not have {LABEL_SEPARATOR!r} in their name, as it stands between classes: {shown(several)}")
    if labelled and "" in labels and not allow_empty_labels:
        empty = [record.source for record in records if not record.label]
        raise SourceError(
            f"{counted(len(empty), 'file')} without a label, as they lie in no class folder while others do; "
            "move them into one, or pass --allow-empty-labels to keep them without a label",
            empty,
        )
