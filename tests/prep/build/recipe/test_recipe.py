"""The recipe: what decides a shard's bytes, stored, compared and digested in one form."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import PIL
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from prep.build.recipe.recipe import Recipe, ShardOptions, differences
from prep.errors import UsageError
from prep.readers.arrays import ArrayOptions
from prep.readers.images.reader import ImageOptions

IMAGES = Recipe(format="images", options=ImageOptions(color="rgb"), size=(32, 48), dtype="uint8")
ARRAYS = Recipe(format="arrays", options=ArrayOptions(npz_key="x"), dtype="float32", scale="unit")

# SHA-256 of the recipe as JSON with sorted keys and no spaces: a change here rebuilds every dataset there is.
GOLDEN_ARRAYS = "fb0b0efacf6e9e33341f14f4b29fe8e764da2de200859ba0fd2ac5574cd35516"
GOLDEN_IMAGES = "f46b30e50928e8fccf95ee85f53091e21c799b80a2ab90293f71515ec1396a98"

options = st.builds(
    ShardOptions,
    size=st.none() | st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    color=st.sampled_from([None, "auto", "rgb", "gray"]),
    dtype=st.sampled_from([None, "float16", "float32", "float64"]),
    scale=st.none() | st.just("unit") | st.floats(allow_nan=False, allow_infinity=False).filter(bool),
    npz_key=st.none() | st.text(min_size=1).filter(lambda text: "\0" not in text),
)


# Options


@pytest.mark.parametrize(
    ("given_", "why"),
    [
        ({"size": (0, 32)}, r"size must be two positive numbers of pixels, got \(0, 32\)"),
        ({"size": (32, -1)}, "size must be two positive"),
        ({"size": (32,)}, "size must be two positive"),
        ({"size": (32, 32, 3)}, "size must be two positive"),
        ({"size": (32.0, 32)}, "size must be two positive"),
        ({"size": 32}, "size must be two positive numbers of pixels, got 32"),
        ({"size": "32x32"}, "size must be two positive"),
        ({"color": "grey"}, "color must be 'auto' or 'rgb' or 'gray', got 'grey'"),
        ({"dtype": "float"}, "dtype must be the NumPy name of a numeric dtype.*got 'float'"),
        ({"dtype": "object"}, "dtype must be"),
        ({"dtype": "<f4"}, "dtype must be"),
        ({"dtype": "datetime64"}, "dtype must be"),
        ({"dtype": ""}, "dtype must be"),
        ({"scale": 0.0}, "scale must be a finite number other than 0, or 'unit', got 0.0"),
        ({"scale": 0}, "scale must be"),
        ({"scale": float("nan")}, "scale must be"),
        ({"scale": float("inf")}, "scale must be"),
        ({"scale": "units"}, "scale must be .*got 'units'"),
        ({"scale": True}, "scale must be"),
        ({"scale": "unit", "dtype": "uint8"}, "scale gives fractions; dtype must be a float, got 'uint8'"),
        ({"scale": 0.5, "dtype": "int16"}, "scale gives fractions"),
        ({"scale": 0.5, "dtype": "bool"}, "scale gives fractions"),
        ({"npz_key": ""}, "npz_key must be text, got ''"),
        (
            {"colour": "gray"},
            r"no reader has an option 'colour'; expected 'color' \(there are: color, dtype, npz_key, scale, size, transforms\)",
        ),
    ],
)
def test_options_that_cannot_be_are_refused_with_their_value(given_: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        ShardOptions(**given_)


@given(options)
def test_options_survive_json(made: ShardOptions) -> None:
    assert ShardOptions.from_dict(json.loads(json.dumps(made.as_dict()))) == made


def test_only_options_that_were_given_are_stored() -> None:
    assert ShardOptions().as_dict() == {}
    assert ShardOptions(size=(1, 2), color="auto").as_dict() == {"size": (1, 2), "color": "auto"}


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ({"sizes": [1, 2], "b": 1}, r"unknown recipe options \['b', 'sizes'\]; was it written by a newer release"),
        ({"size": [0, 1]}, "size must be"),
        ({"size": "ab"}, "size must be"),
        ({"size": 3}, "size must be"),
        ({"scale": "x"}, "scale must be"),
        ({"dtype": 3}, "dtype must be"),
    ],
)
def test_stored_options_that_cannot_be_are_refused(raw: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        ShardOptions.from_dict(raw)


@pytest.mark.parametrize(
    ("asked", "stored", "filled"),
    [
        ({}, {}, {}),
        ({}, {"size": (8, 8)}, {"size": (8, 8)}),
        ({"size": (4, 4)}, {"size": (8, 8), "color": "rgb"}, {"size": (4, 4), "color": "rgb"}),
        ({"color": "auto"}, {"color": "gray"}, {"color": "auto"}),
        ({"dtype": "float32"}, {"scale": 0.5}, {"dtype": "float32", "scale": 0.5}),
        ({"npz_key": "y"}, {"npz_key": "x"}, {"npz_key": "y"}),
    ],
)
def test_options_left_out_are_those_of_the_last_build(asked: dict[str, Any], stored: dict[str, Any], filled: dict[str, Any]) -> None:
    assert ShardOptions(**asked).filled_from(ShardOptions(**stored)) == ShardOptions(**filled)


@given(options, options)
def test_filling_gives_nothing_of_its_own(asked: ShardOptions, stored: ShardOptions) -> None:
    filled = asked.filled_from(stored).as_dict()
    assert filled == {**stored.as_dict(), **asked.as_dict()}


@pytest.mark.parametrize(
    ("given_", "format_", "option"),
    [({"color": "auto"}, "arrays", "--color"), ({"npz_key": "x"}, "images", "--npz-key")],
)
def test_options_of_another_kind_of_file_are_refused(given_: dict[str, Any], format_: Any, option: str) -> None:
    with pytest.raises(UsageError, match=f"{option} does not go with a source of {format_}"):
        ShardOptions(**given_).of_reader(format_)
    ShardOptions(**given_).of_reader("arrays" if format_ == "images" else "images")


# The digest


def test_the_digest_of_a_recipe_is_the_same_in_every_release() -> None:
    assert ARRAYS.digest == GOLDEN_ARRAYS


@pytest.mark.parametrize("decoder", [PIL, simplejpeg])
def test_the_digest_of_an_image_recipe_is_the_same_for_one_release_of_the_decoders(monkeypatch: pytest.MonkeyPatch, decoder: Any) -> None:
    monkeypatch.setattr(PIL, "__version__", "12.0.0")
    monkeypatch.setattr(simplejpeg, "__version__", "1.9.0")
    assert IMAGES.digest == GOLDEN_IMAGES
    monkeypatch.setattr(decoder, "__version__", "12.0.1")
    assert IMAGES.digest != GOLDEN_IMAGES


@pytest.mark.parametrize("decoder", [PIL, simplejpeg])
def test_arrays_do_not_depend_on_the_decoders(monkeypatch: pytest.MonkeyPatch, decoder: Any) -> None:
    monkeypatch.setattr(decoder, "__version__", "0")
    assert ARRAYS.digest == GOLDEN_ARRAYS


@pytest.mark.parametrize(
    "change",
    [
        {"size": (48, 32)},
        {"size": None},
        {"options": ImageOptions(color="gray")},
        {"dtype": "uint16"},
        {"scale": 0.5},
        {"scale": "unit"},
        {"format": "arrays"},
    ],
)
def test_every_part_of_a_recipe_is_in_its_digest(change: dict[str, Any]) -> None:
    assert replace(IMAGES, **change).digest != IMAGES.digest


@pytest.mark.parametrize("recipe", [IMAGES, ARRAYS])
def test_a_stored_recipe_does_not_differ_from_itself(recipe: Recipe) -> None:
    assert differences(json.loads(json.dumps(recipe.as_dict())), recipe.as_dict()) == []


def test_differences_are_told_by_key() -> None:
    assert differences(IMAGES.as_dict(), replace(IMAGES, size=(8, 8), scale=0.5, dtype="float32").as_dict()) == [
        "dtype: uint8 -> float32",
        "scale: None -> 0.5",
        "size: [32, 48] -> [8, 8]",
    ]
    assert differences({}, {"a": 1}) == ["a: None -> 1"]
