"""The new manifest's rows and dataset.json, from what was written and what stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from manifests.counts import split_order
from manifests.manifest import Manifest
from manifests.metadata import Metadata, common_array
from manifests.names import default_path
from prep.labels import are_measurements, label_specs
from prep.prepare import Prepared
from prep.records import Failure, Record
from prep.report import Reporter
from prep.shards import WrittenShard
from prep.splits import SplitSpec, assign_splits
from prep.text import counted, shown

_ABSENT = "absent"
"""Key under `splits` in dataset.json: IDs that have no row as their raw item fails, and the split they keep."""


def dataset_rows(prepared: Prepared, written: Mapping[str, WrittenShard], failures: Sequence[Failure], report: Reporter) -> pd.DataFrame:
    """Return the manifest's rows, in any order.

    Args:
        prepared: what was planned.
        written: ID -> what its new shard holds; that of the others is in the old rows.
        failures: raw items without a row.
        report: is told where splits change.
    """
    plan, old = prepared.plan, prepared.old
    _tell_lost_rows(old, failures, report)
    old_rows = {} if old is None else {row["id"]: row for row in old.frame.to_dict("records")}
    done = [record for record in plan.to_build if record.id in written] + list(plan.keep)
    rows = [_row(record, written.get(record.id), plan.fingerprints[record.id], old_rows.get(record.id, {})) for record in done]
    if not prepared.prune:
        rows += [{str(key): value for key, value in old_rows[id_].items()} for id_ in plan.gone_without(failures)]
    frame = pd.DataFrame(rows, dtype=str).fillna("")
    if not frame["label"].any():
        frame = frame.drop(columns="label")
    if prepared.splits is not None:
        if any("split" in record.columns for record in done):
            report.note("not kept: the table's column 'split', as --split assigns new ones")
        assign_split_column(frame, prepared.splits, old, report)
    return frame


def dataset_metadata(prepared: Prepared, frame: pd.DataFrame, failures: Sequence[Failure]) -> Metadata:
    """Return what `dataset.json` says of the rows; failed items that had a split before are remembered with it."""
    splits: dict[str, Any] = {}
    if prepared.splits is not None:
        splits = prepared.splits.as_dict()
        before = _splits_before(prepared.old, prepared.splits)
        absent = {failure.id: before[failure.id] for failure in failures if failure.id in before}
        splits |= {_ABSENT: dict(sorted(absent.items()))} if absent else {}
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


def assign_split_column(frame: pd.DataFrame, spec: SplitSpec, old: Manifest | None, report: Reporter) -> None:
    """Fill the column `split`; rows keep the one they had unless the shares or the seed are others now."""
    kept = _splits_before(old, spec)
    if old is not None and "split" in old.frame.columns and not kept:
        report.note("splits: other shares or seed than before, so every ID is assigned anew")
    labelled = "label" in frame.columns and not are_measurements(frame["label"])
    strata = list(frame["label"]) if labelled else [""] * len(frame)
    frame["split"] = assign_splits(list(frame["id"]), strata, spec, kept)


def _splits_before(old: Manifest | None, spec: SplitSpec) -> dict[str, str]:
    """Return ID -> split of the dataset that was there, failed items included; empty if it was split by another spec."""
    if old is None or "split" not in old.frame.columns or SplitSpec.from_dict(old.metadata.splits) != spec:
        return {}
    absent = old.metadata.splits.get(_ABSENT, {})
    return {**(absent if isinstance(absent, dict) else {}), **dict(zip(old.frame["id"], old.frame["split"], strict=True))}


def _tell_lost_rows(old: Manifest | None, failures: Sequence[Failure], report: Reporter) -> None:
    lost = sorted(failure.id for failure in failures if old is not None and failure.id in old)
    if lost:
        report.note(
            f"dropped: {counted(len(lost), 'row')} whose raw item fails now: {shown(lost)}; "
            "the next build takes them in again, each into the split it had, once it can read them"
        )


def _row(record: Record, shard: WrittenShard | None, fingerprint: str, old: Mapping[Any, Any]) -> dict[str, str]:
    """Return a record's row; what only the shard's bytes tell comes from the shard or, if it was kept, the old row."""
    known = {name: old[name] for name in ("shape", "dtype", "sha256")} if shard is None else vars(shard)
    return {
        "id": record.id,
        "label": record.label,
        **record.columns,
        "path": default_path(record.id),
        **known,
        "source": record.source,
        "fingerprint": fingerprint,
    }
