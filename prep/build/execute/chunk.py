"""The work that runs in worker processes: a chunk of items in, what became of each out; no state in between."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from manifests.format.names import SHARD_FOLDER, array_folder, default_path
from manifests.format.npyfile import AnyArray
from prep.build.execute.journal import Done, write_part
from prep.build.execute.samples import Made, Sample, samples_of
from prep.build.execute.shards import NewShard, WrittenShard, path_problem, write_shards
from prep.build.recipe.recipe import Recipe
from prep.errors import OutputError, StageError
from prep.parallel.watchdog import stop_clock, watched
from prep.sources.items import Item
from prep.sources.listing import Failure, failure_of

if TYPE_CHECKING:
    import pyarrow as pa

Items = TypeVar("Items", Sequence[Item], npt.NDArray[np.int64])

MOST_ITEMS = 256
"""Items of one chunk: enough that one flush of the file system for all of them costs little, few enough that a build that is ended
loses little."""

FEWEST_ITEMS = 16

SHORT_ID = 255
"""Characters of an ID with which no path below a folder of a reasonable path is too long."""

MOST_HELD_BYTES = 1 << 24
"""Of samples that a worker holds before it writes them."""

PART_SECONDS = 1.0
"""Work after which a chunk of large items says what it has done so far."""

CHUNKS_PER_WORKER = 2
"""Into which all that is left is cut for each next chunk: the last ones are small, so that all workers come to their end at about the
same time, whatever some of their items take."""


def chunks_of(items: Items, workers: int) -> list[Items]:
    """Cut items, or their positions, into chunks, in their order."""
    chunks: list[Items] = []
    start = 0
    while start < len(items):
        count = min(MOST_ITEMS, max(FEWEST_ITEMS, (len(items) - start) // (workers * CHUNKS_PER_WORKER)))
        chunks.append(items[start : start + count])
        start += count
    return chunks


@dataclass(frozen=True, kw_only=True)
class BuildChunk:
    """Records whose shards are to be written.

    Attributes:
        root: the source's folder.
        target: the folder to write below, laid out as a dataset.
        recipe: what to do with each.
        items: what to read.
        fingerprints: item's ID -> fingerprint of what is to be written.
        positions: item's ID -> its position among those that are to be built.
    """

    root: Path
    target: Path
    recipe: Recipe
    items: Sequence[Item]
    fingerprints: Mapping[str, str]
    positions: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Built:
    """What became of a chunk's items.

    Attributes:
        written: what each of its parts tells of, as `prep.build.execute.journal.WRITTEN` has it.
        count: how many items are done and well.
        failures: of the other items.
    """

    written: Sequence[pa.Table]
    count: int
    failures: Sequence[Failure]

    def __len__(self) -> int:
        """Return how many items are done and well."""
        return self.count


def build_chunk(chunk: BuildChunk) -> Built:
    """Read, transform and write a chunk's items; one that cannot be is a failure, not an error.

    When it returns, the shards are on the disk, and a part says so to a build that has to go on after this one. It may be run
    again, as after the death of a worker.

    Samples are written some at a time: reading and writing in turn for each would make the processor fetch the code of both every time.

    Raises:
        OutputError: a shard cannot be written (a full disk, a read-only folder): no item's fault, so the build ends.
    """
    failures: list[Failure] = []
    held = _Held(chunk)
    for item in watched(chunk.items):
        try:
            held.add(item, samples_of(chunk.root, item, chunk.recipe))
        except StageError as error:
            failures.append(failure_of(item, error.stage, error))
        held.write_if_due()
    held.write()
    return Built(written=held.told, count=len(chunk.items) - len(failures), failures=failures)


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
        self.told: list[pa.Table] = []
        self._chunk = chunk
        self._made: list[tuple[Item, Made]] = []
        self._bytes = 0
        self._done: list[Done] = []
        self._deadline = time.monotonic() + PART_SECONDS

    def add(self, item: Item, made: Made) -> None:
        """Take an item's samples.

        Raises:
            StageError: the path of a sample's shard is longer than the system takes.
        """
        for sample in made.samples:
            if len(sample.id) > SHORT_ID:
                folders = [SHARD_FOLDER, *map(array_folder, sample.arrays)]
                problem = next((text for folder in folders if (text := path_problem(self._chunk.target, sample.id, folder))), None)
                if problem is not None:
                    raise StageError("write", problem)
        if any(_is_part_of_more(array) for sample in made.samples for array in sample.each()):
            made = replace(made, samples=[_copied(sample) for sample in made.samples])
        self._made.append((item, made))
        self._bytes += sum(array.nbytes for sample in made.samples for array in sample.each())

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
        new = [shard for _, made in held for sample in made.samples for shard in _new_shards(sample, target)]
        try:
            written = iter(write_shards(new))
        except OSError as error:
            id_ = next((shard.id for shard in new if shard.path == error.filename), "")
            raise OutputError(f"{error.filename}: the shard of ID {id_!r} cannot be written: {error.strerror or error}") from error
        self._done += [(item, tuple(_taken(written, sample) for sample in made.samples), made.header) for item, made in held]


def _copied(sample: Sample) -> Sample:
    return replace(sample, array=sample.array.copy(), arrays={name: array.copy() for name, array in sample.arrays.items()})


def _new_shards(sample: Sample, target: Path) -> Iterator[NewShard]:
    """Yield the files of a sample, that of its main array first."""
    yield NewShard(sample.id, sample.array, os.path.join(target, default_path(sample.id)), stage=target)
    for name, array in sample.arrays.items():
        path = os.path.join(target, default_path(sample.id, folder=array_folder(name)))
        yield NewShard(sample.id, array, path, stage=target, is_main=False)


def _taken(written: Iterator[WrittenShard], sample: Sample) -> WrittenShard:
    """Take what was written of a sample, in the order of `_new_shards`."""
    main = next(written)
    return replace(main, arrays={name: next(written) for name in sample.arrays}) if sample.arrays else main
