"""Strings are found among others as a dictionary would find them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests import joining
from manifests.joining import Finder, MatchFinder, are_equal, positions_among, same_each
from manifests.strings import PackedStrings, are_all

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


TEXT = st.text("aé\0", max_size=3)


@given(st.lists(st.tuples(TEXT, TEXT | st.none()), max_size=20), st.integers(1, 5), st.data())
def test_strings_are_compared_one_by_one(pairs: list[tuple[str, str | None]], block: int, data: st.DataObject) -> None:
    """However both are packed: of one length, of several, out of their order, or with a common beginning."""
    one, other = [text for text, _ in pairs], [text if other is None else other for text, other in pairs]

    def packed(strings: list[str]) -> PackedStrings:
        order = data.draw(st.permutations(range(len(strings))))
        shuffled = PackedStrings(strings[position] for position in order).select(np.argsort(np.array(order, dtype=np.int64)))
        ways = [PackedStrings(strings), shuffled]
        if all(string.startswith("a") for string in strings):
            ways.append(PackedStrings(string[1:] for string in strings).affixed("a", ""))
        return data.draw(st.sampled_from(ways))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joining, "_BLOCK", block)
        assert same_each(packed(one), packed(other)).tolist() == [text == another for text, another in zip(one, other, strict=True)]
        assert are_equal(packed(one), packed(other)) == (one == other)


@given(st.lists(TEXT, max_size=20), st.lists(TEXT, max_size=20), st.booleans())
def test_strings_are_found_among_others_that_stand_there_several_times(sought: list[str], among: list[str], collide: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if collide:  # as if all hashes were one
            patch.setattr(joining, "hash", lambda _: 7, raising=False)
        finder = MatchFinder(PackedStrings(among))
        first, again = finder.find([text.encode() for text in sought])
        places = [[place for place, text in enumerate(among) if text == one] for one in sought]
        assert first.tolist() == [one[0] if one else -1 for one in places]
        assert again.tolist() == [len(one) > 1 for one in places]
        assert [finder.places(text.encode()) for text in sought] == places
