"""All that can be known before anything is written: records, survey, recipe, plan."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from manifests.errors import InvalidManifestError
from manifests.manifest import Manifest
from manifests.metadata import read_metadata
from manifests.names import collisions
from manifests.schema import METADATA_NAME
from prep.again import survey_beside_rows, what_failed
from prep.errors import OutputError, SourceError, UsageError
from prep.executors import Workers
from prep.known import Known
from prep.look import Seen, look_into, read_contents, read_known
from prep.lookahead import Look
from prep.output import load_existing
from prep.plan import Plan, Prints, Prospect, content_prints, make_plan, stat_prints, unsure_of
from prep.recipe import Recipe, ShardOptions, differences
from prep.records import Failure, Listing
from prep.report import Reporter
from prep.sampleids import ambiguous_ids
from prep.sources.detect import SourceOptions
from prep.splitcolumns import check_given
from prep.splits import SplitSpec
from prep.survey import Survey, resolve_recipe
from prep.text import counted, shown


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How to build; what is left out is taken from the dataset that is there, or else found out.

    Attributes:
        source: what the source is and which columns of a table mean what.
        shards: size, channels, dtype and range of the arrays.
        splits: splits, groups and folds.
        workers: processes; None takes one per processor, or fewer for few items; 1 works in this process.
        prune: drop rows whose raw item is gone, with their shards; else they stay.
        checksum: tell changed raw files by content, not by size and time.
        item_timeout: seconds that one raw item may take before it counts as failed, also with one worker, which is a process of
            its own then; None is ten minutes in worker processes and no limit in this one; 0 is no limit.
        stop_after_failures: end the build when so many items have failed.
        whole: whether `shards` are a whole recipe, of which nothing is taken from the dataset that is there.
        only_failed: build what is in failures.csv and nothing else: every other row stays as it is, whatever became of its raw item,
            and what is new in the source stays out.
    """

    source: SourceOptions = field(default_factory=SourceOptions)
    shards: ShardOptions = field(default_factory=ShardOptions)
    splits: SplitSpec | None = None
    workers: int | None = None
    prune: bool = False
    checksum: bool = False
    item_timeout: float | None = None
    stop_after_failures: int | None = None
    whole: bool = False
    only_failed: bool = False

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"workers must be a positive integer, got {self.workers}")
        if self.item_timeout is not None and not 0 <= self.item_timeout < threading.TIMEOUT_MAX:
            raise UsageError(f"item_timeout must be seconds, or 0 for no limit, got {self.item_timeout}")
        if self.stop_after_failures is not None and self.stop_after_failures < 1:
            raise UsageError(f"stop_after_failures must be a positive integer, got {self.stop_after_failures}")
        if self.only_failed and (self.shards != ShardOptions() or self.splits is not None or self.prune or self.whole):
            raise UsageError("only_failed leaves a dataset its recipe, splits and rows; leave out shards, splits, prune and whole")


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """All that is known before anything is written.

    Attributes:
        listing: the source's records.
        shards: options of the shards, with those left out taken from the dataset that is there.
        recipe: with nothing left open.
        splits: what is asked of splits, groups and folds, with what was left out taken from the dataset that is there; or None.
        plan: what to do with each ID.
        failures: raw items that are out already.
        old: the dataset that is there, or None.
        prune: whether rows of items that are gone go too.
        known: what is to be remembered of the raw files.
        seen: what was found out about them.
        awaits_survey: whether the headers of images are still to be read, as nothing hangs on them before the build.
        found: raw items that the build is about: all of the source, or those that failed before.
    """

    listing: Listing
    shards: ShardOptions
    recipe: Recipe
    splits: SplitSpec | None
    plan: Plan
    failures: Sequence[Failure]
    old: Manifest | None
    prune: bool
    known: Known
    seen: Seen
    awaits_survey: bool
    found: int


