from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from loader import ManifestSequence, OptionError
from manifests import Manifest

MakeDataset = Callable[..., Manifest]


def walked(sequence: ManifestSequence) -> list[list[int]]:
    return [[int(x[0, 0]) for x in batch[0]] for batch in sequence]


def make(make_dataset: MakeDataset, **options: Any) -> ManifestSequence:
    return ManifestSequence(make_dataset(10), batch_size=3, shuffle=True, seed=5, **options)


@pytest.mark.parametrize("number", range(9))
@pytest.mark.parametrize("workers", [0, 2])
def test_a_walk_that_begins_in_the_middle_is_the_rest_of_one_that_does_not(make_dataset: MakeDataset, number: int, workers: int) -> None:
    whole = make(make_dataset)
    expected = [batch for _ in range(4) for batch in walked(whole)]
    sequence = make(make_dataset, workers=workers)
    sequence.next_batch = number
    assert sequence.next_batch == number
    first = walked(sequence)
    assert first == expected[number : number // 4 * 4 + 4]
    assert sequence.next_batch == number // 4 * 4 + 4
    assert walked(sequence) == expected[number // 4 * 4 + 4 :][:4]


def test_it_says_where_the_next_walk_begins(make_dataset: MakeDataset) -> None:
    sequence = make(make_dataset)
    assert sequence.next_batch == 0
    sequence.pass_number = 3
    assert sequence.next_batch == 12
    walked(sequence)
    assert sequence.next_batch == 16
    sequence[0]
    sequence.on_epoch_end()
    assert sequence.next_batch == 16 + 4 * (sequence.pass_number - 4)


@pytest.mark.parametrize("number", [-1, 1.5, "3", True])
def test_what_is_no_batch(make_dataset: MakeDataset, number: Any) -> None:
    with pytest.raises(OptionError, match="next_batch must be an integer from 0"):
        make(make_dataset).next_batch = number
