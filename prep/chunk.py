"""The work that runs in worker processes: a chunk of items in, what became of each out; no state in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from manifests.names import default_path
from manifests.npyfile import AnyArray
from prep.errors import ItemError, OutputError
from prep.recipe import Recipe
from prep.records import Failure, Record
from prep.shards import WrittenShard, write_shard
from prep.sources.arrays import read_raw_array
from prep.sources.images import ImageFacts, read_image, survey_image
from prep.text import printable
from prep.transforms.values import convert_values

CHUNK_ITEMS = 64
"""Items of one chunk: some milliseconds of work each make a chunk worth its trip to a worker."""


def chunks_of(records: Sequence[Record]) -> list[Sequence[Record]]:
    """Cut records into chunks, in their order."""
    return [records[start : start + CHUNK_ITEMS] for start in range(0, len(records), CHUNK_ITEMS)]


@dataclass(frozen=True, kw_only=True)
class SurveyChunk:
    """Images whose headers are to be read.

    Attributes:
        root: the source's folder.
        records: what to read.
    """

    root: Path
    records: Sequence[Record]


@dataclass(frozen=True, kw_only=True)
class BuildChunk:
    """Records whose shards are to be written.

    Attributes:
        root: the source's folder.
        target: the folder to write below, laid out as a dataset.
        recipe: what to do with each.
        records: what to read.
    """

    root: Path
    target: Path
    recipe: Recipe
    records: Sequence[Record]


def survey_chunk(chunk: SurveyChunk) -> list[tuple[Record, ImageFacts | Failure]]:
    """Read the headers of a chunk's images; one that cannot be read is a failure, not an error."""
    found: list[tuple[Record, ImageFacts | Failure]] = []
    for record in chunk.records:
        try:
            found.append((record, survey_image(chunk.root / record.source)))
        except ItemError as error:
            found.append((record, _failure(record, "read", error)))
    return found


def build_chunk(chunk: BuildChunk) -> list[tuple[Record, WrittenShard | Failure]]:
    """Read, transform and write a chunk's records; one that cannot be is a failure, not an error.

    Raises:
        OutputError: a shard cannot be written (a full disk, a read-only folder): no item's fault, so the build ends.
    """
    return [(record, _build(chunk, record)) for record in chunk.records]


def _build(chunk: BuildChunk, record: Record) -> WrittenShard | Failure:
    stage = "read"
    try:
        raw = _read(chunk.root / record.source, chunk.recipe)
        stage = "transform"
        recipe = chunk.recipe
        array = convert_values(raw, recipe.dtype or raw.dtype.name, recipe.scale, is_image=recipe.format == "images")
    except (ItemError, MemoryError) as error:
        return _failure(record, stage, error)
    path = chunk.target / default_path(record.id)
    try:
        return write_shard(array, path)
    except OSError as error:
        raise OutputError(f"{path}: the shard of ID {record.id!r} cannot be written: {error.strerror or error}") from error


def _read(path: Path, recipe: Recipe) -> AnyArray:
    if recipe.format == "arrays":
        return read_raw_array(path, recipe.npz_key)
    return read_image(path, size=recipe.size, gray=recipe.channels == 1)


def _failure(record: Record, stage: str, error: Exception) -> Failure:
    text = str(error) if isinstance(error, ItemError) else f"{type(error).__name__}: {error}"
    return Failure(id=record.id, source=record.source, stage=stage, error=printable(text))
