"""What the source itself says of splits and groups: a column of the table, a folder, a part of the path."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from manifests.rows import arrow
from manifests.rows.buffers import mask_array, text
from manifests.rows.table import distinct, is_in, mapped, strings
from prep.errors import SourceError, UsageError
from prep.sources.items import COLUMN
from prep.splits.spec import SplitSpec
from prep.text import counted, printable, shown

if TYPE_CHECKING:
    import pyarrow as pa

_MAX_NAME = 200


def groups_of(items: pa.Table, spec: SplitSpec | None) -> pa.ChunkedArray | None:
    """Return each item's group, empty for one of which nothing says it; None where nothing says groups.

    Without `group_by` and `group_regex`, the table's own column `group` counts. `group_by` may also name the column `member`.

    Raises:
        UsageError: the items have no such column.
        SourceError: paths that the pattern does not match; all are listed.
    """
    if spec is not None and spec.group_regex is not None:
        return _groups_by_path(items, spec.group_regex)
    name = spec.group_by if spec is not None and spec.group_by else "group"
    if COLUMN + name in items.column_names:
        return mapped(items[COLUMN + name], str.strip)
    if name == "member" and name in items.column_names:
        return items[name]
    if spec is not None and spec.group_by:
        raise _no_column("--group-by", name)
    return None


def says_splits(items: pa.Table, spec: SplitSpec | None) -> bool:
    """Return whether a column of the source says the split of each item: then items of one file may be in several."""
    return COLUMN + "split" in items.column_names if spec is None else spec.column is not None


def file_groups(sources: pa.ChunkedArray, members: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the group of items of which nothing else says one: items of one container file are not to meet across splits.

    Args:
        sources: the file of each item.
        members: its name in the file, empty for a file that is itself the item.

    Returns:
        The file of each item of a container, empty for the others.
    """
    return arrow.pc.if_else(arrow.pc.equal(members, text("")), text(""), sources)


def _groups_by_path(items: pa.Table, pattern: str) -> pa.ChunkedArray:
    regex = re.compile(pattern)
    which: str | int = "group" if "group" in regex.groupindex else 1

    def group_of(source: str) -> str:
        match = regex.search(source)
        return "" if match is None else match[which] or ""

    groups = mapped(items["source"], group_of)
    unmatched = list(map(printable, strings(items["source"].filter(mask_array(is_in(groups, [""]))))))
    if unmatched:
        raise SourceError(
            f"{counted(len(unmatched), 'path')} of which the pattern of groups {pattern!r} finds no group; mend the pattern:", unmatched
        )
    return groups


def splits_given(items: pa.Table, spec: SplitSpec) -> pa.ChunkedArray:
    """Return each item's split as the table's column or the top folder says it.

    Raises:
        UsageError: the items have no such column.
        SourceError: items without a split, names that cannot be splits; all are listed.
    """
    if spec.folders:
        return _splits_by_folder(items, spec.folders)
    name = str(spec.column)
    if COLUMN + name not in items.column_names:
        raise _no_column("--split-column", name)
    splits = items[COLUMN + name]
    names = distinct(splits)
    is_blank = is_in(splits, [split for split in names if not split.strip()])
    empty = [f"ID {id_!r}" for id_ in strings(items["id"].filter(mask_array(is_blank)))]
    if empty:
        raise SourceError(f"{counted(len(empty), 'row')} without a split in column {name!r}; fill them in, or take the rows out:", empty)
    _check_names(name, sorted(names))
    return splits


def _splits_by_folder(items: pa.Table, folders: Sequence[str]) -> pa.ChunkedArray:
    splits = mapped(items["source"], lambda source: source.split("/", 1)[0] if "/" in source else "")
    outside = list(map(printable, strings(items["source"].filter(mask_array(~is_in(splits, folders))))))
    if outside:
        raise SourceError(
            f"{counted(len(outside), 'file')} in none of the folders {'/'.join(folders)}; move them there, or name their folders too:",
            outside,
        )
    there = set(distinct(splits))
    empty = [name for name in folders if name not in there]
    if empty:
        raise SourceError(f"no raw items in the folders {shown(empty)} that --split-from-folders names; mend the names or leave them out")
    return splits


def _check_names(column: str, names: Sequence[str]) -> None:
    bad = [printable(name) for name in names if name != name.strip() or not name.isprintable() or len(name) > _MAX_NAME]
    if bad:
        raise SourceError(f"column {column!r} has names that cannot be splits (spaces around them, control characters, or too long):", bad)
    alike: dict[str, list[str]] = defaultdict(list)
    for name in names:
        alike[name.casefold()].append(name)
    pairs = [" and ".join(map(repr, same)) for same in alike.values() if len(same) > 1]
    if pairs:
        raise SourceError(f"column {column!r} has names of splits that differ only in capitals; write each in one way:", pairs)


def _no_column(flag: str, column: str) -> UsageError:
    return UsageError(
        f"{flag} {column!r}: the dataset's rows have no such column; expected a column of the table other than its IDs, paths and "
        "primary label, under a name that the manifest does not give a meaning of its own"
    )
