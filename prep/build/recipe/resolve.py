"""From what the user asks of the shards to a recipe with nothing left open."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from prep.build.recipe.options import stored_names
from prep.build.recipe.recipe import Recipe, ShardOptions
from prep.errors import UsageError
from prep.readers.headers import Headers
from prep.readers.parameters import ReaderOptions
from prep.readers.reader import Asked, Settled, SurveyedReader
from prep.readers.registry import reader_of
from prep.transforms.resize import Resize


def resolve_recipe(
    format_: str, options: ShardOptions, headers: Headers[Any], *, before: ReaderOptions | None = None
) -> tuple[Recipe, list[str]]:
    """Fill in what the user left open from what was found.

    Args:
        format_: name of the reader of the raw files.
        options: of the shards.
        headers: of the items, where the reader is surveyed.
        before: what the options left on "auto" are in the dataset that is there; None if there is none.

    Returns:
        The recipe, and a note for each thing that was decided.

    Raises:
        UsageError: an option does not go with the kind of raw file.
        SourceError: the items do not go together.
    """
    reader, own, asked = reader_of(format_), options.of_reader(format_), asked_of(options)
    notes = [f"dtype: {asked.dtype}, as there is a scale"] if asked.dtype and not options.dtype else []
    if isinstance(reader, SurveyedReader):
        settled = reader.settle(headers, own, asked, before)
    else:
        settled = Settled(
            options=own, dtype=asked.dtype, notes=[] if asked.dtype else ["dtype: each array's own; give --dtype for another"]
        )
    resize = () if options.size is None or reader.resizes else (Resize(size=options.size),)
    recipe = Recipe(
        format=format_,
        options=settled.options,
        size=options.size if reader.resizes else None,
        dtype=settled.dtype,
        scale=options.scale,
        transforms=(*resize, *(options.transforms or ())),
    )
    return recipe, [*notes, *settled.notes]


def is_settled(format_: str, options: ShardOptions) -> bool:
    """Return whether the recipe is the same whatever the headers of the items say."""
    reader = reader_of(format_)
    return not isinstance(reader, SurveyedReader) or reader.is_settled(options.of_reader(format_), asked_of(options))


def asked_of(options: ShardOptions) -> Asked:
    """Return what is asked of the shards, as readers take it."""
    transforms = options.transforms or ()
    first = next((transform for transform in transforms if not transform.keeps_dtype), None)
    dtype, scale = (options.dtype, options.scale) if first is None else (getattr(first, "dtype", None), getattr(first, "factor", None))
    return Asked(
        dtype=options.dtype or ("float32" if options.scale is not None else None),
        size=options.size,
        keeps_dtype=first is None,
        has_transforms=bool(transforms),
        full_range=dtype in {"uint8", "uint16"} or scale == "unit",
    )


def settled_before(format_: str, stored: Mapping[str, Any], forget: Collection[str] = ()) -> ReaderOptions | None:
    """Return what the reader's options are in the dataset that is there, those that were given or are to be forgotten left out.

    Args:
        format_: name of the reader.
        stored: what its `dataset.json` says of the recipe.
        forget: options, as in `BuildOptions.forget`.

    Returns:
        None if nothing is known of them.
    """
    given, recipe = stored.get("options", {}), stored.get("recipe", {})
    if not (isinstance(given, dict) and isinstance(recipe, dict)) or recipe.get("format") != format_:
        return None
    known, forgotten = reader_of(format_).Options, stored_names(forget)
    try:
        settled = known.from_canonical(recipe)
    except UsageError:  # `prepare` finds that the recipe is another
        return None
    left = {name: getattr(settled, name) for name in known.kinds() if name not in forgotten and given.get(name, "auto") == "auto"}
    return known(**left) if any(value is not None for value in left.values()) else None
