"""The new manifest's rows and dataset.json, from what was written and what stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from manifests.columns import Column, ColumnBuilder, blank_column, coded, is_in, joined_column, values_of
from manifests.counts import split_order
from manifests.joining import are_equal, positions_among
from manifests.manifest import Manifest
from manifests.metadata import Metadata, common_array
from manifests.strings import PackedStrings, are_all
from manifests.table import Table, table_of_columns
from prep.digests import hex_column
from prep.fingerprints import Prints
from prep.labels import label_specs
from prep.plan import packed
from prep.prepare import Prepared
from prep.records import Failure, Records
from prep.report import Reporter
from prep.splitcolumns import assign_split_columns, remembered
from prep.text import counted, shown
from prep.written import Written

_OF_SHARDS = ("shape", "dtype", "sha256")
_BLOCK = 65_536


@dataclass(frozen=True)
class _Rows:
    """Some of the rows.

    Attributes:
        ids: theirs.
        own: the columns that are of the shards, by name.
        others: gives the other columns, by name.
    """

    ids: PackedStrings
    own: dict[str, Column]
    others: Callable[[], dict[str, Column]]


def dataset_rows(prepared: Prepared, written: Written, failures: Sequence[Failure], report: Reporter) -> Table:
    """Return the manifest's rows, in the order of their IDs.

    Args:
        prepared: what was planned.
        written: what the new shards hold; what the others hold is in the old rows.
        failures: raw items without a row.
        report: is told where splits change.

    Raises:
        SourceError: a group that would be in two splits or folds.
    """
    plan, old = prepared.plan, prepared.old
    _tell_lost_rows(old, failures, report)
    table = _sorted_table(list(_all_rows(prepared, written, failures)), plan.records, plan.all_prints)
    if not any(coded(table.column("label")).distinct):
        table = table.without("label")
    if prepared.splits is not None:
        if prepared.splits.fractions and "split" in plan.records.columns:
            report.note("not kept: the table's column 'split', as --split assigns new ones")
        table = assign_split_columns(table, prepared.splits, old, report, prepared.listing.records)
    return table


def _all_rows(prepared: Prepared, written: Written, failures: Sequence[Failure]) -> Iterator[_Rows]:
    """Yield the rows of what was written, of what stays, and of what is gone from the source."""
    new = _new_rows(prepared.plan.to_build, prepared.plan.prints, written)
    yield new
    if prepared.old is not None:
        yield _kept_rows(prepared.old, prepared)
        if not prepared.prune:
            yield _gone_rows(prepared.old, prepared, failures, new.ids)


def _new_rows(records: Records, prints: Prints, written: Written) -> _Rows:
    """Return the rows of what was written."""
    ids, at = written.ids(records.ids), written.owners()

    def others() -> dict[str, Column]:
        return _of_records(ids, records.select(at), prints if are_all(at, len(records)) else prints[at])

    return _Rows(ids, {"shape": written.shapes, "dtype": written.dtypes, "sha256": hex_column(written.sha256s)}, others)


def _kept_rows(old: Manifest, prepared: Prepared) -> _Rows:
    """Return the rows of what stays, with what the source says of it now."""
    plan, kept = prepared.plan, prepared.plan.kept
    ids = packed(old, "id").select(kept.rows)

    def others() -> dict[str, Column]:
        return _of_records(ids, plan.records.select(kept.owners), plan.all_prints[kept.owners])

    return _Rows(ids, {name: old.table.column(name).select(kept.rows) for name in _OF_SHARDS}, others)


def _gone_rows(old: Manifest, prepared: Prepared, failures: Sequence[Failure], taken: PackedStrings) -> _Rows:
    """Return the rows whose raw item is gone, as they are, unless an ID is another item's by now."""
    rows = prepared.plan.gone_rows
    ids = packed(old, "id").select(rows)
    stay = np.flatnonzero(is_in(ids, prepared.plan.gone_without(failures)) & (positions_among(ids, taken) < 0))
    columns = {name: old.table.column(name).select(rows[stay]) for name in old.table.columns if name not in {"id", "path"}}
    own = {name: columns.pop(name) for name in _OF_SHARDS}
    return _Rows(ids.select(stay), own, lambda: columns)


