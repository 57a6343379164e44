"""Systematic draws: each sample as often as its weight asks for, up to one, and on average exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.feed.sampling import drawn

WEIGHTS = st.lists(st.integers(0, 1000), min_size=1, max_size=200).filter(any)


def shares_of(weights: list[int] | np.ndarray) -> np.ndarray:
    return np.asarray(weights) / np.sum(weights)


def cumulative_of(weights: list[int] | np.ndarray) -> np.ndarray:
    sums = np.cumsum(np.asarray(weights, dtype=np.float64))
    return sums / sums[-1]


def whole_pass(weights: list[int] | np.ndarray, *, seed: int = 0, pass_: int = 0) -> np.ndarray:
    return drawn(np.arange(len(weights), dtype=np.int64), cumulative_of(weights), seed=seed, pass_=pass_)


@given(weights=WEIGHTS, seed=st.integers(-(2**70), 2**70), pass_=st.integers(0, 100))
def test_a_pass_draws_each_sample_as_often_as_its_weight_asks_for_up_to_one(weights: list[int], seed: int, pass_: int) -> None:
    draws = whole_pass(weights, seed=seed, pass_=pass_)
    assert draws.dtype == np.int64
    assert draws.shape == (len(weights),)
    counts = np.bincount(draws, minlength=len(weights))
    wanted = len(weights) * shares_of(weights)
    assert (counts >= np.floor(wanted - 1e-9)).all()
    assert (counts <= np.ceil(wanted + 1e-9)).all()
    assert not counts[np.asarray(weights) == 0].any()


@given(weights=WEIGHTS, data=st.data())
def test_a_batch_draws_what_the_whole_pass_draws_at_its_places(weights: list[int], data: st.DataObject) -> None:
    places = np.array(data.draw(st.lists(st.integers(0, len(weights) - 1))), dtype=np.int64)
    assert np.array_equal(drawn(places, cumulative_of(weights), seed=1, pass_=2), whole_pass(weights, seed=1, pass_=2)[places])


@pytest.mark.parametrize("weights", [[1, 2, 3, 4.5], [1, 1, 1], [0, 5, 0.01, 0], [1e-12, 1, 1e12]], ids=str)
def test_over_the_passes_each_sample_comes_as_often_as_its_weight_says(weights: list[float]) -> None:
    weights, passes = np.array(weights), 2000
    counts = sum(np.bincount(whole_pass(weights, seed=5, pass_=pass_), minlength=len(weights)) for pass_ in range(passes))
    # A pass's count is one of two neighbouring integers, so its standard deviation is at most a half.
    assert (abs(counts / passes - len(weights) * shares_of(weights)) < 5 * 0.5 / np.sqrt(passes)).all()


def test_equal_weights_draw_each_sample_once() -> None:
    for n in (1, 2, 3, 10, 97, 1000):
        assert np.array_equal(whole_pass(np.ones(n), seed=n), np.arange(n))


@pytest.mark.parametrize("weight", [1, 1e-300, 1e300])
def test_a_single_sample_is_always_drawn(weight: float) -> None:
    for pass_ in range(20):
        assert whole_pass([weight], pass_=pass_).tolist() == [0]


@pytest.mark.parametrize("where", [0, 5, 9])
def test_one_sample_with_all_the_weight_is_all_there_is(where: int) -> None:
    weights = np.zeros(10)
    weights[where] = 0.1
    assert whole_pass(weights).tolist() == [where] * 10


def set_shift(monkeypatch: pytest.MonkeyPatch, shift: float) -> None:
    class Set:
        def random(self) -> float:
            return shift

    monkeypatch.setattr("loader.feed.sampling.keyed_generator", lambda *_: Set())


@pytest.mark.parametrize("n", [1, 3, 7, 10, 49, 1000, 12_345])
@pytest.mark.parametrize("idle", [0, 1, 5])
def test_rounding_at_the_end_draws_nobody_who_is_not_there_or_weighs_nothing(n: int, idle: int, monkeypatch: pytest.MonkeyPatch) -> None:
    set_shift(monkeypatch, float(np.nextafter(1.0, 0.0)))
    weights = np.append(np.full(n, 0.1), np.zeros(idle))
    draws = whole_pass(weights)
    assert draws.min() >= 0
    assert draws.max() < n
    assert draws[-1] == n - 1


def test_a_point_where_two_samples_meet_is_the_second_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    set_shift(monkeypatch, 0.0)
    assert whole_pass([0, 1, 0, 0, 1, 2, 0, 4]).tolist() == [1, 4, 5, 5, 7, 7, 7, 7]


@pytest.mark.parametrize(
    ("seed", "pass_", "golden"),
    [
        (0, 0, [0, 2, 3, 4, 5, 6, 6, 6]),
        (0, 1, [2, 3, 4, 4, 6, 6, 6, 7]),
        (1, 0, [0, 3, 3, 4, 6, 6, 6, 7]),
        (-3, 12, [2, 3, 4, 4, 6, 6, 6, 7]),
        (1180591620717411303424, 5, [2, 3, 4, 4, 6, 6, 6, 7]),
    ],
)
def test_draws_never_change(seed: int, pass_: int, golden: list[int]) -> None:
    """Changing them changes what every user's seed means."""
    assert whole_pass([1, 0, 2, 3, 4, 0.5, 7, 2], seed=seed, pass_=pass_).tolist() == golden


def test_other_seeds_and_passes_are_shifted_otherwise() -> None:
    weights = np.random.default_rng(0).random(200)
    draws = {tuple(whole_pass(weights, seed=seed, pass_=pass_).tolist()) for seed in range(4) for pass_ in range(4)}
    assert len(draws) == 16
