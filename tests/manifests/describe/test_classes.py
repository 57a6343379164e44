"""The order of classes depends on the labels alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.describe.counts import classes_of


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([], ()),
        ([""], ()),
        (["dog", "cat", "dog"], ("cat", "dog")),
        (["10", "2", "1"], ("1", "2", "10")),
        (["3", "-1", "0", "-10"], ("-10", "-1", "0", "3")),
        (["10", "2", "x"], ("10", "2", "x")),
        (["10", "007", "2"], ("007", "10", "2")),  # a leading zero is a name, not a number
        (["10", "-0", "2"], ("-0", "10", "2")),
        (["10", "2.0"], ("10", "2.0")),
        (["10", "+2"], ("+2", "10")),
        (["10", " 2"], (" 2", "10")),
        (["10", "٢"], ("10", "٢")),  # an Arabic digit
        (["10;2", "1", ""], ("1", "2", "10")),
        (["b;a", "c;a;"], ("a", "b", "c")),
        (["B", "a", "é", "z"], ("B", "a", "z", "é")),  # by code point: no language decides
        (["9" * 5000, "10"], ("10", "9" * 5000)),
    ],
)
def test_class_order(labels: list[str], classes: tuple[str, ...]) -> None:
    assert classes_of(labels) == classes


@given(st.lists(st.text(alphabet="ab019-;")), st.randoms())
def test_order_does_not_depend_on_the_rows_order_or_number(labels: list[str], random: object) -> None:
    shuffled = labels * 2
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert classes_of(shuffled) == classes_of(labels)


@given(st.sets(st.integers()))
def test_integers_are_in_the_order_of_numbers(numbers: set[int]) -> None:
    assert classes_of(map(str, numbers)) == tuple(map(str, sorted(numbers)))
