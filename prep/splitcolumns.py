"""The columns `group`, `split` and `fold` of a dataset's rows, and what `dataset.json` remembers of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from manifests.columns import ColumnBuilder, as_packed, blank_column, coded, names_in, packed_column, values_of
from manifests.counts import split_order
from manifests.joining import positions_among
from manifests.manifest import Manifest
from manifests.strings import Names, PackedStrings
from manifests.table import Table
from prep.assignment import assign_splits, check_enough_for_folds, check_groups_whole
from prep.given import groups_of, splits_given
from prep.keptvalues import KeptValues
from prep.labels import are_measurements
from prep.owners import owners_of
from prep.plan import packed
from prep.records import Failure, Record, Records
from prep.report import Reporter
from prep.sampleids import record_id_of
from prep.splits import SplitSpec, check_held_out, spec_differences
from prep.text import counted, shown

_BLOCK = 65_536

ABSENT = "absent"
"""Key under `splits` in dataset.json: IDs that have no row as their raw item fails, and the split they keep."""

ABSENT_KEYS = (ABSENT, "absent_folds", "absent_groups")
"""Likewise, with the fold that they keep, and the group that they belong to."""


@dataclass(frozen=True, kw_only=True)
class _Before:
    """What the rows that were there had, those included that failed since; each empty if it is not to stay.

    Attributes:
        splits: ID -> split.
        folds: ID -> fold.
        groups: ID -> group.
    """

    splits: KeptValues = field(default_factory=KeptValues.nothing)
    folds: KeptValues = field(default_factory=KeptValues.nothing)
    groups: KeptValues = field(default_factory=KeptValues.nothing)

    @classmethod
    def of(cls, old: Manifest | None, spec: SplitSpec) -> _Before:
        if old is None:
            return cls()
        stored = SplitSpec.from_dict(old.metadata.splits)
        columns = {"split": spec.draws_as(stored), "fold": spec.folds_as(stored), "group": True}
        found: list[KeptValues] = []
        for (column, stays), key in zip(columns.items(), ABSENT_KEYS, strict=True):
            absent = old.metadata.splits.get(key, {})
            if not stays or column not in old.table:
                found.append(KeptValues.nothing())
                continue
            found.append(KeptValues(packed(old, "id"), old.table.column(column), absent if isinstance(absent, dict) else {}))
        return cls(splits=found[0], folds=found[1], groups=found[2])

    @cached_property
    def have_groups(self) -> bool:
        """Whether any of them had a group."""
        return any(group for _, group in self.groups.pairs())

    def of_groups(self, kept: KeptValues, ids: Names) -> dict[str, str]:
        """Return group -> what its members keep, of groups whose members have no row now."""
        if not self.have_groups:
            return {}
        there = set(ids)
        return {self.groups.get(id_): name for id_, name in kept.pairs() if id_ not in there and self.groups.get(id_)}


def check_given(records: Sequence[Record], spec: SplitSpec | None) -> None:
    """Find out what of the source contradicts the spec, before anything is built.

    Raises:
        UsageError: a column that is not there.
        SourceError: records that have no group or split although each must have one.
    """
    if spec is None:
        return
    packed_records = Records.of(records)
    groups_of(packed_records, spec)
    if spec.column or spec.folders:
        splits = splits_given(packed_records, spec)
        if spec.folds is not None:
            check_held_out(sorted(coded(splits).distinct))


def assign_split_columns(table: Table, spec: SplitSpec, old: Manifest | None, report: Reporter, records: Sequence[Record]) -> Table:
    """Return the rows with `group`, `split` and `fold` filled; they keep what they had unless shares, seed or folds are others now.

    Args:
        table: the manifest's rows.
        spec: what is asked for.
        old: the dataset that is there, or None.
        report: is told where splits change.
        records: the source's, those included that have no row.

    Raises:
        UsageError: a column that is not there.
        SourceError: a group that would be in two splits or folds, or fewer groups than folds.
    """
    before = _Before.of(old, spec)
    ids = names_in(table.column("id"))
    _tell_changes(old, spec, before, report)
    groups = _groups(table, spec, before, report, records)
    if any(groups) or spec.group_by or spec.group_regex:
        table = table.with_columns({"group": packed_column(groups)})
    labels = table.column("label") if "label" in table else None
    labelled = labels is not None and not are_measurements(coded(labels).distinct)
    strata = values_of(labels) if labels is not None and labelled else [""] * len(ids)
    splits: Sequence[str] | None = None
    if spec.fractions:
        splits = assign_splits(ids, strata, spec, before.splits, groups=groups, kept_groups=before.of_groups(before.splits, ids))
    elif spec.assigns:
        splits = _given(table, spec, old, records)
        _check_groups(splits, groups)
    if splits is not None:
        table = table.with_columns({"split": packed_column(splits)})
    if spec.folds is not None:
        table = table.with_columns({"fold": packed_column(_folds(table, strata, groups, spec, before))})
    return table


def remembered(
    spec: SplitSpec, table: Table, old: Manifest | None, failures: Sequence[Failure], records: Sequence[Record] | None = None
) -> dict[str, Any]:
    """Return what `dataset.json` says of splits; failed items that had a split before are remembered with it.

    Args:
        spec: what is asked for.
        table: the manifest's rows.
        old: the dataset that is there, or None.
        failures: raw items without a row.
        records: the source's; an item that failed and is gone since is remembered like a row of which it is gone. None forgets it.
    """
    raw = spec.as_dict()
    if spec.assigns and not spec.fractions:
        raw = {"names": list(split_order(coded(table.column("split")).distinct, spec.folders)), **raw}
    gone = set() if records is None else _gone_absent(old, Records.of(records))
    if not failures and not gone:
        return raw
    before = _Before.of(old, spec)
    has_failed = _failing(failures, old)
    for key, values in zip(ABSENT_KEYS, (before.splits, before.folds, before.groups), strict=True):
        absent = {id_: value for id_, value in values.pairs() if value and (id_ in gone or has_failed(id_))}
        raw |= {key: dict(sorted(absent.items()))} if absent else {}
    return raw


def _gone_absent(old: Manifest | None, records: Records) -> set[str]:
    """Return the IDs that were remembered without a row and whose raw item the source does not have."""
    stored = {} if old is None else old.metadata.splits
    known = sorted({id_ for key in ABSENT_KEYS if isinstance(stored.get(key), dict) for id_ in stored[key]})
    if not known:
        return set()
    names = sorted({*known, *map(record_id_of, known)})
    at = positions_among(PackedStrings(names), records.ids).tolist()
    there = {name for name, position in zip(names, at, strict=True) if position >= 0}
    return {id_ for id_ in known if there.isdisjoint({id_, record_id_of(id_)})}


def _failing(failures: Sequence[Failure], old: Manifest | None) -> Callable[[str], bool]:
    """Return a function that says whether the raw item of a row fails: of one that was there, or of one that had failed before."""
    failed = {failure.id: failure.source for failure in failures}
    sources: dict[str, str] = {}
    if old is not None and "source" in old.table:
        sources = dict(zip(old.ids, values_of(old.table.column("source")), strict=True))

    def has_failed(id_: str) -> bool:
        record = record_id_of(id_)
        return id_ in failed or (record in failed and sources.get(id_, failed[record]) == failed[record])

    return has_failed


def _tell_changes(old: Manifest | None, spec: SplitSpec, before: _Before, report: Reporter) -> None:
    if old is None:
        return
    stored = SplitSpec.from_dict(old.metadata.splits)
    changes = "; ".join(spec_differences(stored, spec))
    if spec.fractions and "split" in old.table and not before.splits:
        report.note(f"splits: other shares or seed than before, so every ID is assigned anew ({changes})")
    elif changes and stored is not None:
        report.note(f"splits: changed since the last build: {changes}")
    if spec.folds is not None and "fold" in old.table and not before.folds:
        report.note("folds: other than before, or of other splits, so every ID's fold is drawn anew")


def _groups(table: Table, spec: SplitSpec, before: _Before, report: Reporter, records: Sequence[Record]) -> list[str]:
    """Return each row's group; samples of one record that stands alone form one."""
    packed_records, ids = Records.of(records), names_in(table.column("id"))
    given = groups_of(packed_records, spec)
    if given is None:
        if not (spec.group_by or before.have_groups) and _are_records(ids, records):
            return [""] * len(ids)
        given = blank_column(len(packed_records))
    owners, builder = owners_of(table, packed_records), ColumnBuilder()
    carried = table.column(spec.group_by) if spec.group_by and spec.group_by in table else blank_column(len(table))
    for start in range(0, len(table), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(table)))
        of_records = owners[rows[owners[rows] >= 0]]
        records_groups = values_of(given.select(of_records))
        theirs = iter(zip(packed_records.ids.take(of_records), records_groups, strict=True))
        block = []
        for id_, own, owner in zip(values_of(table.column("id").select(rows)), values_of(carried.select(rows)), owners[rows], strict=True):
            if owner < 0:  # its raw item is gone
                block.append(own.strip() or before.groups.get(id_))
            else:
                record, group = next(theirs)
                block.append(group or (record if record != id_ else ""))
        builder.add(block)
    groups = values_of(builder.column())
    alone = [id_ for id_, group in zip(ids, groups, strict=True) if not group]
    if alone and (spec.group_by or spec.group_regex):
        report.note(f"groups: {counted(len(alone), 'ID')} without one, each of which stands alone: {shown(alone, 3)}")
    return groups