def _of_records(ids: PackedStrings, records: Records, prints: Prints) -> dict[str, Column]:
    """Return the columns that come from the source.

    Args:
        ids: of the rows.
        records: of each row's own.
        prints: likewise.
    """
    columns: dict[str, Column] = {"label": records.labels, **records.columns}
    groups = _groups(ids, records)
    if groups is not None:
        columns["group"] = groups
    return columns | {"source": records.sources, "fingerprint": PackedStrings.of_arrays({"items": prints})}


def _groups(ids: PackedStrings, records: Records) -> Column | None:
    """Return the groups of samples: several of one raw item are one unless another is given, for they are not to meet across splits."""
    if are_equal(ids, records.ids):
        return None
    builder = ColumnBuilder()
    for start in range(0, len(ids), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(ids)))
        pairs = zip(ids.take(rows), records.ids.take(rows), strict=True)
        given = values_of(records.columns["group"].select(rows)) if "group" in records.columns else [""] * len(rows)
        builder.add([group or ("" if id_ == record else record) for group, (id_, record) in zip(given, pairs, strict=True)])
    return builder.column()


def _sorted_table(parts: list[_Rows], records: Records, prints: Prints) -> Table:
    """Return all rows in the order of their IDs; column by column, of which each goes from the parts as it is taken.

    Args:
        parts: the rows; they are gone afterwards.
        records: all that have rows or might; if each has one, what the source says of them is held once.
        prints: of the records.
    """
    parts[:] = [part for part in parts if len(part.ids)] or parts[:1]
    counts = [len(part.ids) for part in parts]
    ids = parts[0].ids if len(parts) == 1 else PackedStrings.joined([part.ids for part in parts])
    order = None if ids.are_sorted() else ids.order()
    ids = ids if order is None else ids.select(order)
    columns: dict[str, Column] = {}
    are_all_records = are_equal(ids, records.ids)
    if are_all_records:
        ids, columns = records.ids, _of_records(records.ids, records, prints)
    left = [part.own if are_all_records else {**part.others(), **part.own} for part in parts]
    parts.clear()
    for name in dict.fromkeys(name for part in left for name in part):
        pieces = (part.pop(name) if name in part else blank_column(count) for part, count in zip(left, counts, strict=True))
        columns[name] = joined_column(list(pieces), order)
    return table_of_columns(ids, columns)


def dataset_metadata(prepared: Prepared, table: Table, failures: Sequence[Failure]) -> Metadata:
    """Return what `dataset.json` says of the rows; failed items that had a split before are remembered with it."""
    splits: dict[str, Any] = {}
    if prepared.splits is not None:
        records = None if prepared.prune else prepared.listing.records
        splits = remembered(prepared.splits, table, prepared.old, failures, records)
    elif "split" in table:
        splits = {"names": list(split_order(coded(table.column("split")).distinct))}
    recipe, old = prepared.recipe, prepared.old
    columns = {name: table.column(name) for name in prepared.listing.label_columns if name in table}
    return Metadata(
        array=common_array(list(coded(table.column("shape")).distinct), list(coded(table.column("dtype")).distinct)),
        labels=label_specs(columns, old.metadata.labels if old else {}),
        recipe={
            "format": recipe.format,
            "labels": prepared.listing.label_origin,
            "options": prepared.shards.as_dict(),
            "recipe": recipe.as_dict(),
            "digest": recipe.digest,
        },
        splits=splits,
    )


def _tell_lost_rows(old: Manifest | None, failures: Sequence[Failure], report: Reporter) -> None:
    lost = sorted(failure.id for failure in failures if old is not None and failure.id in old)
    if lost:
        report.note(
            f"dropped: {counted(len(lost), 'row')} whose raw item fails now: {shown(lost)}; "
            "the next build takes them in again, each into the split it had, once it can read them"
        )
