"""What a transform may return, what becomes of it, and what is said of everything else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from loader import OptionError, TransformError
from loader.feed.transforms import Padding, Stack, checked_batch, named_call, parted
from loader.feed.tree import Tree, leaves


def name() -> str:
    return "ID 's7' (shards/s7.npy)"


def stacked(samples: Sequence[Tree], padding: Padding | None = None) -> Tree:
    stack = Stack(len(samples), np.empty, padding)
    for sample in samples:
        stack.add(sample, name)
    return stack.batch()


@given(
    npst.array_shapes(min_dims=0, max_dims=3, max_side=4),
    st.sampled_from(["bool", "uint8", ">i2", "int64", "float16", ">f4", "float64", "complex64"]),
    st.integers(1, 5),
    st.data(),
)
def test_a_stack_of_arrays_is_numpys(shape: tuple[int, ...], dtype: str, rows: int, data: st.DataObject) -> None:
    samples = [data.draw(npst.arrays(np.dtype(dtype), shape)) for _ in range(rows)]
    batch = stacked(samples)
    expected = np.stack(samples)
    assert batch.dtype == np.dtype(dtype).newbyteorder("=")
    assert batch.dtype.isnative
    assert batch.flags.c_contiguous
    assert np.array_equal(batch, expected, equal_nan=expected.dtype.kind in "fc")


class SimpleArray:
    """As arrays of other libraries are."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self._array


LAYOUTS: dict[str, Callable[[np.ndarray], Any]] = {
    "reversed": lambda x: x[::-1, ::-1],
    "transposed": lambda x: x.T,
    "Fortran": np.asfortranarray,
    "every other": lambda x: x[::2],
    "broadcast": lambda x: np.broadcast_to(x, (3, *x.shape)),
    "read-only": lambda x: x.setflags(write=False) or x,
    "big-endian": lambda x: x.astype(">f8"),
    "of a subclass": lambda x: x.view(np.recarray),
    "something with __array__": SimpleArray,
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_any_layout_is_stacked(layout: Callable[[np.ndarray], Any]) -> None:
    samples = [np.random.default_rng(i).random((4, 3)) for i in range(3)]
    expected = np.stack([np.asarray(layout(x.copy())) for x in samples])
    batch = stacked([layout(x.copy()) for x in samples])
    assert type(batch) is np.ndarray
    assert batch.dtype == np.float64
    assert batch.dtype.isnative
    assert np.array_equal(batch, expected)


@pytest.mark.parametrize(
    ("scalar", "dtype"), [(3, "int64"), (2.5, "float64"), (True, "bool"), (np.float32(1), "float32"), (1j, "complex128")]
)
def test_scalars_make_a_vector(scalar: Any, dtype: str) -> None:
    batch = stacked([scalar, scalar])
    assert batch.dtype == dtype
    assert batch.tolist() == [scalar, scalar]


def test_byte_orders_may_differ_from_sample_to_sample() -> None:
    assert stacked([np.array([1, 2], ">i4"), np.array([3, 4], "<i4")]).tolist() == [[1, 2], [3, 4]]


def test_a_samples_array_is_copied_and_may_be_used_again() -> None:
    array, stack = np.zeros(2), Stack(3, np.empty)
    for i in range(3):
        array[:] = i
        stack.add(array, name)
    assert stack.batch().tolist() == [[0, 0], [1, 1], [2, 2]]


@pytest.mark.parametrize("wrap", [lambda a, b: (a, b), lambda a, b: [a, b], lambda a, b: {"b": b, "a": a}, lambda a, b: {"a": [a, (b,)]}])
def test_forms_are_kept(wrap: Callable[[Any, Any], Tree]) -> None:
    batch = stacked([wrap(np.full((2, 2), i), i / 2) for i in range(3)])
    expected = wrap(np.stack([np.full((2, 2), i) for i in range(3)]), np.arange(3) / 2)
    assert str(batch) == str(expected)
    assert [leaf.dtype for leaf in leaves(batch)] == [leaf.dtype for leaf in leaves(expected)]


class Wordy:
    """What says of itself more than a line."""

    def __repr__(self) -> str:
        return "Wordy(\n  a=1,\n)" + "\n" * 99


BAD = {
    "something of several lines": (Wordy(), "returned Wordy( a=1, ), expected numbers"),
    "object": (np.array([{}, None]), "returned an array of shape (2,) and dtype object, expected numbers"),
    "text": ("cat", "returned 'cat', expected numbers"),
    "text array": (np.array(["cat"]), "returned an array of shape (1,) and dtype <U3, expected numbers"),
    "time": (np.array(["2020"], "datetime64[Y]"), "returned an array of shape (1,) and dtype datetime64[Y], expected numbers"),
    "something else": (SimpleNamespace(a=1), "returned namespace(a=1), expected numbers"),
    "something long": (SimpleNamespace(a="x\n" * 99), "returned namespace(a='" + "x\\n" * 15),
    "within a dict": ({"a": np.zeros(2), "b": "cat"}, "returned 'cat', expected numbers"),
}


@pytest.mark.parametrize("case", BAD, ids=BAD)
@pytest.mark.parametrize("use", ["sample", "batch"])
def test_what_holds_no_numbers_is_named(case: str, use: str) -> None:
    value, message = BAD[case]
    with pytest.raises(TransformError) as caught:
        stacked([value]) if use == "sample" else checked_batch(value, name)
    assert str(caught.value).startswith(f"the transform of {name()} {message}")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


ODD = [
    (np.zeros((2, 3), np.float32), np.zeros((2, 3)), "returned (2, 3) float64, and (2, 3) float32 for the sample before"),
    (np.zeros((2, 3)), np.zeros((2, 4)), "has shape (2, 4), and the one before it (2, 3)"),
    (np.zeros((2, 3)), np.zeros((1, 3)), "has shape (1, 3), and the one before it (2, 3)"),
    (np.zeros((2, 3)), np.zeros((3,)), "has shape (3,), and the one before it (2, 3)"),
    (np.zeros((2, 3)), 0.0, "has shape (), and the one before it (2, 3)"),
    (np.zeros(2), (np.zeros(2),), "returned a tuple of ndarray, and an array of shape (2, 2) and dtype float64 for the sample before"),
    (np.zeros(2), None, "returned None, and an array of shape"),
    ({"a": 1}, {"b": 1}, "returned a dict of 'b', and a dict of 'a' for the sample before"),
    ({"a": 1}, {"a": 1, "b": 2}, "returned a dict of 'a', 'b', and a dict of 'a' for the sample before"),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}, "returned a dict of 'b', 'a', and a dict of 'a', 'b' for the sample before"),
    ([1, 2], [1, None], "returned a list of int, None, and a list of ndarray, ndarray for the sample before"),
]


