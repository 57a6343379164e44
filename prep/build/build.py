"""`build_shards`: runs the steps of a build in order: list the source, scan, plan, execute, commit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from manifests.errors import ManifestError
from manifests.format.schema import FAILURES_NAME, STATE_FOLDER
from manifests.rows.buffers import number_array
from prep.build.commit.commit import commit, no_ids
from prep.build.commit.relabelled import relabelled_rows, warning_of
from prep.build.commit.summary import BuildSummary
from prep.build.commit.unchanged import is_unchanged, request_of
from prep.build.execute.chunk import BuildChunk, Built, build_chunk, chunks_of
from prep.build.execute.journal import Collected, nothing_written
from prep.build.late_survey import KindsMet, survey_built
from prep.build.moves import copy_moved
from prep.build.plan.prepare import Prepared, prepare
from prep.build.recipe.last_build import about_build, given_source, with_remembered
from prep.build.recipe.options import BuildOptions
from prep.build.recipe.trusted_code import remember_code
from prep.build.scan.background_listing import looking_ahead
from prep.build.scan.existing_shards import Look, damage_of
from prep.build.stage.failures_csv import read_failures
from prep.build.stage.leftovers import stages
from prep.build.stage.output import check_output
from prep.build.stage.stage import WorkArea, work_area
from prep.build.state.fingerprints import as_prints
from prep.build.state.state import State
from prep.errors import OutputError, UsageError
from prep.parallel.dask_cluster import cluster_of
from prep.parallel.executors import Workers, default_workers, open_workers
from prep.parallel.gather import gather, stopped
from prep.parallel.interrupts import GOES_ON
from prep.parallel.lost_workers import ENDED_ITS_WORKER
from prep.parallel.remote_call import CallerView
from prep.progress.log import LoggedReporter
from prep.progress.report import Reporter, StderrReporter
from prep.sources.detect import list_source
from prep.sources.items import items_at
from prep.sources.listing import Failure, Listing
from prep.text import counted

_ITEMS_PER_WORKER = 256
"""Below this many items a further process takes longer to start than it saves."""


_LOOKED_AT = 8
"""Raw files by which the workers of a cluster show that they see the same ones."""

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
            It is not shut down, and nothing of the build runs on it any more when this returns or raises. Whoever runs its calls
            must have the same packages, and see the same files under the same paths.

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
    options = with_remembered(options, Path(source), out, report)
    with ExitStack() as stack:
        look = stack.enter_context(_looking(out, options))
        listing = _listed(Path(source), options, report)
        area = stack.enter_context(work_area(out))
        stack.enter_context(report.opened(out / STATE_FOLDER))
        state, failed = State.load(out), _failed_before(out) if options.only_failed else None
        workers = stack.enter_context(_workers(options, listing, failed, executor, careful=bool(area.left), area=area))
        prepared = prepare(listing, out, options, workers, report, state=state, look=look, failed=failed, may_survey_later=True)
        prepared = replace(prepared, given=given_source(options, Path(source), listing))
        if not prepared.state.equals(state):  # what was read of the files is not to be lost
            prepared.state.save(out)
        request = request_of(prepared, out, options)
        if is_unchanged(prepared, request, out):
            if prepared.awaits_survey:
                prepared = survey_built(prepared, nothing_written(), workers, report)
            summary = _nothing_done(prepared, out)
        else:
            prepared, summary = _built(prepared, area, options, workers, report)
            request = request_of(prepared, out, options)
        if summary.relabelled:
            report.note(warning_of(summary.relabelled, summary.gone))
        done = replace(prepared.state, about=about_build(Path(source), options) | {"request": request})
        if not done.equals(state):
            done.save(out)
        if prepared.shards.have_users_code:
            remember_code(out, prepared.shards, report)
        report.log(f"done: {summary}")
        return summary


def _built(prepared: Prepared, area: WorkArea, options: BuildOptions, workers: Workers, report: Reporter) -> tuple[Prepared, BuildSummary]:
    """Write what is due, and let it take its place."""
    plan = prepared.plan
    collected = area.done_before(plan.to_build, report.note, spares_others=plan.others_stay)
    if len(collected):
        report.note(f"going on: {counted(len(collected), 'item')} of an earlier build, which was ended, need not be built again")
    failures = _build_rest(prepared, area, collected, workers, report, stop_after=options.stop_after_failures)
    if prepared.awaits_survey:
        prepared = survey_built(prepared, collected.table(), workers, report)
        prepared.state.save(area.out)
    summary = commit(prepared, area, collected, [*prepared.failures, *failures], workers=workers, report=report)
    return prepared, summary


def _nothing_done(prepared: Prepared, out: Path) -> BuildSummary:
    plan, old = prepared.plan, prepared.old
    gone = no_ids() if plan.others_stay or old is None else old.table["id"].take(number_array(plan.gone_rows))
    return BuildSummary(
        out=os.fspath(out),
        found=prepared.found,
        added=0,
        rebuilt=0,
        moved=0,
        kept=len(plan.items),
        failed=0,
        gone=len(gone),
        removed=0,
        failures=[],
        relabelled=[] if old is None else relabelled_rows(old.table, gone, several=prepared.recipe.may_give_several),
    )


def _failed_before(out: Path) -> list[Failure]:
    try:
        return read_failures(out / FAILURES_NAME)
    except (ManifestError, OSError) as error:
        raise OutputError(f"{out}: what failed cannot be read; run build-shards, which writes it anew: {error}") from error


def _workers(
    options: BuildOptions,
    listing: Listing,
    failed: Sequence[Failure] | None,
    executor: Executor | None,
    *,
    careful: bool,
    area: WorkArea | None = None,
) -> AbstractContextManager[Workers]:
    """Return where to work; `careful` not in this process if that is not asked for: an item may have brought down the last one.

    Args:
        options: how to build.
        listing: of the source.
        failed: what alone is to be built.
        executor: the caller's, or None.
        careful: whether to work in processes.
        area: what is written; None if nothing is.
    """
    items = len(listing.items if failed is None else failed)
    careful |= any(failure.stage in ENDED_ITS_WORKER for failure in failed or ())
    if executor is None:
        count = options.workers or max(_CAREFUL_WORKERS if careful else 1, min(default_workers(), items // _ITEMS_PER_WORKER))
        return open_workers(count, item_timeout=options.item_timeout)
    if options.item_timeout:
        raise UsageError("item_timeout does not go with an executor of the caller's own: only a process of the build's may be ended")
    view = CallerView(root=Path(os.path.abspath(listing.root)), flag=None if area is None else area.put_up_flag())
    cluster = cluster_of(executor)
    if cluster is None:
        return nullcontext(Workers(executor, options.workers or default_workers(), view=view))
    some = np.arange(0, len(listing.items), len(listing.items) // _LOOKED_AT + 1)
    threads = cluster.check(view, [os.path.join(view.root, item.source) for item in items_at(listing.items, some)])
    return nullcontext(Workers(executor, options.workers or threads, view=view, trouble=cluster.trouble))


def plan_build(
    source: str | Path,
    out: str | Path,
    options: BuildOptions | None = None,
    *,
    report: Reporter | None = None,
    executor: Executor | None = None,
) -> Prepared:
    """Say what `build_shards` with the same arguments would do; nothing is written.

    Raises:
        PrepError: as `build_shards`.
    """
    out, options, report = Path(out), options or BuildOptions(), report or StderrReporter()
    _check_paths(Path(source), out)
    options = with_remembered(options, Path(source), out, report)
    with _looking(out, options) as look:
        listing = _listed(Path(source), options, report)
        failed = _failed_before(out) if options.only_failed else None
        with _workers(options, listing, failed, executor, careful=bool(stages(out))) as workers:
            return prepare(listing, out, options, workers, report, state=State.load(out), look=look, failed=failed)


def _check_paths(source: Path, out: Path) -> None:
    if source.exists():  # what is not there is told by `list_source`
        check_output(source if source.is_dir() else source.parent, out)


def _looking(out: Path, options: BuildOptions) -> AbstractContextManager[Look]:
    """Return a look at the shards that are there, ahead of its need unless all is to be done in this process."""
    return nullcontext(damage_of) if options.workers == 1 else looking_ahead(out)


def _listed(source: Path, options: BuildOptions, report: Reporter) -> Listing:
    listing = list_source(source, options.source)
    for note in listing.notes:
        report.note(note)
    for failure in () if options.only_failed else listing.failures:  # of those, some may never have been tried
        report.failed(failure)
    return listing


def _build_rest(
    prepared: Prepared, area: WorkArea, collected: Collected, workers: Workers, report: Reporter, *, stop_after: int | None
) -> list[Failure]:
    """Write the shards that are due and not yet done, and collect them too."""
    plan, root = prepared.plan, Path(os.path.abspath(prepared.listing.root))  # workers may have another current folder
    count = len(plan.due)
    if plan.moved_from:
        collected.add(copy_moved(prepared, area.folder, collected.are_here(count)))
    left = np.flatnonzero(~collected.are_here(count))
    chunks = (_chunk(prepared, area, root, positions) for positions in chunks_of(left, workers.count))
    failed, sure = len(prepared.failures), len(plan.items) - count + len(collected)
    if stop_after is not None and failed >= stop_after:
        raise stopped(failed, 0, len(left), "build")
    kinds = KindsMet(prepared) if prepared.awaits_survey else None

    def take(built: Built) -> None:
        for written in built.written:
            collected.add(written)
            if kinds is not None:
                kinds.add(written, collected)

    if kinds is not None:
        kinds.add(collected.table(), collected)
    return gather(
        workers,
        build_chunk,
        chunks,
        take=take,
        what="build",
        report=report,
        total=len(left),
        stop_after=None if stop_after is None else stop_after - failed,
        on_interrupt=lambda done: f"{GOES_ON} {sure + done:,} of {counted(prepared.found, 'item')}",
    )


def _chunk(prepared: Prepared, area: WorkArea, root: Path, positions: npt.NDArray[np.int64]) -> BuildChunk:
    """Return the work on some of the items that are to be built; of millions, only those under way are objects."""
    plan = prepared.plan
    at = plan.due[positions]
    items, prints = items_at(plan.items, at), as_prints(plan.items["fingerprint"])[at].tolist()
    return BuildChunk(
        root=root,
        target=Path(os.path.abspath(area.folder)),
        recipe=prepared.recipe,
        items=items,
        fingerprints={item.id: print_.decode() for item, print_ in zip(items, prints, strict=True)},
        positions={item.id: position for item, position in zip(items, positions.tolist(), strict=True)},
    )
