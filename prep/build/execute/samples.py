"""From a raw item to the samples it becomes: read, then transform; nothing is written here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from manifests.format.metadata import is_dtype_name
from manifests.format.npyfile import AnyArray
from manifests.format.schema import array_name_problem
from prep.build.recipe.recipe import Recipe
from prep.errors import ItemError, StageError
from prep.readers.limits import MAX_SAMPLES
from prep.readers.reader import Reader, Reading, Wanted
from prep.readers.registry import reader_of
from prep.readers.system_errors import check_shortage
from prep.sources.items import Item
from prep.sources.numbered_samples import sample_ids
from prep.transforms.interface.convert_values import convert_values
from prep.transforms.interface.transform import Transform
from prep.transforms.resize import Resize

MAX_ARRAYS = 32
"""Of one sample beside the main one: each is five columns of the manifest."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One ID's arrays, before they are shards: each C-contiguous and little-endian, of any shape.

    Attributes:
        id: of the sample.
        array: the main one.
        arrays: further ones by name.
    """

    id: str
    array: AnyArray
    arrays: Mapping[str, AnyArray] = field(default_factory=dict)

    def each(self) -> Iterator[AnyArray]:
        """Yield all arrays."""
        yield self.array
        yield from self.arrays.values()


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
        reading = _read(reader, f"{root}/{item.source}", item.member, _wanted(recipe))
        arrays, are_several = [reading.array], False
        further = _further(reading.arrays, reader.name) if reading.arrays else {}
        stage = "transform"
        for transform in recipe.transforms:
            _check_aligned(transform, further)
            arrays, several = _applied(transform, arrays, full_range=reader.full_range)
            are_several |= several
        arrays = [convert_values(array, recipe.dtype or array.dtype.name, recipe.scale, full_range=reader.full_range) for array in arrays]
    except ItemError as error:
        check_shortage(error, item.source)
        raise StageError(stage, str(error)) from error
    except MemoryError as error:
        raise StageError(stage, f"{type(error).__name__}: {error}") from error
    if not are_several:
        return Made(samples=[Sample(id=item.id, array=arrays[0], arrays=further)], header=reading.header)
    samples = [Sample(id=id_, array=array) for id_, array in zip(sample_ids(item.id, len(arrays)), arrays, strict=True)]
    return Made(samples=samples, header=reading.header)


def _read(reader: Reader, path: str, member: str, wanted: Wanted) -> Reading:
    """Read an item; whatever a reader raises means that the item cannot be used: on damaged bytes decoders raise almost anything.

    Raises:
        ItemError: it cannot be used.
        MemoryError: it is too large.
    """
    try:
        return reader.read(path, member, wanted)
    except (ItemError, MemoryError):
        raise
    except Exception as error:
        raise ItemError(f"{type(error).__name__}: {error}") from error


def _further(arrays: Mapping[str, AnyArray], reader: str) -> dict[str, AnyArray]:
    """Return the further arrays of an item as they are stored, by name in order; no option changes their values.

    Raises:
        ItemError: a reader gives what cannot be stored.
    """
    if len(arrays) > MAX_ARRAYS:
        raise ItemError(f"the reader {reader!r} gives {len(arrays):,} arrays beside the main one; at most {MAX_ARRAYS} are stored")
    for name, array in arrays.items():
        problem = array_name_problem(name)
        if problem:
            raise ItemError(f"the reader {reader!r} gives an array of a bad name: {problem}")
        if (found := _not_numbers(array)) is not None:
            raise ItemError(f"the reader {reader!r} gives {found} as {name!r}; expected an array of numbers")
    return {name: np.asarray(arrays[name], dtype=arrays[name].dtype.newbyteorder("<"), order="C") for name in sorted(arrays)}


def _not_numbers(value: object) -> str | None:
    """Say what a value is that cannot be stored as an array of numbers; None if it can."""
    if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray):
        return type(value).__name__
    return None if is_dtype_name(value.dtype.name) else f"an array of dtype {value.dtype.name}"


def _check_aligned(transform: Transform, arrays: Mapping[str, AnyArray]) -> None:
    """Refuse a transform that moves values of the main array where further arrays are to go with it.

    Raises:
        ItemError: it does.
    """
    if transform.keeps_places or not arrays:
        return
    names = ", ".join(map(repr, arrays))
    raise ItemError(
        f"{transform.as_dict()['name']} changes only the main array, and {names} would no longer go with it; "
        "leave the transform out, or have the reader do it to all of them"
    )


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
