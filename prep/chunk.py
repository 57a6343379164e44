"""The work that runs in worker processes: a chunk of items in, what became of each out; no state in between."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from manifests.names import default_path
from manifests.npyfile import AnyArray
from manifests.strings import Positions
from prep.errors import OutputError, StageError
from prep.parts import Done, write_part
from prep.recipe import Recipe
from prep.records import Failure, Record, failure_of
from prep.samples import Made, samples_of
from prep.shards import NewShard, write_shards
from prep.watchdog import stop_clock, watched
from prep.written import Written

Items = TypeVar("Items", Sequence[Record], Positions)

MOST_ITEMS = 256
"""Items of one chunk: enough that one flush of the file system for all of them costs little, few enough that a build that is ended
loses little."""

FEWEST_ITEMS = 16

MOST_HELD_BYTES = 1 << 24
"""Of samples that a worker holds before it writes them."""

PART_SECONDS = 1.0
"""Work after which a chunk of large items says what it has done so far."""

CHUNKS_PER_WORKER = 2
"""Into which all that is left is cut for each next chunk: the last ones are small, so that all workers come to their end at about the
same time, whatever some of their items take."""


def chunks_of(records: Items, workers: int) -> list[Items]:
    """Cut records, or their positions, into chunks, in their order."""
    chunks: list[Items] = []
    start = 0
    while start < len(records):
        items = min(MOST_ITEMS, max(FEWEST_ITEMS, (len(records) - start) // (workers * CHUNKS_PER_WORKER)))
        chunks.append(records[start : start + items])
        start += items
    return chunks


@dataclass(frozen=True, kw_only=True)
class BuildChunk:
    """Records whose shards are to be written.

    Attributes:
        root: the source's folder.
        target: the folder to write below, laid out as a dataset.
        recipe: what to do with each.
        records: what to read.
        fingerprints: record's ID -> fingerprint of what is to be written.
        positions: record's ID -> its position among those that are to be built.
    """

    root: Path
    target: Path
    recipe: Recipe
    records: Sequence[Record]
    fingerprints: Mapping[str, str]
    positions: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Built:
    """What became of a chunk's records.

    Attributes:
        written: what each of its parts tells of.
        failures: of the other records.
    """

    written: Sequence[Written]
    failures: Sequence[Failure]

    def __len__(self) -> int:
        """Return how many records are done and well."""
        return sum(map(len, self.written))


def build_chunk(chunk: BuildChunk) -> Built:
    """Read, transform and write a chunk's records; one that cannot be is a failure, not an error.

    When it returns, the shards are on the disk, and a part says so to a build that has to go on after this one. It may be run
    again, as after the death of a worker.

    Samples are written some at a time: reading and writing in turn for each would make the processor fetch the code of both every time.

    Raises:
        OutputError: a shard cannot be written (a full disk, a read-only folder): no item's fault, so the build ends.
    """
    failures: list[Failure] = []
    held = _Held(chunk)
    for record in watched(chunk.records):
        try:
            held.add(record, samples_of(chunk.root, record, chunk.recipe))
        except StageError as error:
            failures.append(failure_of(record, error.stage, error))
        held.write_if_due()
    held.write()
    return Built(written=held.told, failures=failures)


def _is_part_of_more(array: AnyArray) -> bool:
    """Return whether an array holds much more memory than its own, as a view of a part of another does."""
    owner = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    return owner.nbytes > 2 * array.nbytes


class _Held:
    """Samples of a chunk that are made and not yet written, and shards that are written and not yet told of by a part.

    Attributes:
        told: what each part tells of.
    """

    def __init__(self, chunk: BuildChunk) -> None:
        self.told: list[Written] = []
        self._chunk = chunk
        self._made: list[tuple[Record, Made]] = []
        self._bytes = 0
        self._done: list[Done] = []
        self._deadline = time.monotonic() + PART_SECONDS

    def add(self, record: Record, made: Made) -> None:
        """Take a record's samples."""
        if any(_is_part_of_more(sample.array) for sample in made.samples):
            made = replace(made, samples=[replace(sample, array=sample.array.copy()) for sample in made.samples])
        self._made.append((record, made))
        self._bytes += sum(sample.array.nbytes for sample in made.samples)

    def write_if_due(self) -> None:
        """Write what is held if it is much, and a part too if the last one was long ago."""
        if time.monotonic() >= self._deadline:
            self.write()
        elif self._bytes >= MOST_HELD_BYTES:
            self._write_shards()

    def write(self) -> None:
        """Write what is held, and a part that tells of all that was written since the last one."""
        self._write_shards()
        stop_clock()  # a slow disk may take its time over a part
        chunk = self._chunk
        try:
            written = write_part(chunk.target, self._done, fingerprints=chunk.fingerprints, positions=chunk.positions)
        except OSError as error:
            raise OutputError(f"{error.filename or chunk.target}: cannot be written: {error.strerror or error}") from error
        self.told += [written] if len(written) else []
        self._done = []
        self._deadline = time.monotonic() + PART_SECONDS

    def _write_shards(self) -> None:
        stop_clock()
        held, self._made, self._bytes = self._made, [], 0
        target = self._chunk.target
        new = [
            NewShard(sample.id, sample.array, os.path.join(target, default_path(sample.id))) for _, made in held for sample in made.samples
        ]
        try:
            written = iter(write_shards(new))
        except OSError as error:
            id_ = next((shard.id for shard in new if shard.path == error.filename), "")
            raise OutputError(f"{error.filename}: the shard of ID {id_!r} cannot be written: {error.strerror or error}") from error
        self._done += [(record, tuple(islice(written, len(made.samples))), made.facts) for record, made in held]