def prepare(
    listing: Listing, out: Path, options: BuildOptions, workers: Workers, report: Reporter, *, look: Look, may_survey_later: bool = False
) -> Prepared:
    """Find out all that can be known before anything is written.

    Args:
        listing: of the source.
        out: the dataset's folder.
        options: how to build.
        workers: where files are read.
        report: where notes and progress go.
        look: says what is wrong with the shards that are there.
        may_survey_later: whether to leave the headers of images, if the options do without, to the build, which reads them anyway.

    Raises:
        PrepError: as `build_shards`.
    """
    old = load_existing(out)
    stored = old.metadata.recipe if old else {}
    asked = options.shards if options.whole else options.shards.filled_from(_stored_options(out, stored))
    shard_options = asked.with_code((os.getcwd(),))
    workers.run_users_code = shard_options.have_users_code
    splits = filled_splits(options.splits, old.metadata.splits if old else {})
    check_given(listing.records, splits)
    if old and (asked != options.shards or splits != options.splits):
        report.note(f"options left out are those of {out}: {_written(shard_options, splits)}")
    later = may_survey_later and listing.format == "images" and shard_options.leave_nothing_open
    seen = look_into(
        listing, read_known(out), workers, report, header=not later, content=options.checksum, stop_after=options.stop_after_failures
    )
    records = listing.records.select(seen.usable)
    if not len(records):
        # Before the recipe, which would be resolved from nothing and be another than that of the dataset there.
        raise none_usable(listing, [*listing.failures, *seen.failures])
    survey = Survey(records.ids, seen.known.facts[seen.usable]) if listing.format == "images" and not later else Survey()
    recipe, notes = resolve_recipe(listing.format, shard_options, survey)
    _check_label_origin(out, stored, listing)
    for note in [] if later else [*survey.notes(), *notes]:
        report.note(note)
    _check_ambiguous(records.ids, recipe)
    by_stat = stat_prints(records, recipe.digest, seen.known.prints_for(recipe.digest, seen.usable))
    seen = replace(seen, known=seen.known.with_prints(recipe.digest, seen.usable, by_stat))
    prospect = _prospect(seen, by_stat, recipe.digest, checksum=options.checksum)
    if old is not None and not options.checksum and stored.get("digest") == recipe.digest:
        unsure = unsure_of(records, prospect, old)
        if len(unsure):  # a row may have been told by content: reading a file is cheaper than building it again
            read_contents(listing.root, seen, seen.usable[unsure], workers, report)
            prospect = _prospect(seen, by_stat, recipe.digest, checksum=False)
    plan = make_plan(records, prospect, recipe.digest, old, stored.get("digest"), look=look)
    failures = [*listing.failures, *seen.failures]
    gone = [] if options.prune else plan.gone_without(failures)
    _check_gone(gone, plan, recipe_changed=stored.get("digest") not in {None, recipe.digest})
    if old and stored.get("digest") != recipe.digest:
        report.note(f"recipe changed: {'; '.join(differences(stored.get('recipe', {}), recipe.as_dict()))}")
    report.note(
        f"plan: add {len(plan.add):,}, rebuild {len(plan.rebuild):,}, "
        f"{f'move {len(plan.move):,}, ' if plan.move else ''}keep {len(plan.keep):,}, "
        f"{'remove' if options.prune else 'gone but kept'} {len(plan.gone_without(failures)):,}, failed so far {len(failures):,}"
    )
    return Prepared(
        listing=listing,
        shards=shard_options,
        recipe=recipe,
        splits=splits,
        plan=plan,
        failures=failures,
        old=old,
        prune=options.prune,
        known=seen.known,
        seen=seen,
        awaits_survey=later,
        found=len(listing.records) + len(listing.failures),
    )


