"""The new manifest's rows and dataset.json, from what was written and what stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from manifests.counts import split_order
from manifests.manifest import Manifest
from manifests.metadata import Metadata, common_array
from manifests.names import default_path
from prep.labels import label_specs
from prep.prepare import Prepared
from prep.records import Failure, Record
from prep.report import Reporter
from prep.shards import WrittenShard
from prep.splitcolumns import assign_split_columns, remembered
from prep.text import counted, shown


def dataset_rows(
    prepared: Prepared, written: Mapping[str, Sequence[WrittenShard]], failures: Sequence[Failure], report: Reporter
) -> pd.DataFrame:
    """Return the manifest's rows, in any order.

    Args:
        prepared: what was planned.
        written: record's ID -> what the new shards of its samples hold; that of the others is in the old rows.
        failures: raw items without a row.
        report: is told where splits change.

    Raises:
        SourceError: a group that would be in two splits or folds.
    """
    plan, old = prepared.plan, prepared.old
    _tell_lost_rows(old, failures, report)
    old_rows = {} if old is None else {row["id"]: row for row in old.frame.to_dict("records")}
    done = [record for record in plan.to_build if record.id in written] + list(plan.keep)
    rows = [
        _row(record, known, plan.fingerprints[record.id])
        for record in done
        for known in (map(vars, written[record.id]) if record.id in written else [old_rows[id_] for id_ in plan.rows[record.id]])
    ]
    if not prepared.prune:
        there = {row["id"] for row in rows}
        gone = [id_ for id_ in plan.gone_without(failures) if id_ not in there]
        rows += [{str(key): value for key, value in old_rows[id_].items()} for id_ in gone]
    frame = pd.DataFrame(rows, dtype=str).fillna("")
    if not frame["label"].any():
        frame = frame.drop(columns="label")
    if prepared.splits is not None:
        if prepared.splits.fractions and any("split" in record.columns for record in done):
            report.note("not kept: the table's column 'split', as --split assigns new ones")
        assign_split_columns(frame, prepared.splits, old, report, prepared.listing.records)
    return frame


def dataset_metadata(prepared: Prepared, frame: pd.DataFrame, failures: Sequence[Failure]) -> Metadata:
    """Return what `dataset.json` says of the rows; failed items that had a split before are remembered with it."""
    splits: dict[str, Any] = {}
    if prepared.splits is not None:
        splits = remembered(prepared.splits, frame, prepared.old, failures)
    elif "split" in frame.columns:
        splits = {"names": list(split_order(frame["split"].unique()))}
    recipe, old = prepared.recipe, prepared.old
    columns = [column for column in prepared.listing.label_columns if column in frame.columns]
    return Metadata(
        array=common_array(list(frame["shape"].unique()), list(frame["dtype"].unique())),
        labels=label_specs(frame, columns, old.metadata.labels if old else {}),
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


def _row(record: Record, known: Mapping[Any, Any], fingerprint: str) -> dict[str, str]:
    """Return the row of one of a record's samples.

    Args:
        record: the raw item.
        known: what only the shard's bytes tell: from the shard or, if it was kept, the old row.
        fingerprint: of the raw item and the recipe.
    """
    return {
        "id": known["id"],
        "label": record.label,
        # Samples of one raw item are not to meet across splits.
        **record.columns,
        **_group(record, known["id"]),
        "path": default_path(known["id"]),
        **{name: known[name] for name in ("shape", "dtype", "sha256")},
        "source": record.source,
        "fingerprint": fingerprint,
    }


def _group(record: Record, sample_id: str) -> dict[str, str]:
    """Return the group of one of several samples: its raw item, unless a group is given, for they are not to meet across splits."""
    return {} if sample_id == record.id or record.columns.get("group") else {"group": record.id}