def _are_records(ids: Names, records: Sequence[Record]) -> bool:
    """Return whether each row is a record's own, and no one of several samples."""
    packed = ids if isinstance(ids, PackedStrings) else PackedStrings(ids)
    return bool((positions_among(packed, Records.of(records).ids) >= 0).all())


def _given(table: Table, spec: SplitSpec, old: Manifest | None, records: Sequence[Record]) -> list[str]:
    """Return each row's split as the source says it; a row whose raw item is gone has the one that it had."""
    packed_records = Records.of(records)
    given, owners = splits_given(packed_records, spec), owners_of(table, packed_records)
    splits = np.full(len(table), "", dtype=object)
    splits[owners >= 0] = values_of(given.select(owners[owners >= 0]))
    gone = np.flatnonzero(owners < 0)
    if len(gone) and old is not None and "split" in old.table:
        at = positions_among(as_packed(table.column("id")).select(gone), packed(old, "id"))
        splits[gone[at >= 0]] = values_of(old.table.column("split").select(at[at >= 0]))
    return list(splits)


def _check_groups(splits: Sequence[str], groups: Sequence[str]) -> None:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for group, split in zip(groups, splits, strict=True):
        if group and split:
            found[group][split] += 1
    check_groups_whole(found, "The splits are those of the source: mend them there, or leave the groups out")


def _folds(table: Table, strata: Sequence[str], groups: Sequence[str], spec: SplitSpec, before: _Before) -> list[str]:
    """Draw folds of what is not held out, as splits of equal shares; what is held out has none."""
    ids = values_of(table.column("id"))
    splits = values_of(table.column("split")) if spec.assigns else [""] * len(ids)
    names = sorted({name for name in splits if name})
    held_out = check_held_out(list(spec.fractions) or names) if spec.assigns else set()
    rows = [position for position, split in enumerate(splits) if split not in held_out]
    count = int(spec.folds or 0)
    check_enough_for_folds([f"g{groups[row]}" if groups[row] else f"i{ids[row]}" for row in rows], count)
    shares = SplitSpec(fractions={str(fold): Fraction(1, count) for fold in range(count)}, seed=spec.seed)
    drawn = assign_splits(
        [ids[row] for row in rows],
        [strata[row] for row in rows],
        shares,
        before.folds,
        groups=[groups[row] for row in rows],
        kept_groups=before.of_groups(before.folds, ids),
    )
    folds = [""] * len(ids)
    for row, fold in zip(rows, drawn, strict=True):
        folds[row] = fold
    return folds
