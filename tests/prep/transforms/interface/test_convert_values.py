"""Values on their way to a dtype: stretched, scaled or cast, but never wrapped around, cut off or rounded behind the user's back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from prep.errors import ItemError
from prep.transforms.interface.convert_values import Scale, convert_values

INTEGERS = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
FLOATS = ["float16", "float32", "float64"]


def check_converted(source: Any, dtype: str, expected: Any, *, scale: Scale | None = None, full_range: bool = False) -> None:
    source = np.asarray(source)
    before = source.copy()
    found = convert_values(source, dtype, scale, full_range=full_range)
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.dtype(dtype).newbyteorder("<")
    assert found.shape == source.shape
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, np.asarray(expected, dtype))
    np.testing.assert_array_equal(source, before)


def check_refused(source: Any, dtype: str, why: str, *, scale: Scale | None = None) -> None:
    with pytest.raises(ItemError, match=why):
        convert_values(np.asarray(source), dtype, scale, full_range=False)


@pytest.mark.parametrize(
    ("source", "dtype"),
    [
        (np.uint8([0, 255]), "uint8"),
        (np.uint8([0, 255]), "int16"),
        (np.uint8([0, 255]), "float16"),
        (np.uint8([0, 127]), "int8"),
        (np.int8([0, 127]), "uint8"),
        (np.int64([-128, 127]), "int8"),
        (np.int64([0, 2**53]), "float64"),
        (np.int64([-(2**24), 2**24]), "float32"),
        (np.uint64([2**63]), "float32"),
        (np.float64([0.0, -1.0, 255.0]), "int16"),
        (np.float64([0.1]), "float32"),
        (np.float32([3e38]), "float64"),
        (np.float64([np.nan, np.inf, -np.inf]), "float16"),
        ([True, False], "uint8"),
        ([True, False], "float32"),
        ([True, False], "bool"),
        ([0, 1], "bool"),
        ([0.0, 1.0], "bool"),
        (np.complex64([1 + 2j]), "complex128"),
        (np.complex128([1 + 2j]), "complex64"),
        (np.complex128([3, -1]), "float32"),
        (np.complex128([3, -1]), "int8"),
        ([1, 2], "complex64"),
        (np.empty((0, 3)), "uint8"),
        (np.array(7), "float32"),
        (np.array(7.0), "uint8"),
    ],
)
def test_values_that_fit_stay_as_they_are(source: Any, dtype: str) -> None:
    source = np.asarray(source)
    check_converted(source, dtype, source.real if source.dtype.kind == "c" and np.dtype(dtype).kind != "c" else source)


@pytest.mark.parametrize(
    ("source", "dtype", "value"),
    [
        ([256], "uint8", "256"),
        ([1, -1], "uint8", "-1"),
        (np.int8([-1]), "uint8", "-1"),
        (np.int16([-1]), "uint16", "-1"),
        (np.int64([-1]), "uint64", "-1"),
        (np.uint8([128]), "int8", "128"),
        (np.uint64([2**63]), "int64", str(2**63)),
        (np.uint64([2**64 - 1]), "int8", str(2**64 - 1)),
        (np.int64([2**53 + 1]), "float64", str(2**53 + 1)),
        (np.int64([2**24 + 1]), "float32", str(2**24 + 1)),
        (np.int32([2049]), "float16", "2049"),
        (np.int32([70_000]), "float16", "70000"),
        (np.int32([-(2**31)]), "float16", str(-(2**31))),
        (np.int64([2**63 - 1]), "float64", str(2**63 - 1)),
        (np.uint64([2**64 - 1]), "float32", str(2**64 - 1)),
        (np.int64([2**53 + 1]), "complex128", str(2**53 + 1)),
        ([0.5], "uint8", "0.5"),
        ([254.99999], "uint8", "254.99999"),
        ([1e30], "int64", "1e+30"),
        ([-1.0], "uint64", "-1.0"),
        ([np.nan], "int32", "nan"),
        ([np.inf], "uint8", "inf"),
        ([-np.inf], "int64", "-inf"),
        ([1e5], "float16", "100000.0"),
        ([1e39], "float32", "1e+39"),
        ([2], "bool", "2"),
        ([0.5], "bool", "0.5"),
        ([np.nan], "bool", "nan"),
        ([1 + 1j], "float32", "(1+1j)"),
        ([1 + 1j], "int8", "(1+1j)"),
        ([1j], "bool", "1j"),
        ([1e39 + 0j], "complex64", "(1e+39+0j)"),
        (np.array(-1), "uint8", "-1"),
    ],
)
def test_a_value_that_does_not_fit_is_named(source: Any, dtype: str, value: str) -> None:
    with pytest.raises(ItemError) as caught:
        convert_values(np.asarray(source), dtype, None, full_range=False)
    assert str(caught.value) == f"value {value} does not fit {dtype}; choose another --dtype or give a --scale"


@given(st.data(), st.sampled_from(INTEGERS), st.sampled_from(INTEGERS))
def test_integers_arrive_equal_or_not_at_all(data: st.DataObject, source: str, target: str) -> None:
    array = data.draw(hnp.arrays(source, (3,)))
    limits = np.iinfo(target)
    if all(limits.min <= int(value) <= limits.max for value in array):
        assert convert_values(array, target, None, full_range=False).tolist() == array.tolist()
    else:
        check_refused(array, target, "does not fit")


@given(st.data(), st.sampled_from(INTEGERS), st.sampled_from(FLOATS))
def test_integers_arrive_exactly_in_floats_or_not_at_all(data: st.DataObject, source: str, target: str) -> None:
    array = data.draw(hnp.arrays(source, (2,)))
    limits = np.iinfo(source)
    try:
        found = convert_values(array, target, None, full_range=False)
    except ItemError:
        with np.errstate(over="ignore"):
            floats = [float(value) for value in array.astype(target)]
        assert any(math.isinf(f) or int(f) != int(v) or not limits.min <= f <= limits.max for f, v in zip(floats, array, strict=True))
    else:
        assert [int(value) for value in found] == array.tolist()


@given(hnp.arrays("float64", (3,)), st.sampled_from(INTEGERS))
def test_floats_arrive_as_equal_integers_or_not_at_all(array: Any, target: str) -> None:
    limits = np.iinfo(target)
    if all(math.isfinite(v) and v.is_integer() and limits.min <= int(v) <= limits.max for v in array.tolist()):
        assert convert_values(array, target, None, full_range=False).tolist() == [int(v) for v in array.tolist()]
    else:
        check_refused(array, target, "does not fit")


@pytest.mark.parametrize(
    ("source", "dtype", "expected"),
    [
        (np.uint8([0, 1, 128, 255]), "uint16", [0, 257, 32896, 65535]),
        (np.uint16([0, 128, 129, 257, 385, 386, 65535]), "uint8", [0, 0, 1, 1, 1, 2, 255]),
        (np.uint8([0, 255]), "uint8", [0, 255]),
        (np.uint8([0, 255]), "float32", [0, 255]),
        (np.uint16([0, 65535]), "float32", [0, 65535]),
        (np.int32([7]), "uint8", [7]),
    ],
)
def test_white_stays_white_between_8_and_16_bits(source: Any, dtype: str, expected: Any) -> None:
    check_converted(source, dtype, expected, full_range=True)


def test_arrays_are_not_stretched() -> None:
    check_converted(np.uint8([255]), "uint16", [255])
    check_refused(np.uint16([65535]), "uint8", "65535")


@given(hnp.arrays("uint8", (4,)))
def test_stretching_there_and_back_changes_nothing(array: Any) -> None:
    there = convert_values(array, "uint16", None, full_range=True)
    np.testing.assert_array_equal(convert_values(there, "uint8", None, full_range=True), array)


@given(hnp.arrays("uint16", (4,)))
def test_stretching_down_rounds_to_the_nearest(array: Any) -> None:
    found = convert_values(array, "uint8", None, full_range=True)
    assert np.abs(found.astype(float) - array / 257).max() <= 0.5


@pytest.mark.parametrize(
    ("source", "scale", "dtype", "expected"),
    [
        (np.uint8([0, 51, 255]), "unit", "float32", [0, 0.2, 1]),
        (np.uint16([0, 65535]), "unit", "float64", [0, 1]),
        (np.array([0, 65535], ">u2"), "unit", "float32", [0, 1]),
        (np.int16([-32767, 32767]), "unit", "float32", [-1, 1]),
        (np.uint8([0, 255]), 1 / 255, "float32", [0, 1]),
        (np.uint8([10]), 0.5, "float16", [5]),
        (np.float32([2]), -2.0, "float32", [-4]),
        ([True], 3.0, "float32", [3]),
        (np.complex64([1 + 2j]), 2.0, "complex64", [2 + 4j]),
        (np.array(4), 0.5, "float32", 2),
        (np.uint8([200]), 2, "float32", [400]),
        (np.empty((0,), np.uint8), "unit", "float32", []),
    ],
)
def test_a_scale_is_applied_before_the_dtype(source: Any, scale: Scale, dtype: str, expected: Any) -> None:
    check_converted(source, dtype, expected, scale=scale)


@given(hnp.arrays("uint8", (3,)))
def test_a_scaled_value_is_rounded_once(array: Any) -> None:
    found = convert_values(array, "float32", "unit", full_range=True)
    np.testing.assert_array_equal(found, [np.float32(int(value) / 255) for value in array])


@pytest.mark.parametrize("source", [np.float32([0.5]), np.array([True]), np.complex64([1])])
def test_unit_is_for_integers(source: Any) -> None:
    check_refused(source, "float32", f"--scale unit takes integers, .* found {source.dtype.name}", scale="unit")


def test_a_scaled_value_may_not_fit_either() -> None:
    check_refused([1000.0], "float16", "does not fit float16", scale=1000.0)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["u2", "i4", "f4", "f8", "c8"])
def test_shards_are_little_endian_whatever_the_source(kind: str, order: str) -> None:
    source = np.array([[1, 2], [3, 4]], order + kind)
    check_converted(source, source.dtype.name, source)


@pytest.mark.parametrize("source", [np.asfortranarray(np.arange(6).reshape(2, 3)), np.arange(12)[::2], np.arange(6).reshape(2, 3).T])
@pytest.mark.parametrize("dtype", ["int64", "float32"])
def test_any_layout_becomes_c_order(source: Any, dtype: str) -> None:
    check_converted(source, dtype, source)
