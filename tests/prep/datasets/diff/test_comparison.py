"""How two manifests differ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests import LabelSpec, Manifest, Metadata
from prep.datasets.diff.comparison import Change, Difference, compare
from prep.datasets.diff.diff import difference_text

Rows = Mapping[str, Mapping[str, str]]


def manifest(rows: Rows, **metadata: Any) -> Manifest:
    """Return a manifest of ID -> column -> value; a column that any row has, all have."""
    frame = pd.DataFrame([{"id": id_, **values} for id_, values in rows.items()], columns=None if rows else ["id"], dtype=object)
    return Manifest(frame.fillna(""), Path("nowhere"), Metadata(**metadata))


def told(difference: Difference) -> dict[str, Any]:
    """Return what a difference tells, short; what is empty is left out."""
    found: dict[str, Any] = {
        "added": list(difference.added),
        "removed": list(difference.removed),
        "uncompared": list(difference.uncompared),
        **{
            kind: [(change.id, change.column, change.old, change.new) for change in getattr(difference, kind)]
            for kind in ("relabelled", "moved", "regrouped", "changed")
        },
    }
    return {kind: value for kind, value in found.items() if value}


S1, S2 = "1" * 64, "2" * 64


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ({}, {}, {}),
        ({}, {"b": {}, "a": {}}, {"added": ["a", "b"]}),
        ({"b": {}, "a": {}}, {}, {"removed": ["a", "b"]}),
        ({"x": {"label": "cat"}}, {"x": {"label": "dog"}}, {"relabelled": [("x", "label", "cat", "dog")], "uncompared": ["x"]}),
        ({"x": {"age": "4"}}, {"x": {"age": "5"}}, {"relabelled": [("x", "age", "4", "5")], "uncompared": ["x"]}),
        ({"x": {"sha256": S1}}, {"x": {"sha256": S1, "age": "5"}}, {"relabelled": [("x", "age", "", "5")]}),
        ({"x": {"sha256": S1, "split": "train"}}, {"x": {"sha256": S1, "split": "val"}}, {"moved": [("x", "split", "train", "val")]}),
        ({"x": {"sha256": S1, "group": "p"}}, {"x": {"sha256": S1, "group": "q"}}, {"regrouped": [("x", "group", "p", "q")]}),
        ({"x": {"sha256": S1, "source": "a", "path": "a"}}, {"x": {"sha256": S1, "source": "b", "path": "b"}}, {}),
        ({"x": {"sha256": S1}}, {"x": {"sha256": S2}}, {"changed": [("x", "sha256", S1, S2)]}),
        ({"x": {"sha256": S1, "fingerprint": "f"}}, {"x": {"sha256": S1, "fingerprint": "g"}}, {}),
        ({"x": {"sha256": S1, "fingerprint": "f"}}, {"x": {"sha256": S2, "fingerprint": "f"}}, {"changed": [("x", "sha256", S1, S2)]}),
        ({"x": {"fingerprint": "f"}}, {"x": {"fingerprint": "f"}}, {}),
        ({"x": {"fingerprint": "f"}}, {"x": {"fingerprint": "g"}}, {"changed": [("x", "fingerprint", "f", "g")]}),
        ({"x": {"sha256": S1, "shape": "3"}}, {"x": {"shape": "4"}}, {"changed": [("x", "shape", "3", "4")]}),
        ({"x": {"dtype": "uint8"}}, {"x": {"dtype": "int8"}}, {"changed": [("x", "dtype", "uint8", "int8")]}),
        ({"x": {"shape": "3", "dtype": "int8"}}, {"x": {"shape": "4", "dtype": "uint8"}}, {"changed": [("x", "shape", "3", "4")]}),
        ({"x": {"shape": "3", "dtype": "int8"}}, {"x": {"shape": "3", "dtype": "int8"}}, {"uncompared": ["x"]}),
        ({"x": {"sha256": S1, "row": "1"}}, {"x": {"sha256": S1, "row": "1"}}, {}),
        ({"x": {"sha256": S1, "row": "1"}}, {"x": {"sha256": S1, "row": "2"}}, {"uncompared": ["x"]}),
        ({"x": {"sha256": S1, "row": "1"}}, {"x": {"sha256": S2, "row": "1"}}, {"uncompared": ["x"]}),
        ({"x": {"sha256": S1, "row": "1"}}, {"x": {"sha256": S2}}, {"uncompared": ["x"]}),
    ],
)
def test_what_is_told_of_two_manifests(a: Rows, b: Rows, expected: dict[str, Any]) -> None:
    assert told(compare(manifest(a), manifest(b))) == expected


def test_arrays_are_read_only_where_no_sha256_decides() -> None:
    rows = {
        "equal": {"sha256": S1},
        "other": {"sha256": S1},
        "print": {"fingerprint": "f"},
        "bare": {},
        "packed": {"sha256": S1, "row": "0"},
    }
    later = {**rows, "other": {"sha256": S2}, "print": {"fingerprint": "g"}, "packed": {"sha256": S2, "row": "0"}}
    read: list[str] = []

    def same(id_: str) -> bool:
        read.append(id_)
        return id_ != "bare"

    difference = compare(manifest(rows), manifest(later), same)
    assert read == ["bare", "packed", "print"]
    assert [(change.id, change.column) for change in difference.changed] == [("bare", "bytes"), ("other", "sha256")]
    assert difference.uncompared == []


def test_classes_in_another_order_are_a_difference() -> None:
    rows = {"x": {"label": "a", "sha256": S1}, "y": {"label": "b", "sha256": S1}}
    difference = compare(manifest(rows), manifest(rows, labels={"label": LabelSpec(classes=("b", "a"))}))
    assert difference.classes == {"label": (("a", "b"), ("b", "a"))}
    assert difference


def test_another_recipe_is_a_difference_where_both_are_known() -> None:
    rows = {"x": {"sha256": S1}}
    old, new = ({"recipe": {"dtype": dtype, "size": None}} for dtype in ("uint8", "int8"))
    assert compare(manifest(rows, recipe=old), manifest(rows, recipe=new)).recipe == ["dtype: uint8 -> int8"]
    assert not compare(manifest(rows, recipe=old), manifest(rows))


def test_what_could_not_be_compared_is_no_difference_and_is_said() -> None:
    difference = compare(manifest({"x": {}}), manifest({"x": {}}))
    assert not difference
    assert difference_text(difference) == (
        "not compared: 1 ID is in both without a sha256 or fingerprint to compare; --deep reads their arrays"
    )


values = st.fixed_dictionaries(
    {
        "label": st.sampled_from(["", "cat", "dog"]),
        "split": st.sampled_from(["", "train", "val"]),
        "group": st.sampled_from(["", "p", "q"]),
        "sha256": st.sampled_from([S1, S2]),
        "age": st.sampled_from(["", "1", "2"]),
    }
)
datasets = st.dictionaries(st.sampled_from([*"abcdefg", "ä", "007"]), values)


@given(datasets)
def test_a_dataset_does_not_differ_from_itself(rows: Rows) -> None:
    difference = compare(manifest(rows), manifest(rows))
    assert not difference
    assert difference.uncompared == []
    assert difference_text(difference) == "no differences"


@given(datasets, datasets)
def test_a_difference_applied_to_the_first_dataset_gives_the_second(a: Rows, b: Rows) -> None:
    difference = compare(manifest(a), manifest(b))
    rows = {id_: dict(values) for id_, values in a.items() if id_ not in difference.removed}
    for kind in (difference.relabelled, difference.moved, difference.regrouped, difference.changed):
        for change in kind:
            assert rows[change.id][change.column] == change.old
            rows[change.id][change.column] = change.new
    assert not set(difference.added) & set(a)
    assert rows | {id_: dict(b[id_]) for id_ in difference.added} == b


@given(datasets, datasets)
def test_the_way_back_is_the_mirror_of_the_way_there(a: Rows, b: Rows) -> None:
    there, back = compare(manifest(a), manifest(b)), compare(manifest(b), manifest(a))
    assert (there.added, there.removed) == (back.removed, back.added)
    for kind in ("relabelled", "moved", "regrouped", "changed"):
        mirrored = [Change(id=c.id, column=c.column, old=c.new, new=c.old) for c in getattr(back, kind)]
        assert sorted(getattr(there, kind), key=repr) == sorted(mirrored, key=repr)


@pytest.mark.parametrize(("count", "limit", "lines"), [(9, 10, 10), (10, 10, 11), (11, 10, 12), (5000, 10, 12), (5000, None, 5001)])
def test_a_large_difference_is_told_in_few_lines_unless_all_are_wanted(count: int, limit: int | None, lines: int) -> None:
    text = difference_text(compare(manifest({}), manifest({f"{n:04}": {} for n in range(count)})), limit=limit).splitlines()
    assert text[0] == f"added: {count:,} IDs"
    assert len(text) == lines
    assert (text[-1] == f"  ... and {count - 10:,} more; --all shows them") == (lines == 12)


def test_every_kind_of_difference_has_its_line() -> None:
    a = {"x": {"label": "cat", "split": "train", "group": "p", "sha256": S1}, "gone": {"label": "cat"}}
    b = {"x": {"label": "dog", "split": "val", "group": "q", "sha256": S2}, "new": {"label": "dog"}}
    assert difference_text(compare(manifest(a), manifest(b))).splitlines() == [
        "added: 1 ID",
        "  + 'new'",
        "removed: 1 ID",
        "  - 'gone'",
        "relabelled: 1 value",
        "  ~ 'x': label 'cat' -> 'dog'",
        "moved to another split: 1 ID",
        "  ~ 'x': split 'train' -> 'val'",
        "moved to another group: 1 ID",
        "  ~ 'x': group 'p' -> 'q'",
        "changed content: 1 ID",
        "  ~ 'x': sha256 111111111111... -> 222222222222...",
        "classes of 'label': 'cat' -> 'dog'",
    ]