@pytest.mark.parametrize(("first", "second", "message"), ODD, ids=[message for *_, message in ODD])
def test_a_sample_unlike_the_one_before_is_named(first: Tree, second: Tree, message: str) -> None:
    with pytest.raises(TransformError) as caught:
        stacked([first, second])
    assert name() in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("shapes", [[(2, 3)], [(4, 5), (1, 1), (3, 5)], [(0, 2), (4, 0)]], ids=str)
@pytest.mark.parametrize("value", [0, -1.5, float("nan")])
def test_padding_stands_behind_the_samples_own_elements(shapes: list[tuple[int, int]], value: float) -> None:
    batch = stacked([np.full(shape, 7.0) for shape in shapes], Padding(shape=(4, 5), value=value))
    assert batch.shape == (len(shapes), 4, 5)
    for row, (high, wide) in zip(batch, shapes, strict=True):
        expected = np.pad(np.full((high, wide), 7.0), [(0, 4 - high), (0, 5 - wide)], constant_values=value)
        assert np.array_equal(row, expected, equal_nan=True)


@pytest.mark.parametrize("shape", [(5, 5), (4, 6), (4,), (4, 5, 1), ()], ids=str)
@pytest.mark.parametrize("before", [[], [np.zeros((1, 1))]], ids=["first", "later"])
def test_a_sample_that_does_not_fit_in_is_named(shape: tuple[int, ...], before: list[np.ndarray]) -> None:
    with pytest.raises(TransformError) as caught:
        stacked([*before, np.zeros(shape)], Padding(shape=(4, 5), value=0))
    assert str(caught.value).startswith(f"the sample of {name()} has shape {shape}, expected at most pad_to=(4, 5); raise pad_to, or ")


