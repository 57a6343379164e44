"""The reader of images and its options: what `prep.readers.registry` knows of images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import PIL
import simplejpeg

from manifests.rows.buffers import Positions
from prep.readers.headers import Headers
from prep.readers.images.header import (
    ImageFacts,
    are_gray,
    check_depths,
    color_note,
    describe_images,
    header_text,
    parse_header,
    sizes_of,
)
from prep.readers.images.pixels import read_with_facts, survey_image
from prep.readers.parameters import ReaderOptions, choice, param
from prep.readers.reader import Asked, Reading, Settled, SurveyedReader, Wanted

Color = Literal["auto", "rgb", "gray"]

_CHANNELS = {"gray": 1, "rgb": 3}
_AUTO = frozenset({None, "auto"})


@dataclass(frozen=True, kw_only=True)
class ImageOptions(ReaderOptions):
    """Options of images.

    Attributes:
        color: channels; `auto` is one when every image is grey, else RGB.
    """

    color: Color | None = param(
        choice("auto", "rgb", "gray"),
        "channels of images; auto means 1 if every image of the first build is grey, else 3, and later builds keep it",
        None,
    )

    def canonical(self) -> dict[str, Any]:
        """Return the channels. `npz_key` stands in every recipe since the first release: without it all would be built again."""
        return {"channels": _CHANNELS.get(self.color or "auto"), "npz_key": None}

    @classmethod
    def from_canonical(cls, recipe: Mapping[str, Any]) -> Self:
        """Return the color of the channels that a stored recipe has."""
        return cls(color={1: "gray", 3: "rgb"}.get(recipe.get("channels", 0)))  # type: ignore[arg-type]


class ImageReader(SurveyedReader[ImageFacts]):
    """Images, upright, as (height, width, channel)."""

    name: ClassVar[str] = "images"
    singular: ClassVar[str] = "image"
    files: ClassVar[str] = "images"
    suffixes: ClassVar[frozenset[str]] = frozenset({".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
    looked_for: ClassVar[str] = ".png, .jpg, .bmp, .gif, .tif, .webp"
    Options: ClassVar[type[ReaderOptions]] = ImageOptions
    resizes: ClassVar[bool] = True
    full_range: ClassVar[bool] = True

    def read(self, path: str, member: str, wanted: Wanted) -> Reading:  # noqa: ARG002  # a file is one image
        """Return what `read_with_facts` does."""
        is_gray = _options(wanted.options).color == "gray"
        array, facts = read_with_facts(path, size=wanted.size, gray=is_gray, at_least=wanted.at_least)
        return Reading(array=array, header=header_text(facts))

    def header(self, path: str, member: str) -> str:  # noqa: ARG002  # a file is one image
        """Return what `survey_image` does."""
        return header_text(survey_image(Path(path)))

    def parse_header(self, text: str) -> ImageFacts:
        """Return what the header says of the image."""
        return parse_header(text)

    def describe(self, headers: Headers[ImageFacts]) -> list[str]:
        """Say what was found in the headers, a sentence each."""
        return describe_images(headers)

    def settle(self, headers: Headers[ImageFacts], options: ReaderOptions, asked: Asked, before: ReaderOptions | None) -> Settled:
        """Settle channels and dtype."""
        own, notes = _options(options), []
        color = own.color
        if color in _AUTO:
            stays = None if before is None else _options(before).color
            gray = are_gray(headers) if stays is None else stays == "gray"
            color = "gray" if gray else "rgb"
            notes.append(color_note(headers, gray=gray, stays=stays is not None))
        check_depths(headers, asked)
        dtype = asked.dtype
        if dtype is None and asked.keeps_dtype:
            dtype = next(iter(headers.by(self.kind)), "uint8")
            notes.append(f"dtype: {dtype}, as in the images")
        if asked.size is None and not asked.has_transforms and len(sizes_of(headers)) > 1:
            notes.append("size: each image's own; they differ, and batches need one: give --size HxW before training")
        return Settled(options=replace(own, color=color), dtype=dtype, notes=notes)

    def is_settled(self, options: ReaderOptions, asked: Asked) -> bool:
        """Return whether channels and dtype are given, and images of 8 and of 16 bits go together by them."""
        return _options(options).color not in _AUTO and asked.dtype is not None and asked.full_range

    def kind(self, facts: ImageFacts) -> str:
        """Return the depth."""
        return facts.depth

    def deciding(self, headers: Headers[ImageFacts], options: ReaderOptions) -> Positions:
        """Return the images in colour: the first that can be decoded makes all of them colour."""
        found: Positions = (
            np.flatnonzero(headers.where(lambda facts: not facts.gray)) if _options(options).color in _AUTO else np.zeros(0, np.int64)
        )
        return found

    def libraries(self) -> Mapping[str, str]:
        """Return the decoders: of JPEG simplejpeg or Pillow, of all else Pillow, which also resizes."""
        return {"pillow": PIL.__version__, "simplejpeg": simplejpeg.__version__}


def _options(options: ReaderOptions) -> ImageOptions:
    if not isinstance(options, ImageOptions):
        raise TypeError(f"expected ImageOptions, got {options!r}")
    return options
