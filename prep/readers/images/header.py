"""What the header of an image says, and what those of all images say together."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np

from prep.errors import SourceError
from prep.readers.headers import Headers
from prep.readers.reader import Asked
from prep.text import counted

Depth = Literal["uint8", "uint16", "int32", "float32"]
"""dtype of one channel."""

GO_TOGETHER = frozenset({"uint8", "uint16"})
"""Depths of which each is the other stretched; what becomes of them is for the options to say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFacts:
    """What an image's header says.

    Attributes:
        height: pixels, upright.
        width: pixels, upright.
        gray: whether it has no colour; a palette is grey when every entry is.
        depth: dtype of one channel.
        alpha: whether it has transparency.
        animated: whether it has more than one frame.
    """

    height: int
    width: int
    gray: bool
    depth: Depth
    alpha: bool
    animated: bool

    def __post_init__(self) -> None:
        sizes = (self.height, self.width)
        flags = (self.gray, self.alpha, self.animated)
        is_sound = all(type(size) is int and 0 < size < 1 << 31 for size in sizes) and all(type(flag) is bool for flag in flags)
        if not is_sound or self.depth not in get_args(Depth):
            raise ValueError(f"no header of an image: {self}")


@lru_cache(maxsize=4096)
def header_text(facts: ImageFacts) -> str:
    """Return what a header says as one line of JSON, as builds store it."""
    return json.dumps(asdict(facts))


@lru_cache(maxsize=4096)
def parse_header(text: str) -> ImageFacts:
    """Return what `header_text` wrote.

    Raises:
        ValueError: it is something else.
    """
    try:
        return ImageFacts(**json.loads(text))
    except (TypeError, RecursionError) as error:
        raise ValueError(f"no header of an image: {text}") from error


def describe_images(headers: Headers[ImageFacts]) -> list[str]:
    """Say what was detected, one sentence each."""
    count = len(headers)
    if not count:
        return []
    sizes = sizes_of(headers)
    (height, width), most = max(sizes.items(), key=lambda item: item[1])
    size = f"{height}x{width}" if len(sizes) == 1 else f"{len(sizes):,} sizes, most often {height}x{width} ({most:,})"
    gray = int(headers.where(lambda facts: facts.gray).sum())
    color = "all grey" if gray == count else "all in colour" if not gray else f"{gray:,} grey, {count - gray:,} in colour"
    depths = {name: len(positions) for name, positions in headers.by(lambda facts: facts.depth).items()}
    depth = ", ".join(name if len(depths) == 1 else f"{number:,} {name}" for name, number in sorted(depths.items()))
    notes = [f"images: {size} pixels; {color}; {depth}"]
    alpha = int(headers.where(lambda facts: facts.alpha).sum())
    notes += [f"transparency: {counted(alpha, 'image has', 'images have')} it; it is left out"] if alpha else []
    animated = np.flatnonzero(headers.where(lambda facts: facts.animated))
    if len(animated):
        names = headers.shown(animated)
        notes.append(f"frames: {counted(len(animated), 'image has', 'images have')} several; the first is taken: {names}")
    return notes


def sizes_of(headers: Headers[ImageFacts]) -> dict[tuple[int, int], int]:
    """Return (height, width) -> how many images have it; the one met first comes first."""
    sizes: dict[tuple[int, int], int] = {}
    for facts, count in headers.counts():
        size = facts.height, facts.width
        sizes[size] = sizes.get(size, 0) + count
    return sizes


def are_gray(headers: Headers[ImageFacts]) -> bool:
    """Return whether every image is grey."""
    return bool(headers.where(lambda facts: facts.gray).all())


def color_note(headers: Headers[ImageFacts], *, gray: bool, stays: bool) -> str:
    """Say which channels `auto` gives, and which images are unlike the others."""
    head = "color: gray, 1 channel" if gray else "color: rgb, 3 channels"
    if not len(headers):
        return head
    found, all_gray = _colors(headers), are_gray(headers)
    if stays and gray != all_gray:
        choice = "--color rgb builds all of it in colour" if gray else "--color gray builds all of it in one channel"
        return f"{head}, as in the dataset that is there, though {found}; {choice}"
    mixed = bool(headers.where(lambda facts: facts.gray).any()) and not all_gray
    return f"{head}, as {found}{'; --color gray makes one channel of all' if mixed else ''}"


def _colors(headers: Headers[ImageFacts]) -> str:
    """Say how many images are grey and how many are not, and name the first of those that are fewer."""
    is_gray = headers.where(lambda facts: facts.gray)
    count, gray = len(headers), np.flatnonzero(is_gray)
    if len(gray) in {0, count}:
        return "every image is grey" if len(gray) else "every image is in colour"
    fewer = gray if 2 * len(gray) < count else np.flatnonzero(~is_gray)
    what = "grey" if fewer is gray else "in colour"
    return f"{len(fewer):,} of {count:,} images {'is' if len(fewer) == 1 else 'are'} {what}: {headers.shown(fewer)}"


def check_depths(headers: Headers[ImageFacts], asked: Asked) -> None:
    """Refuse to mix depths where equal brightness would become different numbers.

    Raises:
        SourceError: images of 8 and of more bits, and nothing that says what both become.
    """
    by_depth = headers.by(lambda facts: facts.depth)
    stretched = GO_TOGETHER.issuperset(by_depth) and asked.full_range
    if len(by_depth) > 1 and not stretched:
        found = "; ".join(f"{len(at):,} {depth} ({headers.shown(at)})" for depth, at in sorted(by_depth.items()))
        raise SourceError(
            f"images of several depths: {found}; the same brightness would become different numbers: "
            "choose --dtype uint8 or uint16 (values are stretched to the full range) or --scale unit (full range becomes 0 to 1)"
        )
