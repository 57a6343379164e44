"""From a raw item to the samples it becomes: read, then transform; nothing is written here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from manifests.format.npyfile import AnyArray
from prep.build.recipe.recipe import Recipe
from prep.errors import ItemError, StageError
from prep.readers.limits import MAX_SAMPLES
from prep.readers.reader import Wanted
from prep.readers.registry import reader_of
from prep.readers.system_errors import check_shortage
from prep.sources.items import Item
from prep.sources.numbered_samples import sample_ids
from prep.transforms.interface.convert_values import convert_values
from prep.transforms.interface.transform import Transform
from prep.transforms.resize import Resize


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
        header: what the header of its file says, as items have it; empty if the reader is not surveyed.
    """

    samples: Sequence[Sample]
    header: str = ""


def samples_of(root: Path, item: Item, recipe: Recipe) -> Made:
    """Read a raw item and make its samples; a pure function of the raw bytes and the recipe.

    Args:
        root: the source's folder.
        item: the raw item.
        recipe: what to do with it.

    Raises:
        StageError: the item cannot be used; says at which stage.
        WorkerError: the system ran out of something that reading takes.
    """
    stage, reader = "read", reader_of(recipe.format)
    try:
        reading = reader.read(f"{root}/{item.source}", item.member, _wanted(recipe))
        arrays, are_several = [reading.array], False
        stage = "transform"
        for transform in recipe.transforms:
            arrays, several = _applied(transform, arrays, full_range=reader.full_range)
            are_several |= several
        arrays = [convert_values(array, recipe.dtype or array.dtype.name, recipe.scale, full_range=reader.full_range) for array in arrays]
    except ItemError as error:
        check_shortage(error, item.source)
        raise StageError(stage, str(error)) from error
    except Exception as error:  # a reader of another package's may raise anything, and so may a decoder on damaged bytes
        check_shortage(error, item.source)
        raise StageError(stage, f"{type(error).__name__}: {error}") from error
    if not are_several:
        return Made(samples=[Sample(id=item.id, array=arrays[0])], header=reading.header)
    samples = [Sample(id=id_, array=array) for id_, array in zip(sample_ids(item.id, len(arrays)), arrays, strict=True)]
    return Made(samples=samples, header=reading.header)


def _applied(transform: Transform, arrays: Sequence[AnyArray], *, full_range: bool) -> tuple[list[AnyArray], bool]:
    """Return what a transform makes of each array, in order, and whether it made several of any."""
    made: list[AnyArray] = []
    are_several = False
    for array in arrays:
        result = transform.apply(array, full_range=full_range)
        are_several |= not isinstance(result, np.ndarray)
        made += [result] if isinstance(result, np.ndarray) else result
    if len(made) > MAX_SAMPLES:
        raise ItemError(f"would become {len(made):,} samples; at most {MAX_SAMPLES:,} are made of one item")
    return made, are_several


def _wanted(recipe: Recipe) -> Wanted:
    first = recipe.transforms[0] if recipe.transforms else None
    at_least = first.size if isinstance(first, Resize) and recipe.size is None else None
    return Wanted(options=recipe.options, size=recipe.size, at_least=at_least)
