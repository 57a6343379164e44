"""What the source itself says of splits and groups: a column of the table, a folder, a part of the path."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from manifests.columns import values_of
from prep.errors import SourceError, UsageError
from prep.records import Record, Records
from prep.splits import SplitSpec
from prep.text import counted, printable, shown

_MAX_NAME = 200


def groups_of(records: Sequence[Record], spec: SplitSpec | None) -> dict[str, str]:
    """Return record's ID -> group; empty for a record that stands alone, and no entry at all where nothing says groups.

    Without `group_by` and `group_regex`, the table's own column `group` counts.

    Raises:
        UsageError: the records have no such column.
        SourceError: paths that the pattern does not match; all are listed.
    """
    if spec is not None and spec.group_regex is not None:
        return _groups_by_path(records, spec.group_regex)
    column = spec.group_by if spec is not None and spec.group_by else "group"
    packed = Records.of(records)
    if column not in packed.columns:
        if spec is not None and spec.group_by:
            raise _no_column("--group-by", column)
        return {}
    return {id_: group.strip() for id_, group in zip(packed.ids, values_of(packed.columns[column]), strict=True)}


def _groups_by_path(records: Sequence[Record], pattern: str) -> dict[str, str]:
    regex = re.compile(pattern)
    which: str | int = "group" if "group" in regex.groupindex else 1
    matches = [(record, regex.search(record.source)) for record in records]
    groups = {record.id: match[which] for record, match in matches if match is not None and match[which]}
    unmatched = [printable(record.source) for record, _ in matches if record.id not in groups]
    if unmatched:
        raise SourceError(
            f"{counted(len(unmatched), 'path')} of which the pattern of groups {pattern!r} finds no group; mend the pattern:", unmatched
        )
    return groups


def splits_given(records: Sequence[Record], spec: SplitSpec) -> dict[str, str]:
    """Return record's ID -> split as the table's column or the top folder says it.

    Raises:
        UsageError: the records have no such column.
        SourceError: records without a split, names that cannot be splits; all are listed.
    """
    if spec.folders:
        return _splits_by_folder(records, spec.folders)
    column = str(spec.column)
    if not any(column in record.columns for record in records):
        raise _no_column("--split-column", column)
    splits = {record.id: record.columns.get(column, "") for record in records}
    empty = [f"ID {id_!r}" for id_, name in splits.items() if not name.strip()]
    if empty:
        raise SourceError(f"{counted(len(empty), 'row')} without a split in column {column!r}; fill them in, or take the rows out:", empty)
    _check_names(column, sorted(set(splits.values())))
    return splits


def _splits_by_folder(records: Sequence[Record], folders: Sequence[str]) -> dict[str, str]:
    splits = {record.id: record.source.split("/", 1)[0] if "/" in record.source else "" for record in records}
    outside = [printable(record.source) for record in records if splits[record.id] not in folders]
    if outside:
        raise SourceError(
            f"{counted(len(outside), 'file')} in none of the folders {'/'.join(folders)}; move them there, or name their folders too:",
            outside,
        )
    empty = [name for name in folders if name not in set(splits.values())]
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
