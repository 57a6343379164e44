"""The ready transforms: functions from an array to an array, or to several."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from prep.errors import ItemError
from prep.transforms.interface.transform import Transform
from prep.transforms.registry import TRANSFORMS, read_transforms

IMAGE = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
RAMP = np.arange(12).reshape(3, 4)


def made(name: str, **params: Any) -> Transform:
    """Return a transform as a recipe would give it."""
    transforms, problems = read_transforms([{"name": name, **params}])
    assert problems == []
    return transforms[0]


def applied(array: np.ndarray, name: str, *, full_range: bool = False, **params: Any) -> Any:
    """Return what a transform makes of an array, which must stay as it was and may be read-only."""
    before = array.copy()
    array.flags.writeable = False
    result = made(name, **params).apply(array, full_range=full_range)
    np.testing.assert_array_equal(array, before)
    return result


# What becomes of an array


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"size": [1, 2]}, [[5, 6]]),
        ({"size": [2, 2]}, [[1, 2], [5, 6]]),  # the centre is rounded down
        ({"size": [2, 2], "position": "start"}, [[0, 1], [4, 5]]),
        ({"size": [2, 2], "position": "end"}, [[6, 7], [10, 11]]),
        ({"size": [2, 2], "position": [1, 0]}, [[4, 5], [8, 9]]),
        ({"size": [1]}, [[4, 5, 6, 7]]),
        ({"size": [3, 4]}, RAMP.tolist()),
    ],
)
def test_crop(params: dict[str, Any], expected: Any) -> None:
    np.testing.assert_array_equal(applied(RAMP.copy(), "crop", **params), expected)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"size": [2, 3]}, [[7, 8, 0], [0, 0, 0]]),
        ({"size": [1, 4]}, [[0, 7, 8, 0]]),
        ({"size": [1, 4], "position": "start", "value": 9}, [[7, 8, 9, 9]]),
        ({"size": [1, 4], "position": "end", "value": -1}, [[-1, -1, 7, 8]]),
        ({"size": [2]}, [[7, 8], [0, 0]]),
        ({"size": [1, 1]}, [[7, 8]]),  # what is longer stays
    ],
)
def test_pad(params: dict[str, Any], expected: Any) -> None:
    np.testing.assert_array_equal(applied(np.array([[7, 8]]), "pad", **params), expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int8", "int64", "uint64", "float16", "float32", "float64", "bool"])
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("crop", {"size": [2, 2]}),
        ("pad", {"size": [9, 9], "value": 1}),
        ("resize", {"size": [4, 5]}),
        ("resize", {"size": [4, 9], "fit": "crop", "filter": "box"}),
        ("resize", {"size": [4, 9], "fit": "pad"}),
        ("transpose", {"axes": [2, 0, 1]}),
    ],
)
def test_shapes_change_and_dtypes_stay(name: str, params: dict[str, Any], dtype: str) -> None:
    array = (IMAGE % 2).astype(dtype)
    result = applied(array, name, **params)
    assert result.dtype == dtype
    assert result.max() <= 1
    assert made(name, **params).keeps_dtype


@pytest.mark.parametrize(
    ("fit", "size", "inner"),
    [("stretch", (3, 5), (3, 5)), ("crop", (3, 3), (3, 4)), ("crop", (6, 4), (6, 8)), ("pad", (8, 8), (6, 8)), ("pad", (3, 8), (3, 4))],
)
def test_resize_is_pillows_within_the_fit(fit: str, size: tuple[int, int], inner: tuple[int, int]) -> None:
    result = applied(IMAGE.copy(), "resize", size=list(size), fit=fit, filter="bicubic")
    assert result.shape == (*size, 3)
    resized = np.asarray(Image.fromarray(IMAGE).resize(inner[::-1], Image.Resampling.BICUBIC))
    if fit == "pad":
        expected = made("pad", size=list(size)).apply(resized, full_range=True)
    else:
        expected = made("crop", size=list(size)).apply(resized, full_range=True)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int64"])
def test_what_a_filter_overshoots_is_cut_off_and_not_wrapped_around(dtype: str) -> None:
    limits = np.iinfo(dtype)
    edge = np.full((8, 8), limits.min, dtype)
    edge[:, 4:] = limits.max
    resized = applied(edge, "resize", size=[8, 16], filter="lanczos").astype(np.float64)
    assert (np.diff(resized.mean(axis=0)[[0, 4, 11, 15]]) >= 0).all()
    assert abs(resized[:, 15] / limits.max - 1).max() < 1e-6


@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from(["stretch", "crop", "pad"]),
)
def test_resize_always_reaches_its_size(shape: tuple[int, int], size: tuple[int, int], fit: str) -> None:
    assert applied(np.zeros(shape, np.uint8), "resize", size=list(size), fit=fit).shape == size


def test_gray_is_pillows_for_8_bits_and_luma_for_all() -> None:
    expected = np.asarray(Image.fromarray(IMAGE).convert("L"))
    np.testing.assert_array_equal(applied(IMAGE.copy(), "gray")[..., 0], expected)
    np.testing.assert_allclose(applied(IMAGE.astype(np.float64), "grey")[..., 0], expected, atol=0.51)
    np.testing.assert_allclose(applied(IMAGE.astype(np.uint16) * 257, "gray")[..., 0] / 257, expected, atol=0.51)
    white = np.full((1, 3), np.iinfo(np.int64).max)
    assert applied(white, "gray").dtype == np.int64  # and no integer wrapped around
    assert (applied(white, "gray") > 0).all()
    one = IMAGE[..., :1].copy()
    np.testing.assert_array_equal(applied(one, "gray"), one)


def test_scale_and_cast_are_those_of_the_flags() -> None:
    bytes_ = np.array([0, 51, 255], np.uint8)
    np.testing.assert_array_equal(applied(bytes_, "scale", factor="unit"), np.array([0, 0.2, 1], np.float32))
    np.testing.assert_array_equal(applied(bytes_, "scale", factor="1/51", dtype="float64"), [0, 1, 5])
    np.testing.assert_array_equal(applied(bytes_, "cast", dtype="uint16"), [0, 51, 255])
    np.testing.assert_array_equal(applied(bytes_, "cast", dtype="uint16", full_range=True), [0, 51 * 257, 65535])


def test_transpose() -> None:
    np.testing.assert_array_equal(applied(IMAGE.copy(), "transpose", axes=[2, 0, 1]), IMAGE.transpose(2, 0, 1))


# Tiles


@given(
    shape=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    data=st.data(),
    border=st.sampled_from(["pad", "shift"]),
)
def test_tiles_cover_an_array_exactly_and_reassemble(shape: list[int], data: st.DataObject, border: str) -> None:
    array = 1 + np.arange(int(np.prod(shape))).reshape(shape)
    size = [data.draw(st.integers(1, length if border == "shift" else 14)) for length in shape]
    stride = [data.draw(st.integers(1, length)) for length in size]
    tiles = applied(array, "tile", size=size, stride=stride, border=border)
    starts = [
        sorted({min(start, max(length - s, 0)) if border == "shift" else start for start in _starts(length, s, step)})
        for length, s, step in zip(shape, size, stride, strict=True)
    ]
    corners = np.stack(np.meshgrid(*starts, indexing="ij"), axis=-1).reshape(-1, len(shape))
    assert len(tiles) == len(corners)
    rebuilt = np.zeros([length + 14 for length in shape], array.dtype)
    for corner, tile in zip(corners, tiles, strict=True):
        assert list(tile.shape) == size
        where = tuple(slice(start, start + length) for start, length in zip(corner, size, strict=True))
        rebuilt[where] = np.maximum(rebuilt[where], tile)  # padding is 0, below every value
    inside = tuple(slice(length) for length in shape)
    np.testing.assert_array_equal(rebuilt[inside], array)
    rebuilt[inside] = 0
    assert not rebuilt.any()


def _starts(length: int, size: int, stride: int) -> list[int]:
    """Return where tiles start, one after the other, until the end is covered."""
    starts = [0]
    while starts[-1] + size < length:
        starts.append(starts[-1] + stride)
    return starts


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"size": [2]}, [[0, 1], [2, 3], [4, 0]]),
        ({"size": [2], "value": 9}, [[0, 1], [2, 3], [4, 9]]),
        ({"size": [2], "border": "shift"}, [[0, 1], [2, 3], [3, 4]]),
        ({"size": [2], "border": "drop"}, [[0, 1], [2, 3]]),
        ({"size": [2], "stride": [3]}, [[0, 1], [3, 4]]),
        ({"size": [1], "stride": [9]}, [[0]]),  # what lies in a gap is left out, and no tile lies beyond the end
        ({"size": [5]}, [[0, 1, 2, 3, 4]]),
        ({"size": [7]}, [[0, 1, 2, 3, 4, 0, 0]]),
    ],
)
def test_tiles_at_the_border(params: dict[str, Any], expected: list[list[int]]) -> None:
    assert [tile.tolist() for tile in applied(np.arange(5), "tile", **params)] == expected


def test_tiles_go_row_by_row_and_keep_further_axes() -> None:
    tiles = applied(IMAGE.copy(), "tile", size=[3, 4])
    np.testing.assert_array_equal(tiles, [IMAGE[:3, :4], IMAGE[:3, 4:], IMAGE[3:, :4], IMAGE[3:, 4:]])


# What cannot be


@pytest.mark.parametrize(
    ("array", "name", "params", "why"),
    [
        (RAMP, "crop", {"size": [4, 4]}, r"crop to \[4, 4\] at center goes beyond shape \(3, 4\); resize or pad first"),
        (RAMP, "crop", {"size": [2, 2], "position": [2, 0]}, r"at \(2, 0\) goes beyond"),
        (RAMP, "crop", {"size": [1, 1, 1]}, r"crop to \[1, 1, 1\] takes arrays of 3 axes or more, found shape \(3, 4\)"),
        (RAMP, "pad", {"size": [1, 1, 1]}, "takes arrays of 3 axes"),
        (IMAGE, "pad", {"size": [9, 9], "value": 256}, "pad: value 256 does not fit uint8; choose another value, or cast first"),
        (IMAGE, "pad", {"size": [9, 9], "value": -1}, "value -1 does not fit uint8"),
        (IMAGE, "pad", {"size": [9, 9], "value": 0.5}, "value 0.5 does not fit uint8"),
        (IMAGE, "pad", {"size": [9, 9], "value": 1e300}, "does not fit uint8"),
        (RAMP[0], "resize", {"size": [2, 2]}, r"resize takes real arrays .* found int64 of shape \(4,\)"),
        (RAMP[:0], "resize", {"size": [2, 2]}, "resize takes real arrays"),
        (RAMP.astype(complex), "resize", {"size": [2, 2]}, "found complex128"),
        (RAMP, "gray", {}, r"gray takes real arrays whose last axis has 1 or 3 channels, found int64 of shape \(3, 4\)"),
        (np.array(1.0), "gray", {}, "gray takes"),
        (RAMP, "transpose", {"axes": [2, 0, 1]}, r"transpose by \[2, 0, 1\] takes arrays of 3 axes, found shape \(3, 4\)"),
        (RAMP, "tile", {"size": [4, 4], "border": "drop"}, r"gives no tile: shape \(3, 4\) is smaller than \[4, 4\]"),
        (RAMP, "tile", {"size": [4, 4], "border": "shift"}, "gives no tile"),
        (RAMP, "tile", {"size": [1, 1, 1]}, "takes arrays of 3 axes"),
        (np.zeros((400, 400), np.uint8), "tile", {"size": [1, 1]}, r"would give 160,000 tiles of \[1, 1\].*at most 100,000"),
        (RAMP + 0.5, "cast", {"dtype": "uint8"}, "value 0.5 does not fit uint8"),
        (RAMP + 0.5, "scale", {"factor": "unit"}, "scale unit takes integers"),
    ],
)
def test_an_array_that_does_not_fit_is_refused(array: np.ndarray, name: str, params: dict[str, Any], why: str) -> None:
    with pytest.raises(ItemError, match=why):
        applied(array.copy(), name, **params)


def test_the_registry_has_every_transform_by_its_name() -> None:
    assert sorted(TRANSFORMS) == ["cast", "crop", "gray", "pad", "resize", "scale", "tile", "transpose"]
    assert all(kind.name == name for name, kind in TRANSFORMS.items())
