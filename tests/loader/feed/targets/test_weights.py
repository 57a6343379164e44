"""Weights and the running sum by which samples are drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader import LabelError
from loader.feed.columns import coded
from loader.feed.targets.weights import balanced_weights, cumulative, numbers_of

WEIGHTS = st.floats(0, allow_nan=False, allow_infinity=False)


@given(st.lists(WEIGHTS, min_size=1, max_size=20).filter(any))
def test_the_running_sum_never_falls_and_ends_at_one(weights: list[float]) -> None:
    running = cumulative(np.array(weights), "w")
    assert running.dtype == np.float64
    assert running[-1] == 1
    assert (np.diff(running, prepend=0) >= 0).all()
    shares = np.diff(running, prepend=0)
    assert shares == pytest.approx(np.array(weights) / max(weights) / np.sum(np.array(weights) / max(weights)))


@given(st.lists(st.sampled_from([0.0, 0.0, 1.0, 3.0]), min_size=1, max_size=20).filter(any), st.floats(0, 1, exclude_max=True))
def test_a_weight_of_zero_is_never_drawn(weights: list[float], u: float) -> None:
    position = np.searchsorted(cumulative(np.array(weights), "w"), u, side="right")
    assert weights[int(position)] > 0


def test_weights_that_are_all_zero_are_refused() -> None:
    with pytest.raises(LabelError, match=r"all 3 weights are 0 \(w\)"):
        cumulative(np.zeros(3), "w")


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=30))
def test_each_class_has_the_same_weight_in_all(labels: list[str]) -> None:
    weights = balanced_weights(coded(labels), ids=labels, paths=labels)
    for label in set(labels):
        assert sum(w for w, other in zip(weights, labels, strict=True) if other == label) == pytest.approx(1)


def test_values_that_are_no_numbers_are_nan() -> None:
    assert np.array_equal(numbers_of([1, np.float32(0.5), True, None, [], 10**400]), [1, 0.5, 1, np.nan, np.nan, np.nan], equal_nan=True)
