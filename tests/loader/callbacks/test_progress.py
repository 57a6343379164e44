from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.callbacks.progress import Progress, Walk, epoch_start
from loader.passes.counter import FIT_STRIDE

# (batches of a pass, steps_per_epoch, steps_per_execution, repeat): the batches at which the epochs begin.
EPOCHS = {
    "an epoch is a pass": ((5, None, 1, False), [0, 5, 10, 15]),
    "a pass's rest is an epoch of its own": ((25, 10, 1, False), [0, 10, 20, 25, 35, 45, 50]),
    "whole executions, even where fewer steps are asked for": ((25, 10, 4, False), [0, 12, 24, 25, 37, 49, 50]),
    "a pass's last execution is shorter": ((25, None, 4, False), [0, 25, 50]),
    "more steps than a pass has": ((5, 8, 1, False), [0, 5, 10]),
    "without end": ((5, 8, 1, True), [0, 8, 16, 24]),
    "without end, in executions": ((5, 8, 3, True), [0, 9, 18]),
}


def train(walk: Walk, epochs: int) -> list[Progress]:
    """Return the progress before each execution, and at the end."""
    progress = Progress(number=0)
    all_ = []
    for epoch in range(epochs):
        progress = progress.next_epoch(epoch)
        while not progress.ends_epoch(walk):
            all_.append(progress)
            progress = progress.after_execution(walk)
    return [*all_, progress.next_epoch(epochs)]


def make_walk(num_batches: int, steps: int | None, per_execution: int, repeat: bool) -> Walk:
    return Walk(num_batches=num_batches, repeat=repeat, steps_per_epoch=steps, steps_per_execution=per_execution)


@pytest.mark.parametrize(("walk", "starts"), EPOCHS.values(), ids=EPOCHS.keys())
def test_where_epochs_begin(walk: tuple[int, int | None, int, bool], starts: list[int]) -> None:
    made = make_walk(*walk)
    assert [progress.number for progress in train(made, len(starts) - 1) if not progress.step] == starts
    assert [epoch_start(0, epoch, made).number for epoch in range(len(starts))] == starts


@given(st.integers(1, 30), st.none() | st.integers(1, 40), st.integers(1, 6), st.booleans(), st.integers(0, 6), st.integers(0, 3))
def test_an_epochs_start_is_where_training_through_the_epochs_before_it_leads(
    num_batches: int, steps: int | None, per_execution: int, repeat: bool, epoch: int, first_pass: int
) -> None:
    walk, first = make_walk(num_batches, steps, per_execution, repeat), first_pass * num_batches
    trained = train(walk, epoch)[-1]
    assert epoch_start(first, epoch, walk) == Progress(number=first + trained.number, epoch=epoch)


@pytest.mark.parametrize(
    ("number", "repeat", "expected"), [(0, False, 0), (5, False, 5), (6, False, 10), (6, True, 5 * FIT_STRIDE), (0, True, 5 * FIT_STRIDE)]
)
def test_another_fit_begins_a_new_pass(number: int, repeat: bool, expected: int) -> None:
    assert Progress(number=number).next_fit(make_walk(5, 3, 1, repeat)) == expected
