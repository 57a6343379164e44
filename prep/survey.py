"""What the headers of all images say together, and what that leaves of the user's options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from manifests.strings import PackedStrings, Positions
from prep.errors import SourceError
from prep.known import DEPTHS, FACTS, facts_row
from prep.recipe import Recipe, ShardOptions
from prep.records import SourceFormat
from prep.sources.facts import ImageFacts
from prep.text import counted, shown
from prep.transforms.resize import Resize

_WIDTHS = 1 << 32

GO_TOGETHER = frozenset({"uint8", "uint16"})
"""Depths of which each is the other stretched; what becomes of them is for the options to say."""


@dataclass(frozen=True)
class Survey:
    """The headers of all images that have a readable one.

    Attributes:
        ids: of the images; empty for arrays, whose headers decide nothing.
        facts: what each header says, of dtype `FACTS`: shape (len(ids),).
    """

    ids: Sequence[str] | PackedStrings = ()
    facts: npt.NDArray[np.void] = field(default_factory=lambda: np.zeros(0, dtype=FACTS))

    @classmethod
    def of(cls, facts: Mapping[str, ImageFacts]) -> Survey:
        """Return what these IDs' headers say together."""
        return cls(list(facts), np.array([facts_row(fact) for fact in facts.values()], dtype=FACTS))

    def notes(self) -> list[str]:
        """Say what was detected, one sentence each."""
        count = len(self.facts)
        if not count:
            return []
        sizes, numbers = self._sizes()
        most = int(numbers.argmax())
        height, width = divmod(int(sizes[most]), _WIDTHS)
        size = f"{height}x{width}" if len(sizes) == 1 else f"{len(sizes):,} sizes, most often {height}x{width} ({numbers[most]:,})"
        gray = int(self.facts["gray"].sum())
        color = "all grey" if gray == count else "all in colour" if not gray else f"{gray:,} grey, {count - gray:,} in colour"
        depths = {name: len(positions) for name, positions in self.by_depth().items()}
        depth = ", ".join(name if len(depths) == 1 else f"{number:,} {name}" for name, number in sorted(depths.items()))
        notes = [f"images: {size} pixels; {color}; {depth}"]
        alpha = int(self.facts["alpha"].sum())
        notes += [f"transparency: {counted(alpha, 'image has', 'images have')} it; it is left out"] if alpha else []
        animated = np.flatnonzero(self.facts["animated"])
        if len(animated):
            names = self.shown(animated)
            notes.append(f"frames: {counted(len(animated), 'image has', 'images have')} several; the first is taken: {names}")
        return notes

    def has_one_size(self) -> bool:
        """Return whether all images are of one size."""
        return len(self._sizes()[0]) <= 1

    def is_gray(self) -> bool:
        """Return whether every image is grey."""
        return bool(self.facts["gray"].all())

    def by_depth(self) -> dict[str, Positions]:
        """Return depth -> positions of the images that have it: int64; in the order in which depths are met first."""
        found = {DEPTHS[code]: np.flatnonzero(self.facts["depth"] == code) for code in range(len(DEPTHS))}
        return dict(sorted(((name, at) for name, at in found.items() if len(at)), key=lambda item: int(item[1][0])))

    def shown(self, positions: Positions) -> str:
        """Name the first of some images."""
        first = [self.ids[int(position)] for position in positions[:4]]
        return shown(first, 3) if len(positions) <= len(first) else shown([*first, *[""] * (len(positions) - len(first))], 3)

    def _sizes(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the distinct sizes, each as height * 2**32 + width, and how many images have each; the one met first comes first."""
        keys = self.facts["height"].astype(np.int64) * _WIDTHS + self.facts["width"]
        sizes, first, numbers = np.unique(keys, return_index=True, return_counts=True)
        order = np.argsort(first)
        return sizes[order], numbers[order]


def resolve_recipe(format_: SourceFormat, options: ShardOptions, survey: Survey) -> tuple[Recipe, list[str]]:
    """Fill in what the user left open from what was found.

    Returns:
        The recipe, and a note for each thing that was decided.

    Raises:
        UsageError: an option does not go with the kind of raw file.
        SourceError: images of 8 and of more bits, and no dtype that says what both become.
    """
    options.check_format(format_)
    dtype = options.dtype or ("float32" if options.scale is not None else None)
    notes = [f"dtype: {dtype}, as there is a scale"] if dtype and not options.dtype else []
    if format_ == "arrays":
        kept = [] if dtype else ["dtype: each array's own; give --dtype for another"]
        resize = () if options.size is None else (Resize(size=options.size),)
        transforms = (*resize, *(options.transforms or ()))
        recipe = Recipe(
            format="arrays", size=None, channels=None, dtype=dtype, scale=options.scale, npz_key=options.npz_key, transforms=transforms
        )
        return recipe, notes + kept
    gray = options.color == "gray"
    if options.color in {None, "auto"}:
        gray = survey.is_gray()
        notes.append("color: gray, 1 channel, as every image is grey" if gray else "color: rgb, 3 channels, as not every image is grey")
    _check_depths(options, survey)
    transforms = options.transforms or ()
    if dtype is None and all(transform.keeps_dtype for transform in transforms):
        dtype = next(iter(survey.by_depth()), "uint8")
        notes.append(f"dtype: {dtype}, as in the images")
    if options.size is None and not transforms and not survey.has_one_size():
        notes.append("size: each image's own; they differ, and batches need one: give --size HxW before training")
    recipe = Recipe(
        format="images",
        size=options.size,
        channels=1 if gray else 3,
        dtype=dtype,
        scale=options.scale,
        npz_key=None,
        transforms=transforms,
    )
    return recipe, notes


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
