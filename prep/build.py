"""`build_shards`: raw data to a dataset, in one direction: list, prepare, build, commit."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np

from manifests.commitlog import STAGE_FOLDER
from manifests.errors import ManifestError
from manifests.manifest import Manifest
from manifests.metadata import Metadata
from manifests.schema import FAILURES_NAME, MANIFEST_NAME, STATE_FOLDER
from manifests.store import keep_rows
from manifests.strings import PackedStrings, Positions
from manifests.table import Table
from prep.buildlog import LoggedReporter
from prep.chunk import BuildChunk, Built, build_chunk, chunks_of
from prep.dispatch import ENDED_ITS_WORKER
from prep.errors import OutputError, UsageError
from prep.executors import Workers, default_workers, open_workers
from prep.failurefile import read_failures
from prep.gather import gather, stopped
from prep.interrupts import GOES_ON
from prep.joining import positions_among
from prep.latersurvey import DepthsMet, survey_built
from prep.look import keep_known
from prep.lookahead import Look, looking_ahead
from prep.moving import copy_moved
from prep.options import BuildOptions, with_splits
from prep.output import check_output
from prep.parts import Due
from prep.plan import packed
from prep.prepare import Prepared, none_usable, prepare
from prep.present import damage_of
from prep.records import Failure, Listing
from prep.remembering import remember
from prep.report import Reporter, StderrReporter
from prep.retrying import prepare_again
from prep.rows import dataset_metadata, dataset_rows
from prep.shardmoments import ShardMoments
from prep.sources.detect import list_source
from prep.statistics import dataset_statistics
from prep.summary import BuildSummary
from prep.text import counted
from prep.unchanged import is_unchanged, note_done
from prep.workarea import WorkArea, work_area
from prep.written import Collected, Written

_ITEMS_PER_WORKER = 256
"""Below this many items a further process takes longer to start than it saves."""


_CAREFUL_WORKERS = 2
"""The fewest that are processes of their own."""


def build_shards(
    source: str | Path,
    out: str | Path,
    options: BuildOptions | None = None,
    *,
    report: Reporter | None = None,
    executor: Executor | None = None,
) -> BuildSummary:
    """Turn raw data into a dataset: one `.npy` shard per ID, `manifest.csv` and `dataset.json`. Safe to repeat.

    Only what has changed is built again. A raw item that cannot be used goes to `failures.csv` and the rest is built;
    it is the caller's to look at `BuildSummary.failures`. Any error, and a kill at any moment, leaves the dataset that was there
    as it was; what was done by then is kept, and the next build goes on from there.

    Args:
        source: a folder of images or arrays, or a CSV or Parquet table beside the files that it names.
        out: the dataset's folder; made if need be.
        options: how to build.
        report: where notes, failures and progress go; stderr by default.
        executor: runs the work instead of processes of this build's own: a `ThreadPoolExecutor`, a Dask client's `get_executor()`.
            It is not shut down. Whoever runs its calls must see the same files under the same paths.

    Raises:
        UsageError: options or paths that cannot work.
        SourceError: raw data that as a whole cannot be used, or of which not one item can.
        OutputError: the folder cannot be written, or another build holds it.
        WorkerError: worker processes die or run out of what the system gives them, whatever item they are at.
        StoppedError: as many items failed as were to end the build.
    """
    out, options = Path(out), options or BuildOptions()
    report = LoggedReporter(report or StderrReporter())
    report.log(f"build of {out} from {source}: {options}")
    _check_paths(Path(source), out)
    with ExitStack() as stack:
        look = stack.enter_context(_looking(out, options))
        listing = _listed(Path(source), out, options, report)
        area = stack.enter_context(work_area(out))
        stack.enter_context(report.opened(out / STATE_FOLDER))
        failed = _failed_before(out) if options.only_failed else None
        workers = stack.enter_context(_workers(options, listing, failed, executor, careful=area.was_left))
        prepared = _prepared(listing, out, options, workers, report, look=look, failed=failed, may_survey_later=True)
        keep_known(prepared.known, out)
        if is_unchanged(prepared, out, options):
            if prepared.awaits_survey:
                survey_built(prepared, Written.nothing(), workers, report)
                keep_known(prepared.known, out)
            summary = _nothing_done(prepared, out)
        else:
            summary = _built(prepared, area, options, workers, report)
            note_done(prepared, out, options)
        remember(Path(source), out, options)
        report.log(f"done: {summary}")
        return summary


def _built(prepared: Prepared, area: WorkArea, options: BuildOptions, workers: Workers, report: Reporter) -> BuildSummary:
    """Write what is due, and let it take its place."""
    plan = prepared.plan
    collected = area.done_before(Due(plan.to_build.ids, plan.prints), report.note, spares_others=plan.others_stay)
    if len(collected):
        report.note(f"going on: {counted(len(collected), 'item')} of an earlier build, which was ended, need not be built again")
    failures = _build_rest(prepared, area, collected, workers, report, stop_after=options.stop_after_failures)
    written = collected.joined()
    if prepared.awaits_survey:
        survey_built(prepared, written, workers, report)
        keep_known(prepared.known, area.out)
    written = written.without_facts()
    return _commit(prepared, area, written, [*prepared.failures, *failures], workers=workers, report=report)


def _nothing_done(prepared: Prepared, out: Path) -> BuildSummary:
    return BuildSummary(
        out=os.fspath(out),
        found=prepared.found,
        added=0,
        rebuilt=0,
        moved=0,
        kept=len(prepared.plan.keep),
        failed=0,
        gone=0 if prepared.plan.others_stay else len(prepared.plan.gone),
        removed=0,
        failures=[],
    )


def _failed_before(out: Path) -> list[Failure]:
    try:
        return read_failures(out / FAILURES_NAME)
    except (ManifestError, OSError) as error:
        raise OutputError(f"{out}: what failed cannot be read; run build-shards, which writes it anew: {error}") from error


def _workers(
    options: BuildOptions, listing: Listing, failed: Sequence[Failure] | None, executor: Executor | None, *, careful: bool
) -> AbstractContextManager[Workers]:
    """Return where to work; `careful` not in this process if that is not asked for: an item may have brought down the last one."""
    items = len(listing.records if failed is None else failed)
    careful |= any(failure.stage in ENDED_ITS_WORKER for failure in failed or ())
    if executor is None:
        count = options.workers or max(_CAREFUL_WORKERS if careful else 1, min(default_workers(), items // _ITEMS_PER_WORKER))
        return open_workers(count, item_timeout=options.item_timeout)
    if options.item_timeout:
        raise UsageError("item_timeout does not go with an executor of the caller's own: only a process of the build's may be ended")
    return nullcontext(Workers(executor, options.workers or default_workers()))


def plan_build(source: str | Path, out: str | Path, options: BuildOptions | None = None, *, report: Reporter | None = None) -> Prepared:
    """Say what `build_shards` with the same arguments would do; nothing is written.

    Raises:
        PrepError: as `build_shards`.
    """
    out, options, report = Path(out), options or BuildOptions(), report or StderrReporter()
    _check_paths(Path(source), out)
    with _looking(out, options) as look:
        listing = _listed(Path(source), out, options, report)
        failed = _failed_before(out) if options.only_failed else None
        with _workers(options, listing, failed, None, careful=(out / STAGE_FOLDER).exists()) as workers:
            return _prepared(listing, out, options, workers, report, look=look, failed=failed)


def _prepared(
    listing: Listing,
    out: Path,
    options: BuildOptions,
    workers: Workers,
    report: Reporter,
    *,
    look: Look,
    failed: Sequence[Failure] | None,
    may_survey_later: bool = False,
) -> Prepared:
    if failed is None:
        return prepare(listing, out, options, workers, report, look=look, may_survey_later=may_survey_later)
    return prepare_again(listing, out, options, workers, report, look=look, failed=failed)


def _check_paths(source: Path, out: Path) -> None:
    if source.exists():  # what is not there is told by `list_source`
        check_output(source if source.is_dir() else source.parent, out)


def _looking(out: Path, options: BuildOptions) -> AbstractContextManager[Look]:
    """Return a look at the shards that are there, ahead of its need unless all is to be done in this process."""
    return nullcontext(damage_of) if options.workers == 1 else looking_ahead(out)


def _listed(source: Path, out: Path, options: BuildOptions, report: Reporter) -> Listing:
    listing = list_source(source, with_splits(options, out).source)
    for note in listing.notes:
        report.note(note)
    for failure in () if options.only_failed else listing.failures:  # of those, some may never have been tried
        report.failed(failure)
    return listing


def _build_rest(
    prepared: Prepared, area: WorkArea, collected: Collected, workers: Workers, report: Reporter, *, stop_after: int | None
) -> list[Failure]:
    """Write the shards that are due and not yet done, and collect them too."""
    plan, root = prepared.plan, prepared.listing.root
    collected.add([copy_moved(prepared, area.folder, collected.are_here(len(plan.to_build)))])
    left = np.flatnonzero(~collected.are_here(len(plan.to_build)))
    chunks = (_chunk(prepared, area, root, positions) for positions in chunks_of(left, workers.count))
    failed, sure = len(prepared.failures), len(plan.keep) + len(collected)
    if stop_after is not None and failed >= stop_after:
        raise stopped(failed, 0, len(left), "build")
    depths = DepthsMet(prepared)

    def check(each: Iterable[Written]) -> None:
        if prepared.awaits_survey and not depths.add(each):
            depths.refuse(collected.joined())

    def take(built: Built) -> None:
        collected.add(built.written)
        check(built.written)

    check(collected.each())
    return gather(
        workers,
        build_chunk,
        chunks,
        take=take,
        what="build",
        report=report,
        total=len(left),
        stop_after=None if stop_after is None else stop_after - failed,
        on_interrupt=lambda count: f"{GOES_ON} {sure + count:,} of {counted(prepared.found, 'item')}",
    )


def _chunk(prepared: Prepared, area: WorkArea, root: Path, positions: Positions) -> BuildChunk:
    """Return the work on some of the records that are to be built; of millions, only those under way are objects."""
    plan = prepared.plan
    records = plan.to_build.take(positions)
    prints = plan.prints[positions].tolist()
    return BuildChunk(
        root=root,
        target=area.folder,
        recipe=prepared.recipe,
        records=records,
        fingerprints={record.id: fingerprint.decode() for record, fingerprint in zip(records, prints, strict=True)},
        positions={record.id: position for record, position in zip(records, positions.tolist(), strict=True)},
    )


def _commit(
    prepared: Prepared,
    area: WorkArea,
    written: Written,
    failures: Sequence[Failure],
    *,
    workers: Workers,
    report: Reporter,
) -> BuildSummary:
    """Let the new shards and rows take the old ones' place, and sum up."""
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
    sha256 = area.commit(table, metadata, failures, _in_order(new_ids), _lost_ids(prepared.old, table))
    keep_rows(table, area.out / MANIFEST_NAME, sha256)
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
