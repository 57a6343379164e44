"""IDs of different raw items must be different on every disk."""

from __future__ import annotations

import pytest

from prep.errors import SourceError
from prep.sources.items import check_distinct, items_table


def check(ids: list[str]) -> None:
    check_distinct(items_table(ids, [f"{position}.png" for position in range(len(ids))]))


@pytest.mark.parametrize("ids", [[], ["a"], ["a", "b"], ["a/b", "a-b"], ["x", "x/y"], ["a", "a.npz/b"]])
def test_distinct_ids_pass(ids: list[str]) -> None:
    check(ids)


@pytest.mark.parametrize(
    ("ids", "problems"),
    [
        (["a", "a"], ["'0.png' and '1.png' both map to ID 'a'"]),
        (["a", "A"], ["'0.png' and '1.png' map to IDs that a case-insensitive disk takes for one: 'a', 'A'"]),
        (["é", "e\u0301"], ["'0.png' and '1.png' map to IDs that a case-insensitive disk takes for one: 'é', 'e\u0301'"]),
        (["a", "a", "a"], ["'0.png' and '1.png' both map to ID 'a'", "'0.png' and '2.png' both map to ID 'a'"]),
        (["a.npy/b", "a"], ["ID 'a.npy/b' needs a folder where ID 'a' has its shard"]),
        (["A.npy/b", "a"], ["ID 'A.npy/b' needs a folder where ID 'a' has its shard"]),
    ],
)
def test_every_pair_is_listed(ids: list[str], problems: list[str]) -> None:
    with pytest.raises(SourceError) as caught:
        check(ids)
    assert list(caught.value.problems) == problems
