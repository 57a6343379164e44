"""All that can be known before anything is written: records, survey, recipe, plan."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from manifests.cache import Stamp, stamp_of
from manifests.manifest import Manifest
from manifests.names import collisions
from manifests.schema import MANIFEST_NAME
from prep.errors import SourceError, UsageError
from prep.executors import Workers
from prep.fingerprints import Prints, content_prints, stat_prints
from prep.known import Known
from prep.look import Seen, look_into, read_contents, read_known
from prep.options import BuildOptions, filled_splits, stored_options
from prep.output import load_existing
from prep.plan import Plan, Prospect, make_plan, unsure_of
from prep.present import Look
from prep.recipe import Recipe, ShardOptions, differences
from prep.records import Failure, Listing
from prep.report import Reporter
from prep.sampleids import ambiguous_ids
from prep.splitcolumns import check_given
from prep.splits import SplitSpec
from prep.survey import Survey, resolve_recipe
from prep.text import counted, shown


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
        old_stamp: state of its manifest's file before it was read, or None.
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
    old_stamp: Stamp | None
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
    old_stamp = stamp_of(out / MANIFEST_NAME)
    old = load_existing(out)
    stored = old.metadata.recipe if old else {}
    asked = options.shards if options.whole else options.shards.filled_from(stored_options(out, stored))
    shard_options = asked.with_code((os.getcwd(),))
    workers.run_users_code = shard_options.have_users_code
    splits = filled_splits(options.splits, old.metadata.splits if old else {})
    check_given(listing.records, splits)
    if old and (asked != options.shards or splits != options.splits):
        report.note(f"options left out are those of {out}: {_written(shard_options, splits)}")
    later = may_survey_later and listing.format == "images" and shard_options.leave_nothing_open
    before = read_known(out)
    seen = look_into(listing, before, workers, report, header=not later, content=options.checksum, stop_after=options.stop_after_failures)
    records = listing.records.select(seen.usable)
    if not len(records):
        # Before the recipe, which would be resolved from nothing and be another than that of the dataset there.
        raise none_usable(listing, [*listing.failures, *seen.failures])
    survey = Survey(records.ids, seen.known.facts[seen.usable]) if listing.format == "images" and not later else Survey()
    recipe, notes = resolve_recipe(listing.format, shard_options, survey)
    check_label_origin(out, stored, listing)
    for note in [] if later else [*survey.notes(), *notes]:
        report.note(note)
    check_ambiguous(records.ids, recipe)
    by_stat = stat_prints(records, recipe.digest, seen.known.prints_for(recipe.digest, seen.usable))
    seen = replace(seen, known=seen.known.with_prints(recipe.digest, seen.usable, by_stat))
    prospect = prospect_of(seen, by_stat, recipe.digest, checksum=options.checksum)
    if old is not None and not options.checksum and stored.get("digest") == recipe.digest:
        last = np.zeros(len(records), dtype="S32") if before is None else before.last_prints(recipe.digest, records.sources)
        unsure = unsure_of(records, prospect, old, last)
        if len(unsure):  # reading a file is cheaper than building it again
            read_contents(listing.root, seen, seen.usable[unsure], workers, report)
            prospect = prospect_of(seen, by_stat, recipe.digest, checksum=False)
    plan = make_plan(records, prospect, recipe.digest, old, stored.get("digest"), look=look)
    failures = [*listing.failures, *seen.failures]
    gone = [] if options.prune else plan.gone_without(failures)
    check_gone(gone, plan, recipe_changed=stored.get("digest") not in {None, recipe.digest})
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
        old_stamp=old_stamp,
        prune=options.prune,
        known=seen.known,
        seen=seen,
        awaits_survey=later,
        found=len(listing.records) + len(listing.failures),
    )


def none_usable(listing: Listing, failures: Sequence[Failure]) -> SourceError:
    """Return the error of a source of which not one item can be used; each is listed with its reason."""
    reasons = sorted(f"{failure.source}: {failure.stage}: {failure.error}" for failure in failures)
    found = len(listing.records) + len(listing.failures)
    return SourceError(f"not one of {counted(found, 'raw item')} could be used; mend or replace them:", reasons)


def check_label_origin(out: Path, stored: Mapping[str, Any], listing: Listing) -> None:
    """Refuse to give a dataset's IDs labels from elsewhere, as a forgotten --labels would.

    Raises:
        UsageError: they come from elsewhere.
    """
    before = stored.get("labels", listing.label_origin)
    if before != listing.label_origin:
        raise UsageError(
            f"{out}: its labels came from {before}, now they would come from {listing.label_origin}; "
            "pass the same --labels and --label as before, or choose another folder"
        )


def prospect_of(seen: Seen, by_stat: Prints, recipe_digest: str, *, checksum: bool) -> Prospect:
    """Return the fingerprints by the kind of identity that was asked for, and by the other as far as that is known."""
    by_content = content_prints(seen.known.digests[seen.usable], recipe_digest)
    if checksum:
        return Prospect(wanted=by_content, other=by_stat, by_content=True)
    return Prospect(wanted=by_stat, other=by_content, by_content=False)


def check_gone(gone: Sequence[str], plan: Plan, *, recipe_changed: bool) -> None:
    """Refuse to keep rows of items that are gone where they cannot stand beside the new ones.

    Raises:
        SourceError: there are such.
    """
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


def check_ambiguous(record_ids: Iterable[str], recipe: Recipe) -> None:
    """Refuse IDs that could be a raw item's or one of its samples', where it is left to the user's function which they are.

    Raises:
        SourceError: there are such.
    """
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
