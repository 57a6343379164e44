"""What all headers say together, and what that leaves of the user's options."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from manifests.rows.buffers import few_valued, string_array
from prep.build.recipe.recipe import ShardOptions
from prep.build.recipe.resolve import resolve_recipe
from prep.errors import SourceError
from prep.readers.headers import Headers
from prep.readers.images.header import ImageFacts, header_text, parse_header
from prep.readers.images.reader import ImageReader

GRAY = ImageFacts(height=8, width=9, gray=True, depth="uint8", alpha=False, animated=False)
COLOUR = ImageFacts(height=8, width=9, gray=False, depth="uint8", alpha=False, animated=False)
DEEP = ImageFacts(height=8, width=9, gray=True, depth="uint16", alpha=False, animated=False)
FLOAT = ImageFacts(height=8, width=9, gray=True, depth="float32", alpha=False, animated=False)
INT = ImageFacts(height=8, width=9, gray=True, depth="int32", alpha=False, animated=False)
ALPHA = ImageFacts(height=8, width=9, gray=True, depth="uint8", alpha=True, animated=False)
LARGE = ImageFacts(height=80, width=90, gray=False, depth="uint8", alpha=True, animated=True)


def survey(*facts: ImageFacts) -> Headers[ImageFacts]:
    ids, texts = string_array([f"id-{i}" for i in range(len(facts))]), few_valued(list(map(header_text, facts)))
    return Headers(pa.chunked_array([ids]), pa.chunked_array([texts]), parse_header)


@pytest.mark.parametrize(
    ("facts", "color", "channels", "note"),
    [
        ([GRAY, GRAY], None, 1, "color: gray, 1 channel, as every image is grey"),
        ([GRAY, COLOUR], None, 3, "color: rgb, 3 channels, as 1 of 2 images is in colour: 'id-1'; --color gray makes one channel of all"),
        (
            [COLOUR, GRAY, COLOUR],
            None,
            3,
            "color: rgb, 3 channels, as 1 of 3 images is grey: 'id-1'; --color gray makes one channel of all",
        ),
        ([COLOUR], "auto", 3, "color: rgb, 3 channels, as every image is in colour"),
        ([], None, 1, "color: gray, 1 channel"),
        ([DEEP], "auto", 1, "color: gray, 1 channel, as every image is grey"),
        ([COLOUR], "gray", 1, None),
        ([GRAY], "rgb", 3, None),
    ],
)
def test_channels(facts: Any, color: Any, channels: int, note: str | None) -> None:
    recipe, notes = resolve_recipe("images", ShardOptions(color=color), survey(*facts))
    assert recipe.as_dict()["channels"] == channels
    assert [text for text in notes if text.startswith("color")] == ([note] if note else [])


@pytest.mark.parametrize(
    ("facts", "options", "dtype", "note"),
    [
        ([GRAY], {}, "uint8", "dtype: uint8, as in the images"),
        ([DEEP], {}, "uint16", "dtype: uint16, as in the images"),
        ([INT], {}, "int32", "dtype: int32, as in the images"),
        ([FLOAT], {}, "float32", "dtype: float32, as in the images"),
        ([GRAY], {"scale": "unit"}, "float32", "dtype: float32, as there is a scale"),
        ([GRAY], {"scale": 0.5, "dtype": "float16"}, "float16", None),
        ([DEEP], {"dtype": "uint8"}, "uint8", None),
        ([GRAY, DEEP], {"dtype": "uint8"}, "uint8", None),
        ([GRAY, DEEP], {"dtype": "uint16"}, "uint16", None),
        ([GRAY, DEEP], {"scale": "unit"}, "float32", "dtype: float32, as there is a scale"),
        ([], {}, "uint8", "dtype: uint8, as in the images"),
    ],
)
def test_dtype(facts: Any, options: dict[str, Any], dtype: str, note: str | None) -> None:
    recipe, notes = resolve_recipe("images", ShardOptions(**options), survey(*facts))
    assert recipe.dtype == dtype
    assert [text for text in notes if text.startswith("dtype")] == ([note] if note else [])


@pytest.mark.parametrize(
    ("facts", "options"),
    [
        ([GRAY, DEEP], {}),
        ([GRAY, DEEP], {"dtype": "float32"}),
        ([GRAY, DEEP], {"scale": 1 / 255}),
        ([GRAY, FLOAT], {"scale": "unit"}),
        ([GRAY, FLOAT], {"dtype": "uint8"}),
        ([DEEP, INT], {}),
    ],
)
def test_depths_where_one_brightness_would_be_two_numbers_are_refused(facts: Any, options: dict[str, Any]) -> None:
    with pytest.raises(SourceError, match=r"images of several depths: .*choose --dtype uint8 or uint16") as caught:
        resolve_recipe("images", ShardOptions(**options), survey(*facts))
    for position, fact in enumerate(facts):
        assert f"1 {fact.depth} ('id-{position}')" in str(caught.value)


@pytest.mark.parametrize(
    ("facts", "size", "is_told"), [([GRAY, LARGE], None, True), ([GRAY, LARGE], (4, 4), False), ([GRAY, GRAY], None, False)]
)
def test_sizes_that_differ_are_told(facts: Any, size: Any, is_told: bool) -> None:  # a table's column
    recipe, notes = resolve_recipe("images", ShardOptions(size=size), survey(*facts))
    assert recipe.size == size
    assert any(note.startswith("size: each image's own") for note in notes) == is_told


@pytest.mark.parametrize(
    ("facts", "notes"),
    [
        ([], []),
        ([GRAY], ["images: 8x9 pixels; all grey; uint8"]),
        ([COLOUR, COLOUR], ["images: 8x9 pixels; all in colour; uint8"]),
        ([ALPHA], ["images: 8x9 pixels; all grey; uint8", "transparency: 1 image has it; it is left out"]),
        ([GRAY, COLOUR, DEEP], ["images: 8x9 pixels; 2 grey, 1 in colour; 1 uint16, 2 uint8"]),
        (
            [LARGE, COLOUR, COLOUR],
            [
                "images: 2 sizes, most often 8x9 (2) pixels; all in colour; uint8",
                "transparency: 1 image has it; it is left out",
                "frames: 1 image has several; the first is taken: 'id-0'",
            ],
        ),
        (
            [LARGE] * 5,
            [
                "images: 80x90 pixels; all in colour; uint8",
                "transparency: 5 images have it; it is left out",
                "frames: 5 images have several; the first is taken: 'id-0', 'id-1', 'id-2' and 2 more",
            ],
        ),
    ],
)
def test_what_was_detected_is_told(facts: Any, notes: list[str]) -> None:
    assert ImageReader().describe(survey(*facts)) == notes
