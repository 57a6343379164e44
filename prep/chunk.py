"""The work that runs in worker processes: a chunk of items in, what became of each out; no state in between."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from manifests.names import default_path
from prep.errors import ItemError, OutputError, StageError
from prep.parts import write_part
from prep.recipe import Recipe
from prep.records import Failure, Record
from prep.samples import Sample, samples_of
from prep.shards import WrittenShard, write_shard
from prep.text import printable
from prep.watchdog import stop_clock, watched

MOST_ITEMS = 256
"""Items of one chunk: enough that one flush of the file system for all of them costs little, few enough that a build that is ended
loses little."""

FEWEST_ITEMS = 16

PART_SECONDS = 1.0
"""Work after which a chunk of large items says what it has done so far."""

CHUNKS_PER_WORKER = 8
"""So that all workers come to their end at about the same time, whatever some of their items take."""


def chunks_of(records: Sequence[Record], workers: int) -> list[Sequence[Record]]:
    """Cut records into chunks, in their order."""
    items = min(MOST_ITEMS, max(FEWEST_ITEMS, len(records) // (workers * CHUNKS_PER_WORKER)))
    return [records[start : start + items] for start in range(0, len(records), items)]


@dataclass(frozen=True, kw_only=True)
class BuildChunk:
    """Records whose shards are to be written.

    Attributes:
        root: the source's folder.
        target: the folder to write below, laid out as a dataset.
        recipe: what to do with each.
        records: what to read.
        fingerprints: record's ID -> fingerprint of what is to be written.
    """

    root: Path
    target: Path
    recipe: Recipe
    records: Sequence[Record]
    fingerprints: Mapping[str, str]


def build_chunk(chunk: BuildChunk) -> list[tuple[Record, tuple[WrittenShard, ...] | Failure]]:
    """Read, transform and write a chunk's records; one that cannot be is a failure, not an error.

    When it returns, the shards are on the disk, and a part says so to a build that has to go on after this one. It may be run
    again, as after the death of a worker.

    Raises:
        OutputError: a shard cannot be written (a full disk, a read-only folder): no item's fault, so the build ends.
    """
    outcomes: list[tuple[Record, tuple[WrittenShard, ...] | Failure]] = []
    noted, deadline = 0, time.monotonic() + PART_SECONDS
    for record in watched(chunk.records):
        outcomes.append((record, _build(chunk, record)))
        stop_clock()  # a slow disk may take its time over a part
        if time.monotonic() >= deadline:
            _note(chunk, outcomes[noted:])
            noted, deadline = len(outcomes), time.monotonic() + PART_SECONDS
    _note(chunk, outcomes[noted:])
    return outcomes


def _note(chunk: BuildChunk, outcomes: Sequence[tuple[Record, tuple[WrittenShard, ...] | Failure]]) -> None:
    done = [(record, outcome) for record, outcome in outcomes if not isinstance(outcome, Failure)]
    try:
        write_part(chunk.target, done, chunk.fingerprints)
    except OSError as error:
        raise OutputError(f"{error.filename or chunk.target}: cannot be written: {error.strerror or error}") from error


def _build(chunk: BuildChunk, record: Record) -> tuple[WrittenShard, ...] | Failure:
    """Return what was written for each sample of a record, in the order of its samples."""
    try:
        samples = samples_of(chunk.root, record, chunk.recipe)
    except StageError as error:
        return _failure(record, error.stage, error)
    return tuple(_write(chunk.target, sample) for sample in samples)


def _write(target: Path, sample: Sample) -> WrittenShard:
    path = target / default_path(sample.id)
    try:
        return write_shard(sample.id, sample.array, path)
    except OSError as error:
        raise OutputError(f"{path}: the shard of ID {sample.id!r} cannot be written: {error.strerror or error}") from error


def _failure(record: Record, stage: str, error: ItemError) -> Failure:
    return Failure(id=record.id, source=record.source, stage=stage, error=printable(str(error)), type=type(_root(error)).__name__)


def _root(error: BaseException) -> BaseException:
    """Return what an error came from in the first place."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
