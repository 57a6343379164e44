"""What the headers of all images say together, and what that leaves of the user's options."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from prep.errors import SourceError
from prep.recipe import Recipe, ShardOptions
from prep.records import SourceFormat
from prep.sources.images import ImageFacts
from prep.text import counted, shown


@dataclass(frozen=True)
class Survey:
    """The headers of all images that have a readable one.

    Attributes:
        facts: ID -> what the header says; empty for arrays, whose headers decide nothing.
    """

    facts: Mapping[str, ImageFacts] = field(default_factory=dict)

    def notes(self) -> list[str]:
        """Say what was detected, one sentence each."""
        if not self.facts:
            return []
        facts = list(self.facts.values())
        sizes = Counter((fact.height, fact.width) for fact in facts)
        (height, width), most = sizes.most_common(1)[0]
        size = f"{height}x{width}" if len(sizes) == 1 else f"{len(sizes):,} sizes, most often {height}x{width} ({most:,})"
        gray = sum(fact.gray for fact in facts)
        color = "all grey" if gray == len(facts) else "all in colour" if not gray else f"{gray:,} grey, {len(facts) - gray:,} in colour"
        depths = Counter(fact.depth for fact in facts)
        depth = ", ".join(name if len(depths) == 1 else f"{count:,} {name}" for name, count in sorted(depths.items()))
        notes = [f"images: {size} pixels; {color}; {depth}"]
        alpha = sum(fact.alpha for fact in facts)
        notes += [f"transparency: {counted(alpha, 'image has', 'images have')} it; it is left out"] if alpha else []
        animated = [id_ for id_, fact in self.facts.items() if fact.animated]
        notes += (
            [f"frames: {counted(len(animated), 'image has', 'images have')} several; the first is taken: {shown(animated, 3)}"]
            if animated
            else []
        )
        return notes

    def has_one_size(self) -> bool:
        """Return whether all images are of one size."""
        return len({(fact.height, fact.width) for fact in self.facts.values()}) <= 1


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
        return Recipe(format="arrays", size=None, channels=None, dtype=dtype, scale=options.scale, npz_key=options.npz_key), notes + kept
    gray = options.color == "gray"
    if options.color in {None, "auto"}:
        gray = all(fact.gray for fact in survey.facts.values())
        notes.append("color: gray, 1 channel, as every image is grey" if gray else "color: rgb, 3 channels, as not every image is grey")
    _check_depths(options, survey)
    if dtype is None:
        dtype = next((fact.depth for fact in survey.facts.values()), "uint8")
        notes.append(f"dtype: {dtype}, as in the images")
    if options.size is None and not survey.has_one_size():
        notes.append("size: each image's own; they differ, and batches need one: give --size HxW before training")
    return Recipe(format="images", size=options.size, channels=1 if gray else 3, dtype=dtype, scale=options.scale, npz_key=None), notes


def _check_depths(options: ShardOptions, survey: Survey) -> None:
    """Refuse to mix depths where equal brightness would become different numbers."""
    by_depth: dict[str, list[str]] = {}
    for id_, fact in survey.facts.items():
        by_depth.setdefault(fact.depth, []).append(id_)
    stretched = set(by_depth) <= {"uint8", "uint16"} and (options.dtype in {"uint8", "uint16"} or options.scale == "unit")
    if len(by_depth) > 1 and not stretched:
        found = "; ".join(f"{len(ids):,} {depth} ({shown(ids, 3)})" for depth, ids in sorted(by_depth.items()))
        raise SourceError(
            f"images of several depths: {found}; the same brightness would become different numbers: "
            "choose --dtype uint8 or uint16 (values are stretched to the full range) or --scale unit (full range becomes 0 to 1)"
        )
