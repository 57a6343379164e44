"""`build_shards`: raw data to a dataset, in one direction: list, prepare, build, commit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from prep.chunk import BuildChunk, build_chunk, chunks_of
from prep.executors import Workers, default_workers, open_workers
from prep.gather import gather
from prep.output import Stage, check_output, staged
from prep.prepare import BuildOptions, Prepared, none_usable, prepare
from prep.records import Failure, Listing
from prep.report import Reporter, StderrReporter
from prep.rows import dataset_metadata, dataset_rows
from prep.shards import WrittenShard
from prep.sources.detect import list_source
from prep.summary import BuildSummary

_ITEMS_PER_WORKER = 256
"""Below this many items a further process takes longer to start than it saves."""


def build_shards(
    source: str | Path, out: str | Path, options: BuildOptions | None = None, *, report: Reporter | None = None
) -> BuildSummary:
    """Turn raw data into a dataset: one `.npy` shard per ID, `manifest.csv` and `dataset.json`. Safe to repeat.

    Only what has changed is built again. A raw item that cannot be used goes to `failures.csv` and the rest is built;
    it is the caller's to look at `BuildSummary.failures`. Any error leaves the dataset that was there as it was.

    Args:
        source: a folder of images or arrays, or a CSV or Parquet table beside the files that it names.
        out: the dataset's folder; made if need be.
        options: how to build.
        report: where notes and progress go; stderr by default.

    Raises:
        UsageError: options or paths that cannot work.
        SourceError: raw data that as a whole cannot be used, or of which not one item can.
        OutputError: the folder cannot be written, or another build holds it.
        WorkerError: a worker process died.
    """
    out, options, report = Path(out), options or BuildOptions(), report or StderrReporter()
    listing = _listed(Path(source), out, options, report)
    count = options.workers or max(1, min(default_workers(), len(listing.records) // _ITEMS_PER_WORKER))
    with staged(out) as stage, open_workers(count) as workers:
        prepared = prepare(listing, out, options, workers, report)
        written, failures = _build_all(prepared, stage, workers, report)
        return _commit(prepared, stage, written, [*prepared.failures, *failures], report)


def plan_build(source: str | Path, out: str | Path, options: BuildOptions | None = None, *, report: Reporter | None = None) -> Prepared:
    """Say what `build_shards` with the same arguments would do; nothing is written.

    Raises:
        PrepError: as `build_shards`.
    """
    out, options, report = Path(out), options or BuildOptions(), report or StderrReporter()
    listing = _listed(Path(source), out, options, report)
    with open_workers(1) as workers:
        return prepare(listing, out, options, workers, report)


def _listed(source: Path, out: Path, options: BuildOptions, report: Reporter) -> Listing:
    if source.exists():  # what is not there is told by `list_source`
        check_output(source if source.is_dir() else source.parent, out)
    listing = list_source(source, options.source)
    for note in listing.notes:
        report.note(note)
    return listing


def _build_all(prepared: Prepared, stage: Stage, workers: Workers, report: Reporter) -> tuple[dict[str, WrittenShard], list[Failure]]:
    """Write the shards that are due below the stage."""
    recipe, root = prepared.recipe, prepared.listing.root
    chunks = [BuildChunk(root=root, target=stage.folder, recipe=recipe, records=part) for part in chunks_of(prepared.plan.to_build)]
    return gather(workers, build_chunk, chunks, what="build", report=report)


def _commit(
    prepared: Prepared, stage: Stage, written: dict[str, WrittenShard], failures: Sequence[Failure], report: Reporter
) -> BuildSummary:
    """Let the new shards and rows take the old ones' place, and sum up."""
    plan = prepared.plan
    failures = sorted(failures, key=lambda failure: (failure.source, failure.id))
    if not written and not plan.keep:
        raise none_usable(prepared.listing, failures)
    frame = dataset_rows(prepared, written, failures, report)
    metadata = dataset_metadata(prepared, frame, failures)
    if prepared.recipe.format == "arrays" and metadata.array is not None and not metadata.array.is_fixed:
        report.note(f"arrays: {metadata.array}; a batch needs one shape and dtype")
    old_ids = [] if prepared.old is None else prepared.old.ids
    stage.commit(frame, metadata, failures, sorted(written), sorted(set(old_ids).difference(frame["id"])))
    gone = len(plan.gone_without(failures))
    rebuilt = sum(record.id in written for record, _ in plan.rebuild)
    return BuildSummary(
        out=os.fspath(stage.out),
        found=len(prepared.listing.records) + len(prepared.listing.failures),
        added=len(written) - rebuilt,
        rebuilt=rebuilt,
        kept=len(plan.keep),
        failed=len(failures),
        gone=0 if prepared.prune else gone,
        removed=gone if prepared.prune else 0,
        failures=failures,
    )
