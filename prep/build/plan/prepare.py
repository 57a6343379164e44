"""All that can be known before anything is written: the items, what their headers say, the recipe, and the plan."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manifests.manifest import Manifest
from manifests.rows import arrow
from manifests.rows.buffers import fixed, number_array, positions_of
from manifests.rows.names import collisions
from manifests.rows.table import select, strings
from prep.build.plan.failed_items import FailedItems, failed_items
from prep.build.plan.labels import check_labels
from prep.build.plan.plan import ADD, KEEP, MOVE, REBUILD, Plan, Prospect, make_plan, unsure_of
from prep.build.recipe.options import BuildOptions, filled_splits, stored_options
from prep.build.recipe.recipe import Recipe, ShardOptions, differences
from prep.build.recipe.resolve import is_settled, resolve_recipe, settled_before
from prep.build.recipe.trusted_code import with_named_code, with_stored_code
from prep.build.scan.existing_shards import Look
from prep.build.scan.scan import Scan, read_contents, scan, unreadable
from prep.build.stage.output import load_existing
from prep.build.state.fingerprints import Prints, content_prints, no_prints, print_array, stat_prints
from prep.build.state.state import State, remembered_items, together
from prep.errors import SourceError, UsageError
from prep.parallel.executors import Workers
from prep.progress.report import Reporter
from prep.readers.headers import Headers
from prep.readers.parameters import ReaderOptions
from prep.readers.reader import SurveyedReader
from prep.readers.registry import reader_of
from prep.sources.folder import PARENT_FOLDERS, TOP_FOLDERS
from prep.sources.listing import Failure, Listing
from prep.sources.numbered_samples import ambiguous_ids
from prep.splits.columns import check_given
from prep.splits.spec import SplitSpec
from prep.text import counted, shown

if TYPE_CHECKING:
    import pyarrow as pa

_SHOWN = 10
"""IDs that are taken out of a column to name some of them."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """All that is known before anything is written.

    Attributes:
        listing: of the source; where only what failed is built, of that and of what has rows.
        shards: options of the shards, with those left out taken from the dataset that is there.
        recipe: with nothing left open.
        splits: what is asked of splits, groups and folds, with what was left out taken from the dataset that is there; or None.
        plan: what to do with each item.
        failures: raw items that are out already.
        old: the dataset that is there, or None.
        prune: whether rows of items that are gone go too.
        state: what is to be remembered of the raw files.
        seen: what was found out about them.
        awaits_survey: whether headers are still to be read, as nothing hangs on them before the build.
        found: raw items that the build is about: all of the source, or those that failed before.
        by_content: whether raw files are told by their content.
        given: what was given of the source, as `dataset.json` has it.
    """

    listing: Listing
    shards: ShardOptions
    recipe: Recipe
    splits: SplitSpec | None
    plan: Plan
    failures: Sequence[Failure]
    old: Manifest | None
    prune: bool
    state: State
    seen: Scan
    awaits_survey: bool
    found: int
    by_content: bool
    given: Mapping[str, Any] = field(default_factory=dict)


def _split_notes(listing: Listing, splits: SplitSpec | None) -> list[str]:
    """Return what to say of folders that are called like splits and are not taken as such."""
    if not listing.like_splits or (splits is not None and splits.assigns):
        return []
    names = list(listing.like_splits)
    option = f"--split-from-folders {'/'.join(names)}"
    return [f"splits: none, though the top folders {shown(names, 10)} are called like splits; pass {option} to take them as such"]


def prepare(
    listing: Listing,
    out: Path,
    options: BuildOptions,
    workers: Workers,
    report: Reporter,
    *,
    state: State,
    look: Look,
    failed: Sequence[Failure] | None = None,
    may_survey_later: bool = False,
) -> Prepared:
    """Find out all that can be known before anything is written.

    Args:
        listing: of the source.
        out: the dataset's folder.
        options: how to build.
        workers: where files are read.
        report: where notes and progress go.
        state: what earlier builds know of the raw files.
        look: says what is wrong with the shards that are there.
        failed: rows of failures.csv, which alone are to be built; None for all of the source.
        may_survey_later: whether to leave headers, if the options do without, to the build, which reads them anyway.

    Raises:
        PrepError: as `build_shards`.
    """
    asked = _asked(listing, out, options, failed)
    old, stored, shards, again = asked.old, asked.stored, asked.shards, asked.again
    workers.run_users_code = shards.have_users_code
    due, whole = (listing, listing) if again is None else (again.listing, again.beside_rows)
    for failure in () if again is None else due.failures:
        report.failed(failure)
    if asked.splits is not None:
        check_given(whole.items, asked.splits)
    _tell(report, asked.notes)
    reader = reader_of(listing.format)
    state = state.with_headers_of(listing.format)
    is_surveyed = isinstance(reader, SurveyedReader)
    later = may_survey_later and again is None and is_surveyed and is_settled(listing.format, shards)
    seen = scan(due, state, workers, report, header=not later, content=bool(options.checksum), stop_after=options.stop_after_failures)
    failures = [*due.failures, *seen.failures]
    if again is not None and old is not None:
        headers = _headers_beside_rows(seen, state, old.table)
        recipe, notes = _same_recipe(out, stored, listing, shards, headers)
    else:
        if not len(seen.usable):
            # Before the recipe, which would be resolved from nothing and be another than that of the dataset there.
            raise none_usable(listing, failures)
        before = settled_before(listing.format, stored, options.forget)
        headers = Headers.none() if later else _headers(seen, shards, before, workers, report)
        recipe, notes = resolve_recipe(listing.format, shards, headers, before=before)
        check_label_origin(out, stored, listing)
        notes = [] if later else [*(reader.describe(headers) if isinstance(reader, SurveyedReader) else []), *notes]
    _tell(report, notes)
    check_ambiguous((seen.usable_items if again is None else whole.items)["id"], recipe)
    seen, by_stat, prospect = _prospect(
        seen, state, recipe, old if again is None else None, workers=workers, report=report, checksum=bool(options.checksum)
    )
    old_digest = recipe.digest if again is not None else stored.get("digest")
    plan = make_plan(seen.usable_items, prospect, recipe.digest, old, old_digest, only_failed=again is not None, look=look)
    gone = None if old is None else old.table["id"].take(number_array(plan.gone(old.table, failures)))
    if gone is not None and not options.prune:
        check_gone(gone, plan.items["id"], recipe_changed=old_digest not in {None, recipe.digest})
    found = len(due.items) + len(due.failures)
    if failed is None:
        notes = _changes(listing, stored, recipe, gone if not options.prune else None)
        notes.append(_in_short(plan, 0 if gone is None else len(gone), len(failures), prune=options.prune))
    else:
        stay = 0 if gone is None else len(gone)
        notes = [f"retry: {found:,} of {counted(len(failed), 'raw item')} that failed; rows that stay as they are: {stay:,}"]
    _tell(report, notes)
    newer = State(items=_remembered(seen, by_stat), recipe=recipe.digest, read_by=state.read_by, about=state.about)
    return Prepared(
        listing=whole,
        shards=shards,
        recipe=recipe,
        splits=asked.splits,
        plan=plan,
        failures=failures,
        old=old,
        prune=options.prune,
        state=newer if again is None else together(state, newer),
        seen=seen,
        awaits_survey=later,
        found=found,
        by_content=bool(options.checksum),
    )


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What a build is asked for, with what was left out taken from the dataset that is there.

    Attributes:
        old: the dataset that is there, or None.
        stored: what its `dataset.json` says of the recipe.
        shards: options of the shards.
        splits: what is asked of splits, groups and folds, or None.
        again: what failed, if only that is to be built.
        notes: what to tell the user.
    """

    old: Manifest | None
    stored: Mapping[str, Any]
    shards: ShardOptions
    splits: SplitSpec | None
    again: FailedItems | None
    notes: Sequence[str]


