"""Trees keep their form whatever is done to their arrays."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.feed.tree import filled, form, leaves, mapped

TREES = st.recursive(
    st.none() | st.integers(),
    lambda trees: st.lists(trees) | st.lists(trees).map(tuple) | st.dictionaries(st.text(max_size=2), trees),
    max_leaves=12,
)


class Point(NamedTuple):
    x: int
    y: int


TABLE = [
    (7, [7], 0),
    (None, [], None),
    ((), [], ()),
    ({}, [], {}),
    ((7, 8), [7, 8], (0, 1)),
    ([7, None, 8], [7, 8], [0, None, 1]),
    ({"b": 7, "a": 8}, [7, 8], {"b": 0, "a": 1}),
    (({"a": [7, (8,)]}, 9), [7, 8, 9], ({"a": [0, (1,)]}, 2)),
    (Point(7, 8), [7, 8], (0, 1)),
    (OrderedDict(a=7), [7], {"a": 0}),
    ("text", ["text"], 0),
]


@pytest.mark.parametrize(("tree", "arrays", "numbers"), TABLE, ids=repr)
def test_a_trees_arrays_and_form(tree: Any, arrays: list[Any], numbers: Any) -> None:
    assert leaves(tree) == arrays
    assert form(tree) == numbers
    assert type(mapped(lambda leaf: leaf, tree)) is type(numbers) or not isinstance(tree, tuple | list | dict)


@given(TREES)
def test_a_form_filled_with_its_arrays_is_the_tree(tree: Any) -> None:
    assert filled(form(tree), leaves(tree)) == tree


@given(TREES)
def test_mapping_goes_once_through_the_leaves_in_their_order(tree: Any) -> None:
    seen: list[int] = []
    doubled = mapped(lambda leaf: seen.append(leaf) or 2 * leaf, tree)
    assert seen == leaves(tree)
    assert leaves(doubled) == [2 * leaf for leaf in leaves(tree)]
    assert form(doubled) == form(tree)


def test_the_order_of_a_dicts_keys_is_a_part_of_its_form() -> None:
    assert form({"a": 0, "b": 0}) != form({"b": 0, "a": 0})