def prepare_again(
    listing: Listing, out: Path, options: BuildOptions, workers: Workers, report: Reporter, *, look: Look, failed: Sequence[Failure]
) -> Prepared:
    """Find out all that can be known before what failed is built again, and nothing else.

    Args:
        listing: of the whole source.
        out: the dataset's folder.
        options: of the build.
        workers: where files are read.
        report: is told what is tried again.
        look: says what is wrong with the shards that are there.
        failed: the rows of the dataset's failures.csv.

    Raises:
        PrepError: as `build_shards`.
    """
    old = load_existing(out)
    if old is None:
        raise UsageError(f"{out}: holds no dataset; build it first")
    stored, splits = old.metadata.recipe, filled_splits(None, old.metadata.splits)
    shard_options = _stored_options(out, stored).with_code((os.getcwd(),))
    workers.run_users_code = shard_options.have_users_code
    _check_label_origin(out, stored, listing)
    again = what_failed(listing, old, failed)
    if again.lost:
        names = shown([failure.source for failure in again.lost])
        report.note(f"no longer in failures.csv: {counted(len(again.lost), 'raw item')} that the source no longer has: {names}")
    for failure in again.due.failures:
        report.failed(failure)
    check_given(again.listing.records, splits)
    before = read_known(out)
    seen = look_into(again.due, before, workers, report, header=True, content=options.checksum, stop_after=options.stop_after_failures)
    records = again.due.records.select(seen.usable)
    facts = seen.known.facts[seen.usable]
    survey = survey_beside_rows(old, before, records.sources, facts) if listing.format == "images" else Survey()
    recipe = _same_recipe(out, stored, listing, shard_options, survey)
    _check_ambiguous([*records.ids, *again.others.ids], recipe)
    # A row whose raw item has another name now is another's, and that of an equal item beside it: neither is moved.
    by_stat = stat_prints(records, recipe.digest, seen.known.prints_for(recipe.digest, seen.usable))
    seen = replace(seen, known=seen.known.with_prints(recipe.digest, seen.usable, by_stat))
    prospect = replace(_prospect(seen, by_stat, recipe.digest, checksum=options.checksum), by_content=False)
    plan = replace(make_plan(records, prospect, recipe.digest, old, recipe.digest, look=look), others_stay=True)
    _check_gone(plan.gone, plan, recipe_changed=False)
    due = len(again.due.records) + len(again.due.failures)
    report.note(f"retry: {due:,} of {counted(len(failed), 'raw item')} that failed; rows that stay as they are: {len(plan.gone):,}")
    return Prepared(
        listing=again.listing,
        shards=shard_options,
        recipe=recipe,
        splits=splits,
        plan=plan,
        failures=[*again.due.failures, *seen.failures],
        old=old,
        prune=False,
        known=seen.known if before is None else before.updated(seen.known),
        seen=seen,
        awaits_survey=False,
        found=due,
    )


def with_splits(options: BuildOptions, out: Path) -> BuildOptions:
    """Return the options with what the splits, remembered ones included, ask of the source.

    Raises:
        OutputError: what is remembered cannot be read.
    """
    try:
        stored = read_metadata(out / METADATA_NAME).splits
    except (FileNotFoundError, NotADirectoryError, InvalidManifestError):
        stored = {}  # none there; or `prepare` says what is wrong with it
    except OSError as error:
        raise OutputError(f"{out / METADATA_NAME}: cannot be read: {error.strerror or error}") from error
    splits = filled_splits(options.splits, stored)
    if splits is None:
        return options
    table = replace(options.source.table, other_columns=splits.columns)
    return replace(options, source=replace(options.source, table=table, split_folders=splits.folders))


def filled_splits(splits: SplitSpec | None, stored: Mapping[str, Any]) -> SplitSpec | None:
    """Return the spec with what it leaves out taken from what `dataset.json` says.

    Raises:
        UsageError: that is no spec.
    """
    before = SplitSpec.from_dict(stored)
    return before if splits is None else splits.filled_from(before)


def none_usable(listing: Listing, failures: Sequence[Failure]) -> SourceError:
    """Return the error of a source of which not one item can be used; each is listed with its reason."""
    reasons = sorted(f"{failure.source}: {failure.stage}: {failure.error}" for failure in failures)
    found = len(listing.records) + len(listing.failures)
    return SourceError(f"not one of {counted(found, 'raw item')} could be used; mend or replace them:", reasons)


