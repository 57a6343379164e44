"""What an image is like before anything is done to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
