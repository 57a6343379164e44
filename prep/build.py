"""`build_shards`: raw data to a dataset, in one direction: list, prepare, build, commit."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path

import numpy as np

from manifests.commitlog import STAGE_FOLDER
from manifests.errors import ManifestError
from manifests.schema import FAILURES_NAME, STATE_FOLDER
from manifests.strings import Positions
from prep.buildlog import LoggedReporter
from prep.chunk import BuildChunk, Built, build_chunk, chunks_of
from prep.committing import commit
from prep.dispatch import ENDED_ITS_WORKER
from prep.errors import OutputError, UsageError
from prep.executors import Workers, default_workers, open_workers
from prep.failurefile import read_failures
from prep.gather import gather, stopped
from prep.interrupts import GOES_ON
from prep.latersurvey import DepthsMet, survey_built
from prep.look import keep_known
from prep.lookahead import looking_ahead
from prep.moving import copy_moved
from prep.options import BuildOptions, with_splits
from prep.output import check_output
from prep.parts import Due
from prep.prepare import Prepared, prepare
from prep.present import Look, damage_of
from prep.records import Failure, Listing
from prep.remembering import remember
from prep.report import Reporter, StderrReporter
from prep.retrying import prepare_again
from prep.sources.detect import list_source
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
    return commit(prepared, area, written, [*prepared.failures, *failures], workers=workers, report=report)


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