def _same_recipe(out: Path, stored: Mapping[str, Any], listing: Listing, options: ShardOptions, survey: Survey) -> Recipe:
    """Return the recipe of the dataset that is there, if a build of the whole source would not make it another.

    Raises:
        SourceError: it would.
    """
    try:
        recipe, _ = resolve_recipe(listing.format, options, survey)
        reasons = "; ".join(differences(stored.get("recipe", {}), recipe.as_dict()))
    except (SourceError, UsageError) as error:
        reasons = str(error)
    if reasons:
        raise SourceError(
            f"{out}: what failed cannot be built by the recipe of the others; run build-shards on the whole source: {reasons}"
        )
    return recipe


def _check_label_origin(out: Path, stored: Mapping[str, Any], listing: Listing) -> None:
    """Refuse to give a dataset's IDs labels from elsewhere, as a forgotten --labels would."""
    before = stored.get("labels", listing.label_origin)
    if before != listing.label_origin:
        raise UsageError(
            f"{out}: its labels came from {before}, now they would come from {listing.label_origin}; "
            "pass the same --labels and --label as before, or choose another folder"
        )


def _stored_options(out: Path, stored: Mapping[str, Any]) -> ShardOptions:
    try:
        return ShardOptions.from_dict(dict(stored.get("options", {})))
    except (UsageError, TypeError, ValueError) as error:
        path = out / METADATA_NAME
        raise OutputError(f"{path}: the recipe's options cannot be understood; mend it or choose another folder: {error}") from error


def _prospect(seen: Seen, by_stat: Prints, recipe_digest: str, *, checksum: bool) -> Prospect:
    """Return the fingerprints by the kind of identity that was asked for, and by the other as far as that is known."""
    by_content = content_prints(seen.known.digests[seen.usable], recipe_digest)
    if checksum:
        return Prospect(wanted=by_content, other=by_stat, by_content=True)
    return Prospect(wanted=by_stat, other=by_content, by_content=False)


def _check_gone(gone: Sequence[str], plan: Plan, *, recipe_changed: bool) -> None:
    """Refuse to keep rows of items that are gone where they cannot stand beside the new ones."""
    if gone and recipe_changed:
        raise SourceError(
            f"{counted(len(gone), 'row')} without a raw item were built by another recipe and cannot be built again: {shown(list(gone))}; "
            "pass --prune to drop them, or keep the recipe"
        )
    names = [*gone, *plan.fingerprints] if gone else []
    pairs = [f"{names[position]!r} and {names[earlier]!r}" for position, earlier in collisions(names)] if gone else []
    if pairs:
        raise SourceError(
            "a case-insensitive disk takes these IDs for one, and the raw item of one is gone; pass --prune to drop its row:", pairs
        )


def _check_ambiguous(record_ids: Iterable[str], recipe: Recipe) -> None:
    """Refuse IDs that could be a raw item's or one of its samples', where it is left to the user's function which they are."""
    ids = ambiguous_ids(list(record_ids)) if recipe.may_give_several and not recipe.always_gives_several else []
    if ids:
        raise SourceError(
            f"{counted(len(ids), 'ID')} could also be that of a sample of another raw item, as the recipe's function may give several: "
            f"{shown(ids)}; rename the files"
        )


def _written(options: ShardOptions, splits: SplitSpec | None) -> str:
    """Write options as the user would give them."""
    parts = [
        f"--{name.replace('_', '-')} {'x'.join(map(str, value)) if name == 'size' else value}"
        for name, value in options.as_dict().items()
        if name != "transforms"
    ]
    parts += [f"transform {json.dumps(transform.as_dict(), ensure_ascii=False)}" for transform in options.transforms or ()]
    if splits is not None:
        parts.append(str(splits))
    return " ".join(parts) or "none"