def _asked(listing: Listing, out: Path, options: BuildOptions, failed: Sequence[Failure] | None) -> _Asked:
    """Return what a build is asked for.

    Raises:
        PrepError: as `build_shards`.
    """
    old = load_existing(out)
    if failed is not None and old is None:
        raise UsageError(f"{out}: is not a dataset; build it first")
    stored = old.metadata.recipe if old else {}
    shards = given = options.shards if options.whole else options.shards.filled_from(stored_options(out, stored, options.forget))
    if given.have_users_code and (options.whole or options.shards.transforms is not None):
        shards = with_named_code(given)
    elif given.have_users_code:
        shards = with_stored_code(given, out, stored_options(out, stored), allow=options.allow_code)
    splits = filled_splits(options.splits, old.metadata.splits if old else {}, options.forget)
    notes = check_labels(listing, old.metadata.labels if old else {})
    if failed is not None and old is not None:
        check_label_origin(out, stored, listing)
        again = failed_items(listing, old.table, failed)
        return _Asked(old=old, stored=stored, shards=shards, splits=splits, again=again, notes=again.notes)
    notes += _split_notes(listing, splits)
    if old and (given != options.shards or splits != options.splits):
        notes.append(f"options left out are those of {out}: {_written(shards, splits)}")
    return _Asked(old=old, stored=stored, shards=shards, splits=splits, again=None, notes=notes)