@pytest.mark.parametrize(
    ("dtype", "value", "fits"),
    [
        ("uint8", 0, True),
        ("uint8", 255.0, True),
        ("uint8", -1, False),
        ("uint8", 256, False),
        ("uint8", 0.5, False),
        ("int32", -1, True),
        ("int32", float("nan"), False),
        ("int64", float("inf"), False),
        ("bool", 1, True),
        ("bool", 2, False),
        ("float16", -0.5, True),
        ("float32", float("nan"), True),
        ("complex64", 0.5, True),
    ],
)
def test_a_value_that_the_dtype_cannot_hold_is_no_padding(dtype: str, value: float, fits: bool) -> None:
    samples, padding = [np.ones((2,), dtype)], Padding(shape=(3,), value=value)
    if fits:
        assert np.array_equal(stacked(samples, padding)[0, 2:], np.array([value], dtype), equal_nan=True)
        return
    with pytest.raises(OptionError, match=f"^pad_value must be one that {dtype} can hold, got {value}$"):
        stacked(samples, padding)


X, Y, W = np.zeros(2), np.ones(1), np.full(1, 2.0)


@pytest.mark.parametrize(
    ("result", "y", "most", "parts"),
    [
        (X, None, 2, (X, None)),
        ((X, None), None, 2, (X, None)),
        ((X, Y), Y, 2, (X, Y)),
        ((X, Y), None, 2, (X, Y)),
        ([X, Y], None, 2, ([X, Y], None)),
        ((X, Y, W), None, 2, ((X, Y, W), None)),
        ((X, Y, W), Y, 3, (X, Y, W)),
        (((X, X), {"a": Y}), Y, 2, ((X, X), {"a": Y})),
        ((X,), None, 2, ((X,), None)),
    ],
)
def test_the_parts_of_a_result(result: Any, y: Any, most: int, parts: tuple[Any, ...]) -> None:
    found = parted(result, y, name, most)
    assert len(found) == len(parts)
    assert str(found) == str(parts)


@pytest.mark.parametrize(
    ("result", "y", "most", "message"),
    [
        (None, Y, 2, "must return (x, y), got None"),
        (X, Y, 2, "must return (x, y), got an array of shape (2,) and dtype float64"),
        ([X, Y], Y, 2, "must return (x, y), got a list of ndarray, ndarray"),
        ((X,), Y, 2, "must return (x, y), got a tuple of ndarray"),
        ((X, Y, W), Y, 2, "must return (x, y), got a tuple of ndarray, ndarray, ndarray"),
        ({"x": X, "y": Y}, Y, 2, "must return (x, y), got a dict of 'x', 'y'"),
        ((X, None), Y, 2, "must return (x, y), got a tuple of ndarray, None"),
        ((None, Y), Y, 2, "must return (x, y), got a tuple of None, ndarray"),
        (X, Y, 3, "must return (X, y) or (X, y, weights), got an array of shape (2,) and dtype float64"),
        (None, None, 2, "must return x, got None"),
        ({}, None, 2, "must return x, got an empty dict"),
        ((), None, 3, "must return X, got an empty tuple"),
        ((None, None), None, 2, "must return x, got a tuple of None, None"),
    ],
)
def test_a_result_without_x_or_y_is_named(result: Any, y: Any, most: int, message: str) -> None:
    with pytest.raises(TransformError) as caught:
        parted(result, y, name, most)
    assert str(caught.value) == f"the transform of {name()} {message}"


def test_what_a_transform_raises_is_its_own_and_says_where() -> None:
    class OwnError(Exception):
        pass

    def transform(x: Any, y: Any, rng: np.random.Generator) -> Any:
        raise OwnError("too dark")

    with pytest.raises(OwnError, match="too dark") as caught:
        named_call(transform, X, Y, np.random.default_rng(0), name)
    assert caught.value.args == ("too dark",)
    assert caught.value.__notes__ == ["raised by the transform of ID 's7' (shards/s7.npy)"]


def test_a_batch_is_arrays_in_native_byte_order() -> None:
    batch = checked_batch({"a": [1, 2.5], "b": (np.array([1], ">i4"), None)}, name)
    assert str(batch) == str({"a": [np.array(1), np.array(2.5)], "b": (np.array([1], "i4"), None)})
    assert all(leaf.dtype.isnative for leaf in leaves(batch))


def test_a_part_of_a_batch_that_is_not_there_is_named() -> None:
    with pytest.raises(TransformError, match="returned None where an array was expected"):
        checked_batch(None, name)
