"""Generators that are named by what they are for: the same for the same name, unrelated for any others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.feed.randomness import keyed_generator

ANY_SEED = st.integers(min_value=-(2**130), max_value=2**130)
NAMES = st.tuples(
    st.sampled_from(["sample", "batch", "draws", "skip"]),
    ANY_SEED,
    st.integers(0, 10**6),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
)

GOLDEN = [
    (("sample", 0, 0, 0), [963330769, 118587148, 156151732]),
    (("sample", 0, 0, 1), [144151710, 914263341, 235805548]),
    (("sample", 0, 1, 0), [836329803, 836076822, 17408409]),
    (("sample", 1, 0, 0), [220853194, 254652318, 274727309]),
    (("sample", -1, 0, 0), [638799440, 283913579, 596138539]),
    (("sample", 42, 7, 1000, 3), [756883827, 239033284, 26698396]),
    (("sample", 2**70, 3, 2**64 - 1, 2**64 - 1), [468843398, 82772395, 82944680]),
    (("batch", 0, 0, 0), [858428169, 464463346, 802446812]),
    (("draws", 0, 0, 0), [350236384, 150936898, 976147914]),
    (("skip", 0, 0, 5, 1), [192967161, 212543239, 985055745]),
]


@pytest.mark.parametrize(("name", "golden"), GOLDEN, ids=[str(name) for name, _ in GOLDEN])
def test_a_generator_never_changes(name: Any, golden: list[int]) -> None:
    """Changing anything here changes what every user's seed means: whoever sees this fail has broken every recorded experiment."""
    assert keyed_generator(*name).integers(10**9, size=3).tolist() == golden


@given(NAMES)
def test_the_same_name_is_the_same_generator_whatever_was_drawn_before(name: Any) -> None:
    first = keyed_generator(*name)
    numbers = first.random(5)
    keyed_generator(*name).random(100)
    np.random.default_rng().random()
    assert np.array_equal(keyed_generator(*name).random(5), numbers)


@given(NAMES, NAMES)
def test_other_names_are_other_generators(one: Any, other: Any) -> None:
    same = keyed_generator(*one).integers(2**63) == keyed_generator(*other).integers(2**63)
    assert same is np.bool_(one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("sample", 1, 23, 0), ("sample", 12, 3, 0)),
        (("sample", 0, 16, 0), ("sample", 0, 10, 0)),
        (("sample", -1, 0, 0), ("sample", 1, 0, 0)),
        (("sample", 0, 0, 0), ("sample", 2**64, 0, 0)),
        (("sample", 0, 0, 0, 1), ("sample", 0, 0, 1, 0)),
        (("sample", 0, 0, 1), ("sample", 0, 1, 0)),
        (("sample", 0, 0, 0), ("batch", 0, 0, 0)),
    ],
)
def test_names_that_look_alike_are_not_the_same(one: Any, other: Any) -> None:
    assert keyed_generator(*one).integers(2**63) != keyed_generator(*other).integers(2**63)


def test_seeds_may_be_numpy_integers() -> None:
    assert keyed_generator("sample", np.int32(7), 0, 0).random() == keyed_generator("sample", 7, 0, 0).random()  # type: ignore[arg-type]


NEIGHBOURS = {
    "samples": lambda i: ("sample", 0, 0, i),
    "draws of a sample": lambda i: ("sample", 0, 0, 5, i),
    "passes": lambda i: ("sample", 0, i, 0),
    "seeds": lambda i: ("sample", i, 0, 0),
    "batches": lambda i: ("batch", 0, 0, i),
    "shifts of passes": lambda i: ("draws", 3, i, 0),
    "places": lambda i: ("skip", 0, 0, i, 1),
}


@pytest.mark.parametrize("names", NEIGHBOURS.values(), ids=NEIGHBOURS)
def test_neighbours_are_unrelated(names: Any) -> None:
    k = 2000
    numbers = np.stack([keyed_generator(*names(i)).random(4) for i in range(k)])  # (generator, draw)
    # The mean of k even numbers in 0..1 has the standard deviation 1 / sqrt(12 k).
    assert (abs(numbers.mean(axis=0) - 0.5) < 5 / np.sqrt(12 * k)).all()
    # No draw of a generator says anything of its own next ones, nor of those of the next generators.
    columns = [numbers[lag : k - 3 + lag] for lag in range(4)]
    correlation = np.corrcoef(np.concatenate(columns, axis=1), rowvar=False)
    assert abs(correlation - np.eye(16)).max() < 5 / np.sqrt(k)
    # Nor does one stream run into another: all numbers are different.
    assert len(np.unique(numbers)) == numbers.size
    # And each tenth holds as many as the others: chi-square with 9 degrees of freedom.
    counts = np.bincount((numbers[:, 0] * 10).astype(int), minlength=10)
    assert ((counts - k / 10) ** 2 / (k / 10)).sum() < 40


def test_a_long_draw_of_one_sample_never_reaches_the_next_ones() -> None:
    long = set(keyed_generator("sample", 0, 0, 0).integers(2**63, size=20_000).tolist())
    for i in range(1, 50):
        assert not long.intersection(keyed_generator("sample", 0, 0, i).integers(2**63, size=20).tolist())
