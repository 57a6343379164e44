"""Near hashes are those that comparing each with each finds."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prep.datasets.leaks.leaks import clusters, near_pairs

centres = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4)
flips = st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, 63), max_size=6)), max_size=25)


@given(centres, flips, st.integers(0, 10))
def test_every_near_pair_is_found_and_no_other(around: list[int], changes: list[tuple[int, list[int]]], distance: int) -> None:
    made = set(around)
    for which, bits in changes:
        value = around[which % len(around)]
        for bit in bits:
            value ^= 1 << bit
        made.add(value)
    hashes = np.array(sorted(made), dtype=np.uint64)
    found = {tuple(sorted(pair)) for one, other in near_pairs(hashes, distance) for pair in zip(one.tolist(), other.tolist(), strict=True)}
    values = hashes.tolist()
    assert found == {(i, j) for i, j in combinations(range(len(values)), 2) if (values[i] ^ values[j]).bit_count() <= distance}


@pytest.mark.parametrize(
    ("count", "pairs", "expected"),
    [
        (0, [], []),
        (3, [], []),
        (4, [([0], [2])], [[0, 2]]),
        (6, [([4], [1]), ([1, 5], [0, 3])], [[0, 1, 4], [3, 5]]),
        (5, [([3, 2, 1, 0], [4, 3, 2, 1])], [[0, 1, 2, 3, 4]]),
    ],
)
def test_clusters_are_what_pairs_connect(count: int, pairs: list[tuple[list[int], list[int]]], expected: list[list[int]]) -> None:
    assert clusters(count, iter([(np.array(one), np.array(other)) for one, other in pairs])) == expected
