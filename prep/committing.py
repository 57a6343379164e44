"""The end of a build: rows, statistics and shards take the old ones' place, and what was done is summed up."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from manifests.joining import positions_among
from manifests.linecopy import old_rows
from manifests.manifest import Manifest
from manifests.metadata import Metadata
from manifests.schema import MANIFEST_NAME
from manifests.store import keep_rows
from manifests.strings import PackedStrings
from manifests.table import Table
from prep.executors import Workers
from prep.plan import packed
from prep.prepare import Prepared, none_usable
from prep.records import Failure
from prep.report import Reporter
from prep.rows import dataset_metadata, dataset_rows
from prep.shardmoments import ShardMoments
from prep.statistics import dataset_statistics
from prep.summary import BuildSummary
from prep.workarea import WorkArea
from prep.written import Written


def commit(
    prepared: Prepared,
    area: WorkArea,
    written: Written,
    failures: Sequence[Failure],
    *,
    workers: Workers,
    report: Reporter,
) -> BuildSummary:
    """Let the new shards and rows take the old ones' place, and sum up.

    Args:
        prepared: what was planned.
        area: where the new shards lie.
        written: what was built.
        failures: all raw items that have no row.
        workers: read the shards of whose values nothing is known.
        report: is told what changes.

    Raises:
        SourceError: not one item can be used, or a group would be in two splits.
        OutputError: the folder cannot be written.
    """
    plan = prepared.plan
    failures = sorted(failures, key=lambda failure: (failure.source, failure.id))
    if len(written) or plan.keep:
        table = dataset_rows(prepared, written, failures, report)
    elif plan.others_stay and prepared.old is not None:
        table = prepared.old.table
    else:
        raise none_usable(prepared.listing, failures)
    metadata = _metadata(prepared, area, table, written, failures, workers=workers, report=report)
    if prepared.recipe.format == "arrays" and metadata.array is not None and not metadata.array.is_fixed:
        report.note(f"arrays: {metadata.array}; a batch needs one shape and dtype")
    new_ids = written.ids(plan.to_build.ids)
    file = area.out / MANIFEST_NAME
    before = None if prepared.old is None else old_rows(prepared.old.table, file, prepared.old_stamp)
    sha256 = area.commit(table, metadata, failures, _in_order(new_ids), _lost_ids(prepared.old, table), before=before)
    keep_rows(table, file, sha256)
    gone = 0 if plan.others_stay else len(plan.gone_without(failures))
    rebuilt, moved = (_count_of(written, plan.to_build.ids, [record.id for record, _ in some]) for some in (plan.rebuild, plan.move))
    return BuildSummary(
        out=os.fspath(area.out),
        found=prepared.found,
        added=len(written) - rebuilt - moved,
        rebuilt=rebuilt,
        moved=moved,
        kept=len(plan.keep),
        failed=len(failures),
        gone=0 if prepared.prune else gone,
        removed=gone if prepared.prune else 0,
        failures=failures,
    )


def _metadata(
    prepared: Prepared,
    area: WorkArea,
    table: Table,
    written: Written,
    failures: Sequence[Failure],
    *,
    workers: Workers,
    report: Reporter,
) -> Metadata:
    """Return what `dataset.json` says, statistics included, and remember the moments that they are put together from."""
    metadata = dataset_metadata(prepared, table, failures)
    moments = ShardMoments(written, area.folder, area.out, workers)
    before = {} if prepared.old is None else prepared.old.metadata.statistics
    statistics = dataset_statistics(table, metadata, before, moments, report)
    moments.remember(table)
    return replace(metadata, statistics=statistics)


def _in_order(ids: PackedStrings) -> PackedStrings:
    return ids if ids.are_sorted() else ids.select(ids.order())


def _lost_ids(old: Manifest | None, table: Table) -> PackedStrings:
    """Return the IDs of rows that are there no more, in their order."""
    if old is None:
        return PackedStrings()
    ids = packed(old, "id")
    return _in_order(ids.select(np.flatnonzero(positions_among(ids, table.ids) < 0)))


def _count_of(written: Written, ids: PackedStrings, some: Sequence[str]) -> int:
    """Return how many of some records, of all that were to be built, are written."""
    is_written = np.zeros(len(ids), dtype=np.bool_)
    is_written[written.positions] = True
    return int(is_written[positions_among(PackedStrings(some), ids)].sum())
