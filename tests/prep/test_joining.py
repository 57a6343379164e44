"""Strings are found among others as a dictionary would find them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.strings import PackedStrings, are_all
from prep import joining
from prep.joining import Finder, are_equal, positions_among

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=3), unique=True, max_size=20)


@given(TEXTS, TEXTS, st.integers(1, 5), st.booleans())
def test_a_string_is_found_where_it_stands(sought: list[str], among: list[str], block: int, collide: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joining, "_BLOCK", block)
        if collide:  # as if all hashes were one
            patch.setattr(joining, "hash", lambda _: 7, raising=False)
        expected = [among.index(text) if text in among else -1 for text in sought]
        assert positions_among(PackedStrings(sought), PackedStrings(among)).tolist() == expected
        finder = Finder(PackedStrings(among))
        assert [finder.positions([text.encode()]).tolist() for text in sought] == [[position] for position in expected]
        assert are_equal(PackedStrings(sought), PackedStrings(among)) == (sought == among)


@pytest.mark.parametrize(
    ("positions", "count", "expected"), [([], 0, True), ([0, 1, 2], 3, True), ([0, 1], 3, False), ([0, 2, 1], 3, False), ([0, 0], 2, False)]
)
def test_positions_are_all_only_in_their_order(positions: list[int], count: int, expected: bool) -> None:
    assert are_all(np.array(positions, dtype=np.int64), count) == expected
