"""From options to a recipe with nothing left open."""

from __future__ import annotations

from typing import Any

import pytest

from prep.build.recipe.recipe import ShardOptions
from prep.build.recipe.resolve import is_settled, resolve_recipe, settled_before
from prep.errors import UsageError
from prep.readers.arrays import ArrayOptions
from prep.readers.headers import Headers
from prep.readers.images.reader import ImageOptions


@pytest.mark.parametrize(
    ("options", "dtype", "notes"),
    [
        ({}, None, ["dtype: each array's own; give --dtype for another"]),
        ({"dtype": "uint8"}, "uint8", []),
        ({"scale": 0.5}, "float32", ["dtype: float32, as there is a scale"]),
        ({"npz_key": "x"}, None, ["dtype: each array's own; give --dtype for another"]),
    ],
)
def test_arrays_keep_what_is_theirs(options: dict[str, Any], dtype: str | None, notes: list[str]) -> None:
    recipe, told = resolve_recipe("arrays", ShardOptions(**options), Headers.none())
    assert (recipe.format, recipe.size, recipe.dtype) == ("arrays", None, dtype)
    assert (recipe.scale, recipe.as_dict()["npz_key"]) == (options.get("scale"), options.get("npz_key"))
    assert told == notes


def test_an_option_of_another_kind_of_file_is_refused() -> None:
    with pytest.raises(UsageError, match="--color does not go with a source of arrays"):
        resolve_recipe("arrays", ShardOptions(color="gray"), Headers.none())


@pytest.mark.parametrize(
    ("options", "settled"),
    [
        ({}, False),
        ({"color": "gray"}, False),
        ({"color": "gray", "dtype": "float32"}, False),
        ({"color": "gray", "dtype": "uint8"}, True),
        ({"color": "rgb", "scale": "unit"}, True),
        ({"color": "auto", "dtype": "uint8"}, False),
        ({"dtype": "uint8"}, False),
    ],
)
def test_headers_of_images_are_not_waited_for_where_they_change_nothing(options: dict[str, Any], settled: bool) -> None:
    assert is_settled("images", ShardOptions(**options)) is settled
    assert is_settled("arrays", ShardOptions())


@pytest.mark.parametrize(
    ("given", "forget", "color"),
    [
        ({}, (), "gray"),
        ({"color": "auto"}, (), "gray"),
        ({"color": "gray"}, (), None),
        ({}, ("color",), None),
        ({}, ("size",), "gray"),
    ],
)
def test_what_auto_was_stays_unless_it_was_given_or_is_forgotten(given: Any, forget: Any, color: str | None) -> None:
    stored = {"options": given, "recipe": {"format": "images", "channels": 1}}
    before = settled_before("images", stored, forget)
    assert before == (None if color is None else ImageOptions(color="gray"))


@pytest.mark.parametrize(
    "stored",
    [{}, {"options": [], "recipe": []}, {"recipe": {"format": "arrays", "npz_key": 3}}, {"recipe": {"format": "images", "channels": 1}}],
)
def test_nothing_is_known_of_the_options_of_another_reader(stored: Any) -> None:
    assert settled_before("arrays", stored) is None


def test_a_given_key_of_arrays_is_not_taken_for_a_settled_one() -> None:
    stored = {"options": {"npz_key": "x"}, "recipe": ArrayOptions(npz_key="x").canonical() | {"format": "arrays"}}
    assert settled_before("arrays", stored) is None
