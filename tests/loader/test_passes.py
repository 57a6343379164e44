from __future__ import annotations

import pytest

from loader.passes import PassCounter

# B begins an epoch, E ends one, x asks for a batch; a digit is the pass that `current` is expected to say.
WALKS = {
    "a new counter is in pass 0": "0 0 0",
    "by hand, as the tutorial's readers do": "0 0 E 1 1 E 2 E 3",
    "by hand, several ends in a row are one": "0 E E E 1",
    "by hand, an end before the first batch counts": "E 1",
    "fit: two batches to infer shapes, a reset, then epochs": "0 0 E B 0 0 0 E B 1 1 E B 2 E",
    "after fit the number is still that of the last epoch": "0 E B 0 E B 1 E 1 1 1",
    "fit twice goes on where it was": "0 E B 0 E B 1 E   1 E B 2 E",
    "fit on a backend that infers nothing": "E B 0 0 E B 1 E   E B 2 E",
    "predict: no end before the begin": "0 B 0 0 E 0",
    "predict twice": "B 0 E B 1 E 1",
    "validation: an end too many each time": "E B 0 E   E B 1 E   E B 2 E",
    "an epoch that an exception cut short is over": "E B 0 0   0 E B 1 E",
    "the same where no end follows": "B 0 0   B 1 E",
    "cut short, and looked at by hand": "E B 0 0 0",
    "by hand, then fit": "0 0 E   1 E B 1 E B 2",
}


# Of a pass of four batches.
LOOKS = {
    "an epoch of one batch of several was a look at the data": "B x E B 0 x x x x E B 1",
    "an epoch of two too": "B x x E B 0 x x x x E B 1",
    "an epoch of no batch too": "B E B 0",
    "fit of a model that is not built, on JAX and torch": "B x E   B 0 x x x x E B 1 x x x x E 1",
    "the same again with another model": "B x E B x x x x E   B x E B 1 x x x x E 1",
    "an epoch cut short after its first batch is done again": "B x E B 0",
    "the same where no end follows": "B x B 0",
    "an epoch cut short later is not": "B x x x E B 1",
    "batches outside an epoch are none of it": "x x E B x E B 0 x x x x E B 1",
}


def check_walk(passes: PassCounter, walk: str) -> None:
    asked = 0
    for step in walk.split():
        if step == "B":
            passes.begin()
        elif step == "E":
            passes.end()
        elif step == "x":
            assert passes.serve(asked % 4)[0] == passes.current()
            asked += 1
        else:
            assert passes.current() == int(step)


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS.keys())
def test_the_pass_moves_on_when_the_next_batch_belongs_to_it(walk: str) -> None:
    check_walk(PassCounter(1), walk)


@pytest.mark.parametrize("walk", LOOKS.values(), ids=LOOKS.keys())
def test_a_look_at_the_data_is_no_pass(walk: str) -> None:
    check_walk(PassCounter(4), walk)


def test_by_hand_the_first_batch_after_an_end_is_of_the_next_pass() -> None:
    passes = PassCounter(3)
    assert [passes.serve(2), passes.serve(0)] == [(0, 2, False), (0, 0, False)]
    passes.end()
    assert passes.serve(1) == (1, 1, False)


def test_within_an_epoch_batches_come_in_the_passes_own_order_whatever_is_asked_for() -> None:
    passes = PassCounter(4)
    for pass_, asked in enumerate([(2, 0, 3, 1), (3, 2, 1, 0), (0, 1, 2, 3)]):
        passes.begin()
        assert [passes.serve(index) for index in asked] == [(pass_, batch, True) for batch in range(4)]
        passes.end()


def test_a_batch_that_is_asked_for_twice_in_an_epoch_is_just_that_one_and_shifts_nothing() -> None:
    passes = PassCounter(3)
    passes.begin()
    assert passes.serve(2) == (0, 0, True)
    assert passes.serve(2) == (0, 2, False)
    assert [passes.serve(1), passes.serve(0)] == [(0, 1, True), (0, 2, True)]


def test_looks_of_several_batches_are_counted_by_what_was_served() -> None:
    passes = PassCounter(3)
    passes.begin()
    passes.serve(0)
    passes.end()
    passes.begin()
    assert passes.serve(0) == (0, 0, True)
