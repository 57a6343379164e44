"""What the headers of all images say together, and what that leaves of the user's options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from manifests.rows import arrow
from manifests.rows.buffers import Positions, codes_of, few_valued, number_array, string_array
from manifests.rows.table import strings
from prep.build.recipe.recipe import Recipe, ShardOptions
from prep.errors import SourceError
from prep.readers.header import ImageFacts, header_text, parse_header
from prep.readers.registry import reader_of
from prep.text import counted, shown
from prep.transforms.resize import Resize

if TYPE_CHECKING:
    import pyarrow as pa

GO_TOGETHER = frozenset({"uint8", "uint16"})
"""Depths of which each is the other stretched; what becomes of them is for the options to say."""


class Survey:
    """The headers of all images that have a readable one: of many images, few distinct headers.

    Attributes:
        names: of the images.
        codes: which of `facts` is the header of each: int32, shape (n,).
        facts: distinct headers.
    """

    def __init__(self, names: pa.ChunkedArray, headers: pa.ChunkedArray) -> None:
        """Take images of which some have a known header, in their order.

        Args:
            names: their IDs, or their files.
            headers: what each header says, as items have it; empty where it is not known.
        """
        codes, texts = codes_of(headers)
        is_known = np.array([bool(text) for text in texts] or [False])[codes]
        at = np.flatnonzero(is_known)
        self.names = names if len(at) == len(names) else names.take(number_array(at))
        self.codes = codes[at]
        self.facts = [parse_header(text) if text else None for text in texts]

    @classmethod
    def of(cls, facts: Mapping[str, ImageFacts]) -> Survey:
        """Return what these IDs' headers say together."""
        names, headers = string_array(list(facts)), few_valued(list(map(header_text, facts.values())))
        return cls(_chunked(names), _chunked(headers))

    @classmethod
    def nothing(cls) -> Survey:
        """Return the survey of no images."""
        return cls.of({})

    def __len__(self) -> int:
        """Return how many images have a header that is known."""
        return len(self.codes)

    def where(self, test: Callable[[ImageFacts], bool]) -> npt.NDArray[np.bool_]:
        """Return of each image whether its header passes a test: bool, shape (n,)."""
        passes = [facts is not None and test(facts) for facts in self.facts]
        found: npt.NDArray[np.bool_] = np.array(passes or [False])[self.codes]
        return found

    def notes(self) -> list[str]:
        """Say what was detected, one sentence each."""
        count = len(self)
        if not count:
            return []
        sizes = self._sizes()
        (height, width), most = max(sizes.items(), key=lambda item: item[1])
        size = f"{height}x{width}" if len(sizes) == 1 else f"{len(sizes):,} sizes, most often {height}x{width} ({most:,})"
        gray = int(self.where(lambda facts: facts.gray).sum())
        color = "all grey" if gray == count else "all in colour" if not gray else f"{gray:,} grey, {count - gray:,} in colour"
        depths = {name: len(positions) for name, positions in self.by_depth().items()}
        depth = ", ".join(name if len(depths) == 1 else f"{number:,} {name}" for name, number in sorted(depths.items()))
        notes = [f"images: {size} pixels; {color}; {depth}"]
        alpha = int(self.where(lambda facts: facts.alpha).sum())
        notes += [f"transparency: {counted(alpha, 'image has', 'images have')} it; it is left out"] if alpha else []
        animated = np.flatnonzero(self.where(lambda facts: facts.animated))
        if len(animated):
            names = self.shown(animated)
            notes.append(f"frames: {counted(len(animated), 'image has', 'images have')} several; the first is taken: {names}")
        return notes

    def has_one_size(self) -> bool:
        """Return whether all images are of one size."""
        return len(self._sizes()) <= 1

    def is_gray(self) -> bool:
        """Return whether every image is grey."""
        return bool(self.where(lambda facts: facts.gray).all())

    def without(self, positions: Positions) -> Survey:
        """Return the same without some images (int64)."""
        left = np.delete(np.arange(len(self)), positions)
        other = object.__new__(Survey)
        other.names, other.codes, other.facts = self.names.take(number_array(left)), self.codes[left], self.facts
        return other

    def colors(self) -> str:
        """Say how many images are grey and how many are not, and name the first of those that are fewer."""
        is_gray = self.where(lambda facts: facts.gray)
        count, gray = len(self), np.flatnonzero(is_gray)
        if len(gray) in {0, count}:
            return "every image is grey" if len(gray) else "every image is in colour"
        fewer = gray if 2 * len(gray) < count else np.flatnonzero(~is_gray)
        what = "grey" if fewer is gray else "in colour"
        return f"{len(fewer):,} of {count:,} images {'is' if len(fewer) == 1 else 'are'} {what}: {self.shown(fewer)}"

    def by_depth(self) -> dict[str, Positions]:
        """Return depth -> positions of the images that have it: int64; in the order in which depths are met first."""
        depth_of = np.array(["" if facts is None else facts.depth for facts in self.facts] or [""])[self.codes]
        found = {str(depth): np.flatnonzero(depth_of == depth) for depth in np.unique(depth_of)}
        return dict(sorted(((name, at) for name, at in found.items() if len(at)), key=lambda item: int(item[1][0])))

    def shown(self, positions: Positions) -> str:
        """Name the first of some images."""
        first = strings(self.names.take(number_array(positions[:4])))
        return shown(first, 3) if len(positions) <= len(first) else shown([*first, *[""] * (len(positions) - len(first))], 3)

    def _sizes(self) -> dict[tuple[int, int], int]:
        """Return (height, width) -> how many images have it; the one met first comes first."""
        found, first, counts = np.unique(self.codes, return_index=True, return_counts=True)
        sizes: dict[tuple[int, int], int] = {}
        for _, code, count in sorted(zip(first.tolist(), found.tolist(), counts.tolist(), strict=True)):
            facts = self.facts[code]
            if facts is not None:
                size = facts.height, facts.width
                sizes[size] = sizes.get(size, 0) + count
        return sizes


