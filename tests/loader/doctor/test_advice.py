from __future__ import annotations

import pytest

from loader.doctor.advice import advice
from loader.doctor.stats import Stats


def stats(waiting: float, training: float, *stages: float) -> Stats:
    read, transform, hand_over = stages or (1.0, 0.0, 0.0)
    return Stats(
        batches=10,
        samples=1000,
        waiting_seconds=waiting,
        training_seconds=training,
        read_seconds=read,
        transform_seconds=transform,
        hand_over_seconds=hand_over,
        ready=0.0,
        max_queue_size=10,
        skipped=0,
        restarts=0,
    )


@pytest.mark.parametrize(
    ("waiting", "training", "asks_ahead", "speaks"),
    [
        (0.9, 9.1, False, False),
        (1.1, 8.9, False, True),
        (1.1, 8.9, True, False),
        (7.9, 2.1, True, False),
        (8.1, 1.9, True, True),
        (0.5, 0.0, True, False),
        (0.0, 0.0, False, False),
    ],
)
def test_when_it_speaks(waiting: float, training: float, asks_ahead: bool, speaks: bool) -> None:
    assert (advice(stats(waiting, training), asks_ahead=asks_ahead) is not None) == speaks


@pytest.mark.parametrize(
    ("stages", "expected"),
    [((3, 2, 1), "most of its work was reading"), ((2, 3, 1), "was transforming"), ((1, 2, 3), "was handing over")],
)
def test_it_names_what_took_longest_in_one_line(stages: tuple[float, ...], expected: str) -> None:
    text = advice(stats(6, 4, *stages), asks_ahead=False)
    assert text is not None
    assert expected in text
    assert "60% of the time" in text
    assert "(100 samples/s)" in text
    assert "\n" not in text
