"""All that can be known before anything is written: records, survey, recipe, plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manifests.manifest import Manifest
from manifests.names import collisions
from manifests.schema import METADATA_NAME
from prep.chunk import SurveyChunk, chunks_of, survey_chunk
from prep.errors import OutputError, SourceError, UsageError
from prep.executors import Workers
from prep.gather import gather
from prep.output import load_existing
from prep.plan import Plan, make_plan, raw_identity
from prep.recipe import Recipe, ShardOptions, differences
from prep.records import Failure, Listing, Record
from prep.report import Reporter
from prep.sources.detect import SourceOptions
from prep.splits import SplitSpec
from prep.survey import Survey, resolve_recipe
from prep.text import counted, shown


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How to build; what is left out is taken from the dataset that is there, or else found out.

    Attributes:
        source: what the source is and which columns of a table mean what.
        shards: size, channels, dtype and range of the arrays.
        splits: shares of the splits.
        workers: processes; None takes one per processor, or fewer for few items; 1 works in this process.
        prune: drop rows whose raw item is gone, with their shards; else they stay.
        checksum: tell changed raw files by content, not by size and time.
    """

    source: SourceOptions = field(default_factory=SourceOptions)
    shards: ShardOptions = field(default_factory=ShardOptions)
    splits: SplitSpec | None = None
    workers: int | None = None
    prune: bool = False
    checksum: bool = False

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"workers must be a positive integer, got {self.workers}")


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """All that is known before anything is written.

    Attributes:
        listing: the source's records.
        shards: options of the shards, with those left out taken from the dataset that is there.
        recipe: with nothing left open.
        splits: shares, or None.
        plan: what to do with each ID.
        failures: raw items that are out already.
        old: the dataset that is there, or None.
        prune: whether rows of items that are gone go too.
    """

    listing: Listing
    shards: ShardOptions
    recipe: Recipe
    splits: SplitSpec | None
    plan: Plan
    failures: Sequence[Failure]
    old: Manifest | None
    prune: bool


def prepare(listing: Listing, out: Path, options: BuildOptions, workers: Workers, report: Reporter) -> Prepared:
    """Find out all that can be known before anything is written.

    Raises:
        PrepError: as `build_shards`.
    """
    old = load_existing(out)
    stored = old.metadata.recipe if old else {}
    shard_options = options.shards.filled_from(_stored_options(out, stored))
    splits = options.splits or (SplitSpec.from_dict(old.metadata.splits) if old else None)
    if old and (shard_options != options.shards or splits != options.splits):
        report.note(f"options left out are those of {out}: {_written(shard_options, splits)}")
    survey, unreadable = _surveyed(listing, workers, report)
    failed = {failure.id for failure in unreadable}
    records = [record for record in listing.records if record.id not in failed]
    if not records:
        # Before the recipe, which would be resolved from nothing and be another than that of the dataset there.
        raise none_usable(listing, [*listing.failures, *unreadable])
    recipe, notes = resolve_recipe(listing.format, shard_options, survey)
    _check_label_origin(out, stored, listing)
    for note in [*survey.notes(), *notes]:
        report.note(note)
    identities, vanished = _identities(listing.root, records, checksum=options.checksum)
    records = [record for record in records if record.id in identities]
    plan = make_plan(records, identities, recipe.digest, old, stored.get("digest"))
    failures = [*listing.failures, *unreadable, *vanished]
    gone = [] if options.prune else plan.gone_without(failures)
    _check_gone(gone, plan, recipe_changed=stored.get("digest") not in {None, recipe.digest})
    if old and stored.get("digest") != recipe.digest:
        report.note(f"recipe changed: {'; '.join(differences(stored.get('recipe', {}), recipe.as_dict()))}")
    report.note(
        f"plan: add {len(plan.add):,}, rebuild {len(plan.rebuild):,}, keep {len(plan.keep):,}, "
        f"{'remove' if options.prune else 'gone but kept'} {len(plan.gone_without(failures)):,}, failed so far {len(failures):,}"
    )
    return Prepared(
        listing=listing, shards=shard_options, recipe=recipe, splits=splits, plan=plan, failures=failures, old=old, prune=options.prune
    )


def none_usable(listing: Listing, failures: Sequence[Failure]) -> SourceError:
    """Return the error of a source of which not one item can be used; each is listed with its reason."""
    reasons = sorted(f"{failure.source}: {failure.stage}: {failure.error}" for failure in failures)
    found = len(listing.records) + len(listing.failures)
    return SourceError(f"not one of {counted(found, 'raw item')} could be used; mend or replace them:", reasons)


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


def _surveyed(listing: Listing, workers: Workers, report: Reporter) -> tuple[Survey, list[Failure]]:
    """Read the headers of all images; arrays need none."""
    if listing.format != "images":
        return Survey(), []
    chunks = [SurveyChunk(root=listing.root, records=part) for part in chunks_of(listing.records)]
    facts, failures = gather(workers, survey_chunk, chunks, what="survey", report=report)
    return Survey(facts), failures


def _identities(root: Path, records: Sequence[Record], *, checksum: bool) -> tuple[dict[str, str], list[Failure]]:
    identities: dict[str, str] = {}
    failures: list[Failure] = []
    for record in records:
        try:
            identities[record.id] = raw_identity(root / record.source, checksum=checksum)
        except OSError as error:
            failures.append(Failure(id=record.id, source=record.source, stage="read", error=f"cannot be read: {error.strerror}"))
    return identities, failures


def _check_gone(gone: Sequence[str], plan: Plan, *, recipe_changed: bool) -> None:
    """Refuse to keep rows of items that are gone where they cannot stand beside the new ones."""
    if gone and recipe_changed:
        raise SourceError(
            f"{counted(len(gone), 'row')} without a raw item were built by another recipe and cannot be built again: {shown(list(gone))}; "
            "pass --prune to drop them, or keep the recipe"
        )
    names = [*gone, *plan.fingerprints]
    pairs = [f"{names[position]!r} and {names[earlier]!r}" for position, earlier in collisions(names)] if gone else []
    if pairs:
        raise SourceError(
            "a case-insensitive disk takes these IDs for one, and the raw item of one is gone; pass --prune to drop its row:", pairs
        )


def _written(options: ShardOptions, splits: SplitSpec | None) -> str:
    """Write options as the user would give them."""
    parts = [
        f"--{name.replace('_', '-')} {'x'.join(map(str, value)) if name == 'size' else value}" for name, value in options.as_dict().items()
    ]
    if splits is not None:
        parts.append(f"--split {','.join(f'{name}={float(share):g}' for name, share in splits.fractions.items())} --seed {splits.seed}")
    return " ".join(parts) or "none"
