"""The new manifest's rows and dataset.json, from what was written and what stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from manifests.describe.counts import split_order
from manifests.format.metadata import Metadata, common_array
from manifests.format.schema import array_column, array_names, is_array_column
from manifests.rows import arrow
from manifests.rows.buffers import (
    Positions,
    ascends,
    fixed,
    number_array,
    numbers,
    positions_of,
    string_array,
    text,
)
from manifests.rows.paths import default_paths
from manifests.rows.table import blank, distinct, is_in, rows_of, select, strings
from prep.build.commit.array_files import array_specs, further_columns
from prep.build.execute.array_columns import FIELDS
from prep.build.execute.journal import WRITTEN, sample_names
from prep.build.plan.labels import label_kind, label_specs
from prep.build.plan.prepare import Prepared
from prep.build.plan.row_owners import of_failed_files, owners_of
from prep.build.state.digests import hex_column
from prep.build.state.fingerprints import print_texts
from prep.progress.report import Reporter
from prep.sources.items import COLUMN, column_names
from prep.sources.listing import Failure
from prep.splits.columns import assign_split_columns, first_filled, remembered
from prep.splits.source_splits import file_groups, says_splits
from prep.text import counted, shown

if TYPE_CHECKING:
    import pyarrow as pa

_OF_SHARDS = ("id", "shape", "dtype", "sha256")


def dataset_rows(prepared: Prepared, written: pa.Table, failures: Sequence[Failure], report: Reporter) -> pa.Table:
    """Return the manifest's rows, in the order of their IDs.

    Args:
        prepared: what was planned.
        written: what the new shards hold; what the others hold is in the old rows.
        failures: raw items without a row.
        report: is told where splits change.

    Raises:
        SourceError: a group that would be in two splits or folds.
    """
    _tell_lost_rows(prepared, failures, report)
    rows = _all_rows(prepared, written, failures)
    rows = rows.append_column("path", default_paths(rows["id"]))
    if not any(distinct(rows["label"])):
        rows = rows.drop_columns("label")
    splits = prepared.splits
    if splits is not None:
        items, labels = prepared.listing.items, rows["label"] if "label" in rows.column_names else None
        if splits.fractions and COLUMN + "split" in items.column_names:
            report.note("not kept: the table's column 'split', as --split assigns new ones")
        known = None if prepared.old is None else prepared.old.metadata.labels.get("label")
        kind = None if labels is None else label_kind(labels, known, prepared.listing.label_kinds.get("label"))
        owners = owners_of(rows, items)
        rows = assign_split_columns(rows, splits, prepared.old, report, items, owners, stratify=kind == "class")
    return rows


def written_ids(due: pa.Table, written: pa.Table) -> pa.ChunkedArray:
    """Return the ID of each sample that was written, in its order.

    Args:
        due: the items that were to be built.
        written: as `prep.build.execute.journal.WRITTEN` has it, in the order of the items.
    """
    positions, samples = numbers(written["position"], np.int64), numbers(written["samples"], np.int32)
    items = due["id"] if _are_all(positions, len(due)) else due["id"].take(number_array(positions))
    if not samples.any():
        return items
    names: list[pa.Array] = []
    starts = np.flatnonzero(np.diff(positions, prepend=-1))
    for first in range(0, len(starts), arrow.ROWS_AT_ONCE):
        stop = starts[first + arrow.ROWS_AT_ONCE] if first + arrow.ROWS_AT_ONCE < len(starts) else len(positions)
        block = slice(starts[first], stop)
        names.append(string_array(sample_names(strings(items.slice(block.start, stop - block.start)), samples[block].tolist())))
    return arrow.pa.chunked_array(names, type=arrow.pa.large_string())


def _are_all(positions: Positions, count: int) -> bool:
    return len(positions) == count and bool((positions == np.arange(count)).all())


def _all_rows(prepared: Prepared, written: pa.Table, failures: Sequence[Failure]) -> pa.Table:
    """Return the rows of what was written, of what stays, and of what is gone from the source, in the order of their IDs."""
    plan, old = prepared.plan, prepared.old
    new_ids = written_ids(plan.to_build, written)
    new = {"id": new_ids, "shape": written["shape"], "dtype": written["dtype"], "sha256": hex_column(fixed(written["sha256"]))}
    parts = [arrow.pa.table(new | (further_columns(new_ids, written) if len(written.column_names) > len(WRITTEN) else {}))]
    at = [plan.due[numbers(written["position"], np.int64)]]
    others, item_ids = _of_items(plan.items), plan.items["id"]
    if old is not None:
        rows = old.table
        parts.append(_of_shards(rows).take(number_array(plan.kept_rows)))
        at.append(plan.owners[plan.kept_rows])
        if not prepared.prune:
            gone = rows.take(number_array(plan.gone(rows, failures)))
            gone = select(gone, positions_of(gone["id"], new_ids) < 0)  # unless an ID is another item's by now
            if len(gone):  # else columns that only they had are gone too
                parts.append(_of_shards(gone))
                at.append(np.arange(len(gone)) + len(others))
                item_ids = _in_order([item_ids, gone["id"]], None)
                others = _with_rows(
                    others, gone.drop_columns([name for name in gone.column_names if _is_of_shards(name, gone.column_names)])
                )
    # The columns of the shards first, each gone before the next one is made; then what the source says, if it must be put in another order.
    ids = arrow.pa.chunked_array([chunk for part in parts for chunk in part["id"].chunks], type=arrow.pa.large_string())
    order = None if ascends(ids) else number_array(numbers(arrow.pc.sort_indices(ids), np.uint64).astype(np.int64))
    names = [*_OF_SHARDS, *sorted({name for part in parts for name in part.column_names} - {*_OF_SHARDS})]
    columns = {name: _in_order([part[name] if name in part.column_names else blank(len(part)) for part in parts], order) for name in names}
    parts.clear()
    places = np.concatenate(at) if order is None else np.concatenate(at)[numbers(order, np.int64)]
    if not _are_all(places, len(others)):
        others, item_ids = others.take(number_array(places)), item_ids.take(number_array(places))
    for name in array_names(columns):
        if is_in(columns[array_column(name, "path")], [""]).all():  # no sample has it any more
            columns = {column: values for column, values in columns.items() if column.rpartition(".")[0] != name}
    columns |= {name: others[name] for name in others.column_names if name not in columns}
    if "member" in columns and not says_splits(plan.items, prepared.splits):
        files = file_groups(columns["source"], columns["member"])
        columns["group"] = first_filled([*([columns["group"]] if "group" in columns else []), files])
    if not columns["id"].equals(item_ids):
        columns["group"] = _groups(columns["id"], item_ids, columns.get("group"))
    return rows_of(columns)


def _of_shards(rows: pa.Table) -> pa.Table:
    """Return the columns of a manifest that tell of shards, without the paths of the main ones."""
    further = [array_column(name, field) for name in array_names(rows.column_names) for field in ("path", *FIELDS)]
    return rows.select([*_OF_SHARDS, *further])


def _is_of_shards(column: str, columns: Sequence[str]) -> bool:
    return column in {"path", *_OF_SHARDS} or (is_array_column(column) and column.rpartition(".")[0] in array_names(columns))


def _in_order(pieces: Sequence[pa.ChunkedArray], order: pa.Array | None) -> pa.ChunkedArray:
    """Return the pieces of a column as one, in an order."""
    if len({str(piece.type) for piece in pieces}) > 1:
        pieces = [piece.cast(arrow.pa.large_string()) for piece in pieces]
    column = arrow.pa.chunked_array([chunk for piece in pieces for chunk in piece.chunks], type=pieces[0].type)
    return column if order is None else column.take(order)


def _of_items(items: pa.Table) -> pa.Table:
    """Return the columns that come from the source."""
    columns = {"label": items["label"]} | {name: items[COLUMN + name] for name in column_names(items)}
    columns |= {name: items[name] for name in ("source", "member") if name in items.column_names}
    return arrow.pa.table(columns | {"fingerprint": print_texts(items["fingerprint"])})


def _with_rows(others: pa.Table, gone: pa.Table) -> pa.Table:
    """Return the columns that come from the source with rows behind them whose raw item is gone; a column that one lacks is empty there."""
    columns = {}
    for name in dict.fromkeys([*others.column_names, *gone.column_names]):
        pieces = [table[name] if name in table.column_names else blank(len(table)) for table in (others, gone)]
        columns[name] = _in_order(pieces, None)
    return arrow.pa.table(columns)


def _groups(ids: pa.ChunkedArray, item_ids: pa.ChunkedArray, given: pa.ChunkedArray | None) -> pa.ChunkedArray:
    """Return the groups of samples: several of one raw item are one unless another is given, for they are not to meet across splits."""
    pc, empty = arrow.pc, text("")
    stems = pc.if_else(pc.equal(ids, item_ids), empty, item_ids)
    if given is None:
        return stems
    given = given.cast(arrow.pa.large_string())
    return pc.if_else(pc.equal(given, empty), stems, given)


def dataset_metadata(prepared: Prepared, rows: pa.Table, failures: Sequence[Failure]) -> Metadata:
    """Return what `dataset.json` says of the rows; failed items that had a split before are remembered with it."""
    splits: dict[str, Any] = {}
    if prepared.splits is not None:
        items = None if prepared.prune else prepared.listing.items
        splits = remembered(prepared.splits, rows, prepared.old, failures, items)
    elif "split" in rows.column_names:
        splits = {"names": list(split_order(distinct(rows["split"])))}
    recipe, old = prepared.recipe, prepared.old
    is_same_origin = old is not None and old.metadata.recipe.get("labels", "") == prepared.listing.label_origin
    return Metadata(
        array=common_array(distinct(rows["shape"]), distinct(rows["dtype"])),
        arrays=array_specs(rows) if array_names(rows.column_names) else {},
        labels=label_specs(rows, prepared.listing, old.metadata.labels if old and is_same_origin else {}),
        recipe={
            "format": recipe.format,
            "labels": prepared.listing.label_origin,
            **({"source": dict(prepared.given)} if prepared.given else {}),
            "options": prepared.shards.as_dict(),
            "recipe": recipe.as_dict(),
            "digest": recipe.digest,
        },
        splits=splits,
    )


def _tell_lost_rows(prepared: Prepared, failures: Sequence[Failure], report: Reporter) -> None:
    old = prepared.old
    lost = sorted(failure.id for failure in failures if old is not None and failure.id in old)
    if old is not None and not prepared.plan.others_stay:
        lost += strings(select(old.table, of_failed_files(old.table, failures))["id"])
    if lost:
        report.note(
            f"dropped: {counted(len(lost), 'row')} whose raw item fails now: {shown(lost)}; "
            "the next build takes them in again, each into the split it had, once it can read them"
        )