def _chunked(array: pa.Array) -> pa.ChunkedArray:
    return arrow.pa.chunked_array([array])


def resolve_recipe(
    format_: str, options: ShardOptions, survey: Survey, *, channels: Literal[1, 3] | None = None
) -> tuple[Recipe, list[str]]:
    """Fill in what the user left open from what was found.

    Args:
        format_: name of the reader of the raw files.
        options: of the shards.
        survey: of the images.
        channels: what the dataset that is there has by an `auto`, which stays; None if there is none.

    Returns:
        The recipe, and a note for each thing that was decided.

    Raises:
        UsageError: an option does not go with the kind of raw file.
        SourceError: images of 8 and of more bits, and no dtype that says what both become.
    """
    options.check_format(format_)
    dtype = options.dtype or ("float32" if options.scale is not None else None)
    notes = [f"dtype: {dtype}, as there is a scale"] if dtype and not options.dtype else []
    if not reader_of(format_).surveyed:
        kept = [] if dtype else ["dtype: each array's own; give --dtype for another"]
        resize = () if options.size is None else (Resize(size=options.size),)
        transforms = (*resize, *(options.transforms or ()))
        recipe = Recipe(
            format=format_, size=None, channels=None, dtype=dtype, scale=options.scale, npz_key=options.npz_key, transforms=transforms
        )
        return recipe, notes + kept
    gray = options.color == "gray"
    if options.color in {None, "auto"}:
        gray = survey.is_gray() if channels is None else channels == 1
        notes += _color_notes(survey, gray=gray, stays=channels is not None)
    _check_depths(options, survey)
    transforms = options.transforms or ()
    if dtype is None and all(transform.keeps_dtype for transform in transforms):
        dtype = next(iter(survey.by_depth()), "uint8")
        notes.append(f"dtype: {dtype}, as in the images")
    if options.size is None and not transforms and not survey.has_one_size():
        notes.append("size: each image's own; they differ, and batches need one: give --size HxW before training")
    recipe = Recipe(
        format=format_,
        size=options.size,
        channels=1 if gray else 3,
        dtype=dtype,
        scale=options.scale,
        npz_key=None,
        transforms=transforms,
    )
    return recipe, notes


def _color_notes(survey: Survey, *, gray: bool, stays: bool) -> list[str]:
    """Say which channels `auto` gives, and which images are unlike the others."""
    head = "color: gray, 1 channel" if gray else "color: rgb, 3 channels"
    if not len(survey):
        return [head]
    found, is_gray = survey.colors(), survey.is_gray()
    if stays and gray != is_gray:
        choice = "--color rgb builds all of it in colour" if gray else "--color gray builds all of it in one channel"
        return [f"{head}, as in the dataset that is there, though {found}; {choice}"]
    mixed = bool(survey.where(lambda facts: facts.gray).any()) and not is_gray
    return [f"{head}, as {found}{'; --color gray makes one channel of all' if mixed else ''}"]


def _check_depths(options: ShardOptions, survey: Survey) -> None:
    """Refuse to mix depths where equal brightness would become different numbers."""
    by_depth = survey.by_depth()
    first = next((transform for transform in options.transforms or () if not transform.keeps_dtype), None)
    dtype, scale = (options.dtype, options.scale) if first is None else (getattr(first, "dtype", None), getattr(first, "factor", None))
    stretched = GO_TOGETHER.issuperset(by_depth) and (dtype in {"uint8", "uint16"} or scale == "unit")
    if len(by_depth) > 1 and not stretched:
        found = "; ".join(f"{len(at):,} {depth} ({survey.shown(at)})" for depth, at in sorted(by_depth.items()))
        raise SourceError(
            f"images of several depths: {found}; the same brightness would become different numbers: "
            "choose --dtype uint8 or uint16 (values are stretched to the full range) or --scale unit (full range becomes 0 to 1)"
        )