def _tell(report: Reporter, notes: Iterable[str]) -> None:
    for note in notes:
        report.note(note)


def _headers(seen: Scan, shards: ShardOptions, before: ReaderOptions | None, workers: Workers, report: Reporter) -> Headers[Any]:
    """Return the headers of all usable items; without those that would decide an option and cannot be read in full."""
    reader = reader_of(seen.format)
    if not isinstance(reader, SurveyedReader):
        return Headers.none()
    headers = Headers(seen.usable_items["id"], seen.usable_items["header"], reader.parse_header)
    if before is not None:
        return headers
    options = shards.of_reader(seen.format)
    return headers.without(unreadable(seen, reader.deciding(headers, options), options, workers, report))


def _headers_beside_rows(seen: Scan, state: State, rows: pa.Table) -> Headers[Any]:
    """Return the headers of some items with those that rows were made from, as far as these are known."""
    reader = reader_of(seen.format)
    if not isinstance(reader, SurveyedReader):
        return Headers.none()
    have_rows = select(state.items, positions_of(state.items["source"], rows["source"]) >= 0)
    parts = [table.select(["source", "header"]) for table in (have_rows, seen.usable_items)]
    both = arrow.pa.concat_tables(parts).unify_dictionaries()
    return Headers(both["source"], both["header"], reader.parse_header)


def _prospect(
    seen: Scan, state: State, recipe: Recipe, old: Manifest | None, *, workers: Workers, report: Reporter, checksum: bool
) -> tuple[Scan, Prints, Prospect]:
    """Return what the fingerprints of the items' shards may be; a file that only its content can tell from its row's is read for that.

    Args:
        seen: what is known of the raw files.
        state: what earlier builds know.
        recipe: to build by.
        old: the dataset whose rows the files are compared with, or None.
        workers: where files are read.
        report: shows how far it is.
        checksum: whether to tell files by content.

    Returns:
        What is known of the files now, their fingerprints by size and time, and all that they may be.
    """
    items = seen.usable_items
    places = state.places_of(items)
    by_stat = stat_prints(items, recipe.digest, state.known_prints(items, places, recipe.digest))
    prospect = _prospect_of(items, by_stat, recipe.digest, checksum=checksum)
    if old is not None and not checksum and old.metadata.recipe.get("digest") == recipe.digest:
        unsure = unsure_of(items, prospect, old, state.prints_at(places, recipe.digest))
        if len(unsure):  # reading a file is cheaper than building it again
            seen = read_contents(seen, seen.usable[unsure], workers, report)
            prospect = _prospect_of(seen.usable_items, by_stat, recipe.digest, checksum=False)
    return seen, by_stat, prospect


def _remembered(seen: Scan, by_stat: Prints) -> pa.Table:
    """Return what is to be remembered of the raw files, with the fingerprints of those that are usable."""
    prints = by_stat
    if len(seen.usable) < len(seen.items):
        prints = no_prints(len(seen.items))
        prints[seen.usable] = by_stat
    return remembered_items(seen.items.append_column("fingerprint", print_array(prints)))


def _changes(listing: Listing, stored: Mapping[str, Any], recipe: Recipe, gone: pa.ChunkedArray | None) -> list[str]:
    """Return what is other than in the dataset that is there.

    Raises:
        SourceError: rows of items that are gone cannot stand beside the others.
    """
    notes = []
    if stored and stored.get("labels", listing.label_origin) != listing.label_origin:
        if gone is not None:
            check_relabelled(gone)
        notes.append(f"labels: {listing.label_origin} now, {stored['labels']} before; classes have the order of a first build")
    if stored and stored.get("digest") != recipe.digest:
        notes.append(f"recipe changed: {'; '.join(differences(stored.get('recipe', {}), recipe.as_dict()))}")
    return notes


def _in_short(plan: Plan, gone: int, failed: int, *, prune: bool) -> str:
    moved = plan.count(MOVE)
    return (
        f"plan: add {plan.count(ADD):,}, rebuild {plan.count(REBUILD):,}, "
        f"{f'move {moved:,}, ' if moved else ''}keep {plan.count(KEEP):,}, "
        f"{'remove' if prune else 'gone but kept'} {gone:,}, failed so far {failed:,}"
    )


