"""All that can be known before what failed is built again, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from manifests.cache import stamp_of
from manifests.schema import MANIFEST_NAME
from prep.again import survey_beside_rows, what_failed
from prep.errors import SourceError, UsageError
from prep.executors import Workers
from prep.fingerprints import stat_prints
from prep.look import look_into, read_known
from prep.options import BuildOptions, filled_splits, stored_options
from prep.output import load_existing
from prep.plan import make_plan
from prep.prepare import Prepared, check_ambiguous, check_gone, check_label_origin, prospect_of
from prep.present import Look
from prep.recipe import Recipe, ShardOptions, differences
from prep.records import Failure, Listing
from prep.report import Reporter
from prep.splitcolumns import check_given
from prep.survey import Survey, resolve_recipe
from prep.text import counted, shown


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
    old_stamp = stamp_of(out / MANIFEST_NAME)
    old = load_existing(out)
    if old is None:
        raise UsageError(f"{out}: holds no dataset; build it first")
    stored, splits = old.metadata.recipe, filled_splits(None, old.metadata.splits)
    shard_options = stored_options(out, stored).with_code((os.getcwd(),))
    workers.run_users_code = shard_options.have_users_code
    check_label_origin(out, stored, listing)
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
    check_ambiguous([*records.ids, *again.others.ids], recipe)
    # A row whose raw item has another name now is another's, and that of an equal item beside it: neither is moved.
    by_stat = stat_prints(records, recipe.digest, seen.known.prints_for(recipe.digest, seen.usable))
    seen = replace(seen, known=seen.known.with_prints(recipe.digest, seen.usable, by_stat))
    prospect = replace(prospect_of(seen, by_stat, recipe.digest, checksum=options.checksum), by_content=False)
    plan = replace(make_plan(records, prospect, recipe.digest, old, recipe.digest, look=look), others_stay=True)
    check_gone(plan.gone, plan, recipe_changed=False)
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
        old_stamp=old_stamp,
        prune=False,
        known=seen.known if before is None else before.updated(seen.known),
        seen=seen,
        awaits_survey=False,
        found=due,
    )


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
