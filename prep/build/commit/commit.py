"""The end of a build: rows, statistics and shards take the old ones' place, and what was done is summed up."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from manifests.format.schema import MANIFEST_NAME
from manifests.manifest import Manifest
from manifests.rows import arrow
from manifests.rows.buffers import ascends, mask_array, number_array, numbers, positions_of
from manifests.rows.table import select
from manifests.storage.store import keep_rows
from prep.build.commit.array_files import array_changes
from prep.build.commit.relabelled import relabelled_rows
from prep.build.commit.rows import dataset_metadata, dataset_rows, written_ids
from prep.build.commit.shard_moments import ShardMoments
from prep.build.commit.statistics import dataset_statistics
from prep.build.commit.summary import BuildSummary
from prep.build.execute.journal import Collected
from prep.build.plan.plan import ADD, MOVE, REBUILD
from prep.build.plan.prepare import Prepared, none_usable
from prep.build.stage.stage import WorkArea
from prep.parallel.executors import Workers
from prep.progress.report import Reporter
from prep.readers.reader import SurveyedReader
from prep.readers.registry import reader_of
from prep.sources.listing import Failure

if TYPE_CHECKING:
    import pyarrow as pa


def commit(
    prepared: Prepared,
    area: WorkArea,
    collected: Collected,
    failures: Sequence[Failure],
    *,
    workers: Workers,
    report: Reporter,
) -> BuildSummary:
    """Let the new shards and rows take the old ones' place, and sum up.

    Args:
        prepared: what was planned.
        area: where the new shards lie.
        collected: what was built; nothing is left there, as each of its columns goes with what is made of it.
        failures: all raw items that have no row.
        workers: read the shards of whose values nothing is known.
        report: is told what changes.

    Raises:
        SourceError: not one item can be used, or a group would be in two splits.
        OutputError: the folder cannot be written.
    """
    plan, old, written = prepared.plan, prepared.old, collected.taken()
    failures = sorted(failures, key=lambda failure: (failure.source, failure.id))
    if not len(written) and not len(plan.kept_rows):
        if not plan.others_stay or old is None:
            raise none_usable(prepared.listing, failures)
        rows = old.table
    else:
        rows = dataset_rows(prepared, written, failures, report)
    written = written.select(["position", "samples"])
    metadata = dataset_metadata(prepared, rows, failures)
    moments = ShardMoments(rows, area, workers, new_rows=len(written))
    before = {} if old is None else old.metadata.statistics
    metadata = replace(metadata, statistics=dataset_statistics(rows, metadata, before, moments, report))
    moments.keep()  # before the journal goes
    if not isinstance(reader_of(prepared.recipe.format), SurveyedReader) and metadata.array is not None and not metadata.array.is_fixed:
        report.note(f"arrays: {metadata.array}; a batch needs one shape and dtype")
    new_ids = _in_order(written_ids(plan.to_build, written))
    have_further = bool(metadata.arrays or (old is not None and old.arrays))
    arrays = array_changes(None if old is None else old.table, rows, new_ids) if have_further else {}
    sha256 = area.commit(rows, metadata, failures, new_ids, _lost_ids(old, rows), arrays=arrays)
    keep_rows(rows, area.out / MANIFEST_NAME, sha256)
    return _summary(prepared, area.out, rows, written, failures)


def _summary(prepared: Prepared, out: Path, rows: pa.Table, written: pa.Table, failures: Sequence[Failure]) -> BuildSummary:
    plan, old = prepared.plan, prepared.old
    gone = no_ids() if old is None or plan.others_stay else old.table["id"].take(number_array(plan.gone(old.table, failures)))
    new_ids = written_ids(plan.to_build, written)
    left = no_ids() if prepared.prune else gone.filter(mask_array(positions_of(gone, new_ids) < 0))
    is_written = np.zeros(len(plan.items), dtype=np.bool_)
    is_written[plan.due[numbers(written["position"], np.int64)]] = True
    added, rebuilt, moved = (int(np.count_nonzero(is_written & (plan.actions == action))) for action in (ADD, REBUILD, MOVE))
    return BuildSummary(
        out=os.fspath(out),
        found=prepared.found,
        added=added,
        rebuilt=rebuilt,
        moved=moved,
        kept=len(plan.items) - len(plan.due),
        failed=len(failures),
        gone=0 if prepared.prune else len(gone),
        removed=len(gone) if prepared.prune else 0,
        failures=failures,
        relabelled=relabelled_rows(rows, left, several=prepared.recipe.may_give_several) if len(left) else [],
    )


def no_ids() -> pa.ChunkedArray:
    """Return an empty column of IDs."""
    return arrow.pa.chunked_array([], type=arrow.pa.large_string())


def _in_order(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    return ids if ascends(ids) else ids.take(arrow.pc.sort_indices(ids))


def _lost_ids(old: Manifest | None, rows: pa.Table) -> pa.ChunkedArray:
    """Return the IDs of rows that are there no more, in their order."""
    if old is None:
        return no_ids()
    return _in_order(select(old.table.select(["id"]), positions_of(old.table["id"], rows["id"]) < 0)["id"])
