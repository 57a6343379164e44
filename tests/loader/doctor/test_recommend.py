"""From measurements to a recommendation: tables, since nothing is measured here."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.doctor.recommend import HAND_OVER, Measured, best_workers, limiting_stage, queue_size, recommend

STAGES = {"open": 0.003, "read": 0.001, "transform": 0.0, "copy": 0.001, HAND_OVER: 0.0005}


def measured(**given_: Any) -> Measured:
    """Batches of 5 ms, of which workers give what so many of them can."""
    values: dict[str, Any] = {
        "stages": STAGES,
        "inline": [0.005] * 20,
        "rates": {0: [200.0], 1: [190.0], 2: [380.0], 3: [390.0]},
        "step_seconds": None,
    }
    return Measured(**(values | given_))


WORKERS = {
    "without a step the fastest feed is best": ({}, 3),
    "what measurements do not tell apart is equally good, so the least of it is": (
        {"rates": {0: [200.0], 1: [190.0], 2: [370.0, 380.0, 395.0], 3: [380.0, 390.0, 400.0]}},
        2,
    ),
    "one measurement that was disturbed does not make two alike": (
        {"rates": {1: [190.0, 191.0, 192.0, 193.0, 50.0], 2: [380.0, 381.0, 382.0, 383.0, 100.0]}},
        2,
    ),
    "one that waits half of each step for one worker has two": ({"step_seconds": 0.003}, 2),
    "a step that one worker keeps up with has one": ({"step_seconds": 0.010}, 1),
    "a worker is worth having even if it is no faster: it works during the step": (
        {"rates": {0: [200.0], 1: [190.0], 2: [185.0]}, "step_seconds": 0.006},
        1,
    ),
    "likewise if the step is not known": ({"rates": {0: [200.0], 1: [190.0], 2: [185.0]}}, 1),
    "it is not if handing over costs what making costs": ({"stages": STAGES | {HAND_OVER: 0.006}}, 0),
    "likewise during a long step": ({"stages": STAGES | {HAND_OVER: 0.006}, "step_seconds": 0.1}, 0),
    "only what was tried": ({"rates": {0: [200.0]}}, 0),
    "only what was tried, without none": ({"rates": {4: [200.0], 8: [100.0]}}, 4),
}


@pytest.mark.parametrize(("given_", "workers"), WORKERS.values(), ids=WORKERS.keys())
def test_the_least_number_that_is_as_good_as_the_best(given_: dict[str, Any], workers: int) -> None:
    assert best_workers(measured(**given_)) == workers


@pytest.mark.parametrize(
    ("stages", "has_workers", "expected"),
    [
        (STAGES, False, ("open", pytest.approx(0.6))),
        (STAGES, True, ("open", pytest.approx(0.003 / 0.0055))),
        (STAGES | {HAND_OVER: 0.015}, True, (HAND_OVER, pytest.approx(0.75))),
        (STAGES | {HAND_OVER: 0.015}, False, ("open", pytest.approx(0.6))),
        (STAGES | {"transform": 0.045}, True, ("transform", pytest.approx(0.045 / 0.0505))),
        (dict.fromkeys(STAGES, 0.0), True, ("open", 0.0)),
    ],
)
def test_the_stage_that_takes_most_limits(stages: dict[str, float], has_workers: bool, expected: tuple[str, Any]) -> None:
    assert limiting_stage(stages, has_workers=has_workers) == expected


SLOW = [0.005] * 18 + [0.105] * 2

QUEUES = {
    "without workers nothing waits": ({}, 0, 1),
    "even batches need one under way and one given out": ({}, 2, 4),
    "a slow batch is bridged by what training takes meanwhile": ({"inline": SLOW}, 2, 4 + 38),
    "a slower step takes less meanwhile": ({"inline": SLOW, "step_seconds": 0.05}, 2, 4 + 2),
    "one batch tells of no other": ({"inline": [0.005]}, 1, 2),
}


@pytest.mark.parametrize(("given_", "workers", "size"), QUEUES.values(), ids=QUEUES.keys())
def test_the_queue_bridges_a_slow_batch(given_: dict[str, Any], workers: int, size: int) -> None:
    assert queue_size(measured(**given_), workers) == size


REASONS = {
    "no step": (
        {},
        (
            "open limits: 55% of the time; 3 worker processes give 390 batches/s, none 200; "
            "training spends 0.5 ms a batch on taking it instead of 5 ms on making it"
        ),
        None,
    ),
    "the feed keeps up": (
        {"step_seconds": 0.01},
        (
            "the step limits, not the feed; of a batch's time 55% is open; 1 worker process gives 190 batches/s, none 200; "
            "training spends 0.5 ms a batch on taking it instead of 5 ms on making it; a step of 10 ms asks for 100: the feed keeps up"
        ),
        pytest.approx(0.5 / 10.5),
    ),
    "the feed does not": (
        {"step_seconds": 0.001},
        (
            "open limits: 55% of the time; 3 worker processes give 390 batches/s, none 200; "
            "training spends 0.5 ms a batch on taking it instead of 5 ms on making it; a step of 1 ms asks for 1,000: "
            "training waits 61% of the time"
        ),
        pytest.approx(0.61),
    ),
    "no workers": (
        {"stages": STAGES | {HAND_OVER: 0.006}, "rates": {0: [2.0], 1: [1.5]}},
        (
            "open limits: 60% of the time; without workers it is 2 batches/s, with them up to 1.5; "
            "handing a batch over would take 6 ms, making it takes 5 ms"
        ),
        None,
    ),
}


@pytest.mark.parametrize(("given_", "reason", "waiting"), REASONS.values(), ids=REASONS.keys())
def test_the_reason_has_the_figures(given_: dict[str, Any], reason: str, waiting: Any) -> None:
    recommendation = recommend(measured(**given_))
    assert recommendation.reason == reason
    assert recommendation.waiting_share == waiting


RATES = st.lists(st.floats(1.0, 1e4), min_size=1, max_size=6)


@given(
    rates=st.dictionaries(st.integers(0, 8), RATES, min_size=1),
    stages=st.tuples(*[st.floats(0.0, 1.0)] * 5),
    inline=st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=30),
    step=st.none() | st.floats(1e-4, 10.0),
)
def test_whatever_was_measured_something_that_was_tried_is_recommended(rates: Any, stages: Any, inline: Any, step: Any) -> None:
    given_ = Measured(stages=dict(zip(STAGES, stages, strict=True)), inline=inline, rates=rates, step_seconds=step)
    recommendation = recommend(given_)
    assert recommendation.workers in rates
    assert recommendation.max_queue_size >= max(1, recommendation.workers)
    assert 0.0 <= recommendation.limit_share <= 1.0
    assert recommendation.waiting_share is None or 0.0 <= recommendation.waiting_share <= 1.0
