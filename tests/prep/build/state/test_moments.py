"""Moments of shards, put together, are the statistics of all their values, whatever the order and the blocks."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from prep.build.commit import statistics as combining
from prep.build.commit.statistics import Combined, combine
from prep.build.state import moments
from prep.build.state.moments import MAX_CHANNELS, channels_of, decode_moments, moment_bytes, moments_of, moments_of_each

DTYPES = ["bool", "uint8", "int8", "uint16", "int16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64"]


def combined_one(rows: Any, *, block: int = 1000) -> Combined:
    """Put moments of one channel together, shape (shards, 6), some at a time."""
    [one] = combine(lambda: (rows[start : start + block, None] for start in range(0, len(rows), block)))
    return one


def moments_of_all(arrays: Any) -> Any:
    return decode_moments(b"".join(moments_of(array) for array in arrays))


def check_combined(arrays: list[Any], channels: int) -> None:
    """Hold moments of one dataset's arrays against exact arithmetic over all values."""
    per_channel = moments_of_all(arrays).reshape(len(arrays), channels, 6)
    together = combine(lambda: [per_channel[:1], per_channel[1:]])
    assert len(together) == channels
    for channel, combined in enumerate(together):
        values = [Fraction(value) for array in arrays for value in array.reshape(-1, channels)[:, channel].tolist()]
        assert (combined.finite, combined.non_finite) == (len(values), 0)
        mean = sum(values) / len(values)
        variance = float(sum((value - mean) ** 2 for value in values) / len(values))
        scale = max(abs(float(value)) for value in values)
        assert combined.mean == pytest.approx(float(mean), rel=1e-15, abs=scale * 1e-15)
        assert combined.variance == pytest.approx(variance, rel=1e-12, abs=(scale * 1e-15) ** 2)
        assert (combined.low, combined.high) == (float(min(values)), float(max(values)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_moments_put_together_are_those_of_all_values(dtype: str) -> None:
    rng = np.random.default_rng(1)
    lowest, highest = (0, 2) if dtype == "bool" else (-100, 101) if dtype[0] in "if" else (0, 201)
    arrays = [rng.integers(lowest, highest, (size, 4, 3)).astype(dtype) for size in (1, 2, 7, 50)]
    check_combined(arrays, 3)


@pytest.mark.parametrize(
    ("dtype", "offset"), [("int64", 2**62), ("int64", -(2**62)), ("uint64", 2**63), ("int32", 2**30), ("float64", 1e8)]
)
def test_a_mean_far_beyond_the_deviation_spoils_nothing_within_a_shard(dtype: str, offset: float) -> None:
    values = np.random.default_rng(2).integers(0, 5, (1000, 2))
    shifted = values.astype(dtype) + np.dtype(dtype).type(offset)
    variances = [combined_one(row[None]).variance for row in decode_moments(moments_of(shifted))]
    np.testing.assert_allclose(variances, values.var(axis=0), rtol=1e-12)


def test_a_mean_far_beyond_the_deviation_spoils_nothing_over_many_shards() -> None:
    values = 1e6 + np.random.default_rng(3).standard_normal((200, 50, 1))
    combined = combined_one(moments_of_all(values))
    exact = values.astype(np.longdouble)
    np.testing.assert_allclose(combined.variance, float(exact.var()), rtol=1e-9)
    np.testing.assert_allclose(combined.mean, float(exact.mean()), rtol=1e-15)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_the_size_of_the_blocks_changes_nothing_but_rounding(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.random.default_rng(4).integers(0, 200, (50, 3)).astype(dtype)
    whole = decode_moments(moments_of(array))
    monkeypatch.setattr(moments, "_BLOCK_VALUES", 20)
    np.testing.assert_allclose(decode_moments(moments_of(array)), whole, rtol=1e-14)


@given(hnp.arrays(np.float64, hnp.array_shapes(max_dims=3, max_side=6), elements=st.floats(-1e6, 1e6)), st.randoms(use_true_random=False))
def test_the_order_of_shards_does_not_change_a_bit(array: Any, order: random.Random) -> None:
    shards = moments_of_all(np.ascontiguousarray(part).reshape(-1, 1) for part in array)
    shuffled = list(shards)
    order.shuffle(shuffled)
    whole = combined_one(shards)
    for block in (1, 2, 1000):
        again = combined_one(np.array(shuffled), block=block)
        assert again == whole
        assert str(again) == str(whole)  # -0.0 equals 0.0


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300), max_size=40), st.integers(1, 9))
def test_a_sum_of_blocks_is_that_of_all_rounded_once(values: list[float], block: int) -> None:
    total = combining._Sum()
    for start in range(0, len(values), block):
        total.add(np.array(values[start : start + block]))
    assert total.value() == math.fsum(values)


