"""From a raw item to the samples it becomes: read, then transform; nothing is written here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from manifests.npyfile import AnyArray
from prep.errors import ItemError, StageError
from prep.limits import MAX_SAMPLES
from prep.recipe import Recipe
from prep.records import Record
from prep.sampleids import sample_ids
from prep.shortage import check_shortage
from prep.sources.arrays import read_raw_array
from prep.sources.facts import ImageFacts
from prep.sources.images import read_with_facts
from prep.transforms.resize import Resize
from prep.transforms.transform import Transform
from prep.transforms.values import convert_values


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One ID's array, before it is a shard.

    Attributes:
        id: of the sample.
        array: C-contiguous and little-endian; any shape.
    """

    id: str
    array: AnyArray


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a raw item became.

    Attributes:
        samples: at least one.
        facts: what the header of an image says.
    """

    samples: Sequence[Sample]
    facts: ImageFacts | None = None


def samples_of(root: Path, record: Record, recipe: Recipe) -> Made:
    """Read a raw item and make its samples; a pure function of the raw bytes and the recipe.

    Args:
        root: the source's folder.
        record: the raw item.
        recipe: what to do with it.

    Raises:
        StageError: the item cannot be used; says at which stage.
        WorkerError: the system ran out of something that reading takes.
    """
    stage = "read"
    try:
        array, facts = _read(f"{root}/{record.source}", recipe)
        arrays, are_several = [array], False
        stage = "transform"
        for transform in recipe.transforms:
            arrays, several = _applied(transform, arrays, is_image=recipe.format == "images")
            are_several |= several
        arrays = [
            convert_values(array, recipe.dtype or array.dtype.name, recipe.scale, is_image=recipe.format == "images") for array in arrays
        ]
    except ItemError as error:
        check_shortage(error, record.source)
        raise StageError(stage, str(error)) from error
    except MemoryError as error:
        raise StageError(stage, f"{type(error).__name__}: {error}") from error
    if not are_several:
        return Made(samples=[Sample(id=record.id, array=arrays[0])], facts=facts)
    samples = [Sample(id=id_, array=array) for id_, array in zip(sample_ids(record.id, len(arrays)), arrays, strict=True)]
    return Made(samples=samples, facts=facts)


def _applied(transform: Transform, arrays: Sequence[AnyArray], *, is_image: bool) -> tuple[list[AnyArray], bool]:
    """Return what a transform makes of each array, in order, and whether it made several of any."""
    made: list[AnyArray] = []
    are_several = False
    for array in arrays:
        result = transform.apply(array, is_image=is_image)
        are_several |= not isinstance(result, np.ndarray)
        made += [result] if isinstance(result, np.ndarray) else result
    if len(made) > MAX_SAMPLES:
        raise ItemError(f"would become {len(made):,} samples; at most {MAX_SAMPLES:,} are made of one item")
    return made, are_several


def _read(path: str, recipe: Recipe) -> tuple[AnyArray, ImageFacts | None]:
    if recipe.format == "arrays":
        return read_raw_array(Path(path), recipe.npz_key), None
    first = recipe.transforms[0] if recipe.transforms else None
    at_least = first.size if isinstance(first, Resize) and recipe.size is None else None
    return read_with_facts(path, size=recipe.size, gray=recipe.channels == 1, at_least=at_least)
