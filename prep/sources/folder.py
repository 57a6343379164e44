"""Items of a folder of raw files: the ID is the path without its ending, the class is the parent folder, or the top one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from manifests.describe.counts import classes_of
from manifests.format.names import name_problem
from manifests.format.schema import LABEL_SEPARATOR
from manifests.rows.buffers import number_array
from manifests.rows.names import name_problems
from manifests.rows.table import distinct, is_in, mapped, select, strings, value_counts
from prep.errors import SourceError
from prep.sources.files import Stats, column_of_paths
from prep.sources.items import check_distinct, items_table, sorted_by_id
from prep.sources.listing import NO_LABELS, Failure, Listing
from prep.text import counted, printable, shown

if TYPE_CHECKING:
    import pyarrow as pa

LabelFrom = Literal["parent", "top"]

PARENT_FOLDERS, TOP_FOLDERS = "folder names", "top folder names"
"""`Listing.label_origin` of classes that are folders."""

_LIKE_SPLITS = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval", "holdout"})


def list_folder(
    root: Path,
    paths: list[str],
    format_: str,
    *,
    allow_empty_labels: bool,
    label_from: LabelFrom | None = None,
    split_folders: Sequence[str] = (),
    stats: Stats | None = None,
) -> Listing:
    """Make an item of each file.

    Args:
        root: the source's folder.
        paths: of the raw files, relative to it.
        format_: name of the reader of the raw files.
        allow_empty_labels: take files that lie in no class folder although others do.
        label_from: which folder is the class; None takes the parent, and tells where the top folder would be another.
        split_folders: top folders that are splits, and no classes.
        stats: size and time of change of each file: int64, shape (n, 2).

    Raises:
        SourceError: two files of one ID, files without a class beside files with one, or a class name that cannot be.
    """
    ids = column_of_paths(path[: path.rfind(".")] for path in paths)  # each has the ending of a raw file
    bad = name_problems(ids)
    failures = [_failure(paths[position]) for position in bad]
    good = np.delete(np.arange(len(paths)), list(bad))
    columns = [ids, column_of_paths(paths), column_of_paths(path.rpartition("/")[0] for path in paths).dictionary_encode()]
    ids, sources, folders = (column.take(number_array(good)) if bad else column for column in columns)
    like_splits = [] if split_folders else _like_splits(folders)
    labels = mapped(folders, lambda folder: _class_of(folder, label_from or "parent", split_folders))
    sizes, times = (None, None) if stats is None else (stats[good, 0], stats[good, 1])
    items = items_table(ids, sources, labels, sizes=sizes, mtimes=times)
    del columns, ids, sources, labels
    check_distinct(items)
    distinct_labels = distinct(items["label"])
    labelled = any(distinct_labels)
    _check_labels(items, distinct_labels, labelled=labelled, allow_empty_labels=allow_empty_labels)
    if labelled:
        classes = classes_of(distinct_labels)
        note = (
            f"labels: name of the {label_from or 'parent'} folder, {counted(len(classes), 'class', 'classes')}: {shown(list(classes), 10)}"
        )
    else:
        note = "labels: none, as no file lies in a class folder"
    return Listing(
        format=format_,
        root=root,
        items=sorted_by_id(items),  # paths come sorted; without their endings they nearly are
        label_columns=("label",) if labelled else (),
        label_origin=(TOP_FOLDERS if label_from == "top" else PARENT_FOLDERS) if labelled else NO_LABELS,
        failures=failures,
        notes=[note, *([] if label_from or like_splits else _two_readings(folders, split_folders))],
        like_splits=like_splits,
    )


def _like_splits(folders: pa.ChunkedArray) -> list[str]:
    """Return the top folders, if there are several and all of them are called like splits."""
    tops = {folder.partition("/")[0] for folder in distinct(folders) if folder}
    return sorted(tops) if len(tops) > 1 and _LIKE_SPLITS.issuperset(map(str.casefold, tops)) else []


def _class_of(folder: str, label_from: LabelFrom, split_folders: Sequence[str]) -> str:
    """Return the class of the files in a folder: the last or the first component of its path, without that of a split."""
    top, _, rest = folder.partition("/")
    folder = rest if top in split_folders else folder
    return folder.partition("/")[0] if label_from == "top" else folder.rpartition("/")[2]


def _two_readings(folders: pa.ChunkedArray, split_folders: Sequence[str]) -> list[str]:
    """Say where the top folder would be another class than the parent."""
    files = value_counts(folders)
    readings = {folder: tuple(_class_of(folder, which, split_folders) for which in ("parent", "top")) for folder in files}
    count = sum(files[folder] for folder, (parent, top) in readings.items() if parent != top)
    if not count:
        return []
    parents, tops = (sorted({reading[which] for reading in readings.values() if reading[0] != reading[1]}) for which in (0, 1))
    by_top, by_parent = (f"{folder} folder ({shown(names, 3)})" for folder, names in (("top", tops), ("parent", parents)))
    note = f"labels: {counted(count, 'file')} of {len(folders):,} would have another class by the {by_top} than by the {by_parent}"
    return [f"{note}, which is taken; choose with --label-from top or --label-from parent"]


def _failure(path: str) -> Failure:
    """Return that a file's name can be no ID."""
    id_ = path[: path.rfind(".")]
    return Failure(id="", source=printable(path), stage="find", error=f"ID {printable(id_)!r} {name_problem(id_)}")


def _check_labels(items: pa.Table, labels: list[str], *, labelled: bool, allow_empty_labels: bool) -> None:
    several = sorted(label for label in labels if LABEL_SEPARATOR in label)
    if several:
        raise SourceError(f"class folders must not have {LABEL_SEPARATOR!r} in their name, as it stands between classes: {shown(several)}")
    if labelled and "" in labels and not allow_empty_labels:
        empty = strings(select(items, is_in(items["label"], {""}))["source"])
        raise SourceError(
            f"{counted(len(empty), 'file')} without a label, as they lie in no class folder while others do; "
            "move them into one, or pass --allow-empty-labels to keep them without a label",
            empty,
        )
