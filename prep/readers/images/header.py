"""What an image is like before anything is done to it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Literal, get_args

Depth = Literal["uint8", "uint16", "int32", "float32"]
"""dtype of one channel."""


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
