"""The new manifest's rows and dataset.json, from what was written and what stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

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


class _Rows(NamedTuple):
    """Some of the rows: their IDs, and the other columns by name."""

    ids: PackedStrings
    columns: dict[str, Column]


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
    parts = [_new_rows(plan.to_build, plan.prints, written)]
    if old is not None:
        parts.append(_kept_rows(old, prepared))
        if not prepared.prune:
            parts.append(_gone_rows(old, prepared, failures, parts[0].ids))
    is_given = any("split" in part.columns for part in parts[:2] if len(part.ids))
    table = _sorted_table(parts)
    if not any(coded(table.column("label")).distinct):
        table = table.without("label")
    if prepared.splits is not None:
        if prepared.splits.fractions and is_given:
            report.note("not kept: the table's column 'split', as --split assigns new ones")
        table = assign_split_columns(table, prepared.splits, old, report, prepared.listing.records)
    return table


def _new_rows(records: Records, prints: Prints, written: Written) -> _Rows:
    """Return the rows of what was written."""
    ids, at = written.ids(records.ids), written.owners()
    columns = _of_records(ids, records.select(at), prints if are_all(at, len(records)) else prints[at])
    return _Rows(ids, columns | {"shape": written.shapes, "dtype": written.dtypes, "sha256": hex_column(written.sha256s)})


def _kept_rows(old: Manifest, prepared: Prepared) -> _Rows:
    """Return the rows of what stays, with what the source says of it now."""
    kept = prepared.plan.kept
    ids = packed(old, "id").select(kept.rows)
    return _Rows(ids, _of_records(ids, kept.records, kept.prints) | {name: old.table.column(name).select(kept.rows) for name in _OF_SHARDS})


def _gone_rows(old: Manifest, prepared: Prepared, failures: Sequence[Failure], taken: PackedStrings) -> _Rows:
    """Return the rows whose raw item is gone, as they are, unless an ID is another item's by now."""
    rows = prepared.plan.gone_rows
    ids = packed(old, "id").select(rows)
    stay = np.flatnonzero(is_in(ids, prepared.plan.gone_without(failures)) & (positions_among(ids, taken) < 0))
    others = [name for name in old.table.columns if name not in {"id", "path"}]
    return _Rows(ids.select(stay), {name: old.table.column(name).select(rows[stay]) for name in others})


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


def _sorted_table(parts: Sequence[_Rows]) -> Table:
    """Return all rows in the order of their IDs; column by column, of which each goes from the parts as it is taken."""
    names = list(dict.fromkeys(name for part in parts if len(part.ids) for name in part.columns))
    parts = [part for part in parts if len(part.ids)] or list(parts[:1])
    ids = parts[0].ids if len(parts) == 1 else PackedStrings.joined([part.ids for part in parts])
    order = None if ids.are_sorted() else ids.order()
    ids = ids if order is None else ids.select(order)
    columns: dict[str, Column] = {}
    for name in names:
        column = joined_column([part.columns.pop(name) if name in part.columns else blank_column(len(part.ids)) for part in parts])
        columns[name] = column if order is None else column.select(order)
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