def test_a_sum_of_many_blocks_keeps_few_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(combining, "_MOST_PARTIALS", 8)
    total, values = combining._Sum(), np.random.default_rng(0).standard_normal((500, 7)) * 10.0 ** np.arange(-3, 4)
    for block in values:
        total.add(block)
        assert len(total._partials) <= 12
    assert total.value() == math.fsum(values.ravel())


def test_what_is_not_finite_is_counted_and_left_out() -> None:
    array = np.array([[1.0, np.nan], [np.inf, -np.inf], [3.0, np.nan]], dtype=np.float32)
    first, second = (combined_one(row[None]) for row in decode_moments(moments_of(array)))
    assert first == (2, 1, 2.0, 1.0, 1.0, 3.0)
    assert second == (0, 3, None, None, None, None)


def test_a_shard_without_values_adds_nothing() -> None:
    arrays = [np.zeros((0, 1), np.float32), np.full((2, 1), 5, np.float32), np.full((1, 1), np.nan)]
    assert combined_one(moments_of_all(arrays)) == (2, 1, 5.0, 0.0, 5.0, 5.0)


def test_what_overflows_has_no_mean() -> None:
    assert combined_one(moments_of_all([np.array([[1e308], [1e308]])])) == (2, 0, None, None, 1e308, 1e308)
    apart = moments_of_all([np.array([[1e308]]), np.array([[1e308]])])
    assert combined_one(apart, block=1) == (2, 0, None, None, 1e308, 1e308)


def test_nothing_put_together_has_no_channels() -> None:
    assert combine(list) == []


@pytest.mark.parametrize(
    ("shape", "channels"),
    [((), 1), ((3,), 3), ((0,), 1), ((4, 0), 1), ((0, 4), 4), ((5, 5, 3), 3), ((MAX_CHANNELS,), MAX_CHANNELS), ((MAX_CHANNELS + 1,), 1)],
)
def test_channels_are_the_last_axis(shape: tuple[int, ...], channels: int) -> None:
    assert channels_of(shape) == channels
    own = moments_of(np.zeros(shape, np.float32))
    assert decode_moments(own).shape == (channels, 6)
    assert len(own) == moment_bytes(shape, "float32")


def test_complex_numbers_have_no_moments() -> None:
    assert moments_of(np.zeros(3, np.complex64)) == b""
    assert moment_bytes((3,), "complex64") == 0


def check_each(arrays: list[Any]) -> None:
    assert moments_of_each(arrays) == [moments_of(array) for array in arrays]


@pytest.mark.parametrize("dtype", [*DTYPES, "complex64"])
@pytest.mark.parametrize(
    "shape",
    [(), (1,), (0, 3), (3,), (7, 3), (32, 32, 3), (5, 2, 1), (2000,), (4096, 1), (4097, 1), (8193, 1), (64, 256, 1), (20000, 1), (33, 500)],
)
def test_moments_of_many_arrays_are_those_of_each_to_the_last_bit(dtype: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(5)
    check_each([(rng.standard_normal(shape) * 10.0 ** rng.integers(-3, 4)).astype(dtype) for _ in range(9)])


def test_arrays_of_many_kinds_do_not_disturb_each_other() -> None:
    rng = np.random.default_rng(6)
    shapes, dtypes = [(4, 3), (12,), (2, 2, 3)], ["uint8", "float32", "int64"]
    check_each([rng.integers(0, 99, shapes[n % 3]).astype(dtypes[n // 3 % 3]) for n in rng.integers(0, 9, 60).tolist()])


@given(st.lists(hnp.arrays(st.sampled_from([np.float32, np.float64]), (5, 2)), max_size=6))
def test_values_that_are_not_finite_or_overflow_are_told_alike(arrays: list[Any]) -> None:
    check_each(arrays)


def test_moments_do_not_depend_on_the_byte_order() -> None:
    array = np.arange(6.0).reshape(2, 3)
    assert moments_of(array.astype(">f8")) == moments_of(array)
    assert math.isclose(decode_moments(moments_of(array))[0, 2], 3.0)