def none_usable(listing: Listing, failures: Sequence[Failure]) -> SourceError:
    """Return the error of a source of which not one item can be used; each is listed with its reason."""
    reasons = sorted(f"{failure.source}: {failure.stage}: {failure.error}" for failure in failures)
    found = len(listing.items) + len(listing.failures)
    return SourceError(f"none of {counted(found, 'raw item')} can be used; repair or replace:", reasons)


def check_label_origin(out: Path, stored: Mapping[str, Any], listing: Listing) -> None:
    """Refuse to give a dataset's IDs labels from elsewhere, as a forgotten --labels would.

    Raises:
        UsageError: they come from elsewhere.
    """
    before = stored.get("labels", listing.label_origin)
    if {before, listing.label_origin} == {PARENT_FOLDERS, TOP_FOLDERS}:  # `--label-from` is repeated, so it was asked for
        return
    if before != listing.label_origin:
        raise UsageError(
            f"{out}: its labels came from {before}, now they would come from {listing.label_origin}; "
            "pass the same SOURCE, --labels and --label as before, or choose another folder"
        )


def _prospect_of(items: pa.Table, by_stat: Prints, recipe_digest: str, *, checksum: bool) -> Prospect:
    """Return the fingerprints by the kind of identity that was asked for, and by the other as far as that is known."""
    by_content = content_prints(fixed(items["content"]), recipe_digest)
    if checksum:
        return Prospect(wanted=by_content, other=by_stat, by_content=True)
    return Prospect(wanted=by_stat, other=by_content, by_content=False)


def check_gone(gone: pa.ChunkedArray, ids: pa.ChunkedArray, *, recipe_changed: bool) -> None:
    """Refuse to keep rows of items that are gone where they cannot stand beside the new ones.

    Raises:
        SourceError: there are such.
    """
    if not len(gone):
        return
    if recipe_changed:
        raise SourceError(
            f"{counted(len(gone), 'row')} without a raw item were built by another recipe and cannot be built again: {_shown(gone)}; "
            "pass --prune to drop them, or keep the recipe"
        )
    names = arrow.pa.chunked_array([*gone.chunks, *ids.chunks])
    pairs = [f"{names[position].as_py()!r} and {names[earlier].as_py()!r}" for position, earlier in collisions(names)]
    if pairs:
        raise SourceError(
            "a case-insensitive disk takes these IDs for one, and the raw item of one is gone; pass --prune to drop its row:", pairs
        )


def _shown(ids: pa.ChunkedArray) -> str:
    """Name the first of some IDs."""
    first = strings(ids.slice(0, _SHOWN))
    return shown([*first, *[""] * (len(ids) - len(first))])


def check_relabelled(gone: pa.ChunkedArray) -> None:
    """Refuse to keep rows of items that are gone with labels of another kind than all others.

    Raises:
        SourceError: there are such rows.
    """
    if len(gone):
        raise SourceError(
            f"{counted(len(gone), 'row')} without a raw item would keep a label of the other kind of folder: {_shown(gone)}; "
            "pass --prune to drop them, or leave --label-from as it was"
        )


def check_ambiguous(item_ids: pa.ChunkedArray, recipe: Recipe) -> None:
    """Refuse IDs that could be a raw item's or one of its samples', where it is left to the user's function which they are.

    Raises:
        SourceError: there are such.
    """
    ids = ambiguous_ids(item_ids) if recipe.may_give_several and not recipe.always_gives_several else []
    if ids:
        raise SourceError(
            f"{counted(len(ids), 'ID')} could also be that of a sample of another raw item, as the recipe's function may give several: "
            f"{shown(ids)}; rename the files"
        )


def _same_recipe(
    out: Path, stored: Mapping[str, Any], listing: Listing, options: ShardOptions, headers: Headers[Any]
) -> tuple[Recipe, list[str]]:
    """Return the recipe of the dataset that is there, if a build of the whole source would not make it another; and what to say of colours.

    Raises:
        SourceError: it would.
    """
    try:
        recipe, notes = resolve_recipe(listing.format, options, headers, before=settled_before(listing.format, stored))
        reasons = "; ".join(differences(stored.get("recipe", {}), recipe.as_dict()))
    except (SourceError, UsageError) as error:
        reasons = str(error)
    if reasons:
        raise SourceError(
            f"{out}: what failed cannot be built by the recipe of the others; run build-shards on the whole source: {reasons}"
        )
    return recipe, [note for note in notes if note.startswith("color")]


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
