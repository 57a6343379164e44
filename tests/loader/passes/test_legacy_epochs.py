from __future__ import annotations

from collections.abc import Iterator

import pytest

from loader.passes.legacy_epochs import EpochCounter

# Of passes of four batches: w asks in the present walk, W in a new one; `3.` ends an epoch of 3 steps, `3!` the last one of a fit.
EPOCHS = {
    "each epoch is a pass": ("Wwww4. Wwww4!", [0, 1, 2, 3, 4, 5, 6, 7]),
    "what a buffer asked for besides is asked for again": ("Wwww2. Www3!", [0, 1, 2, 3, 2, 3, 4]),
    "a walk goes over the pass's end": ("Www3. Www3. Www3!", [0, 1, 2, 3, 4, 5, 6, 7, 8]),
    "another fit begins with a pass": ("Www3! Wwww4!", [0, 1, 2, 4, 5, 6, 7]),
    "likewise behind one that ended in another pass": ("Www3. Www3! W", [0, 1, 2, 3, 4, 5, 8]),
    "one that was broken off is not continued": ("Ww W", [0, 1, 4]),
    "likewise over the pass's end": ("Www3. Ww W", [0, 1, 2, 3, 4, 8]),
    "an end without a walk is none": ("4. Wwww4!", [0, 1, 2, 3]),
}


@pytest.mark.parametrize(("calls", "numbers"), EPOCHS.values(), ids=EPOCHS.keys())
def test_epochs_go_on_where_the_last_one_ended(calls: str, numbers: list[int]) -> None:
    counter, got = EpochCounter(4), []
    keys: Iterator[tuple[int, int]] = iter(())
    for position, call in enumerate(calls):
        if call in "wW":
            keys = counter.start().batches() if call == "W" else keys
            pass_, batch = next(keys)
            got.append(pass_ * 4 + batch)
        elif call in ".!":
            counter.finish(int(calls[position - 1]), goes_on=call == ".")
    assert got == numbers


def test_without_end_the_next_epoch_goes_on_and_the_next_fit_begins_with_a_pass() -> None:
    counter = EpochCounter(4, repeat=True)
    keys = counter.start().batches()
    for _ in range(6):
        next(keys)
    assert counter.finish(5, goes_on=True)
    assert next(counter.start().batches()) == (1, 1)
    assert counter.finish(1, goes_on=False)
    assert next(counter.start().batches()) == (2, 0)


def test_an_epoch_in_which_batches_were_named_is_no_walk() -> None:
    counter = EpochCounter(4)
    next(counter.start().batches())
    assert counter.finish(1, goes_on=False)
    assert not counter.finish(4, goes_on=True)
