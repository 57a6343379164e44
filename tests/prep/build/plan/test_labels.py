"""Classes keep their index as data grows, and numbers are no classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.format.metadata import LabelKind, LabelSpec
from manifests.rows.table import rows_of
from prep.build.plan.labels import check_labels, label_specs
from prep.errors import SourceError
from prep.sources.items import items_table
from prep.sources.listing import Listing

names = st.lists(st.text(alphabet="abc019", min_size=1, max_size=2), min_size=1, max_size=8)


def listing_of(columns: dict[str, list[str]], **changes: Any) -> Listing:
    first, *others = columns.values()
    ids = [f"i{row}" for row in range(len(first))]
    items = items_table(ids, ids, first, columns=dict(zip(list(columns)[1:], others, strict=True)))
    return Listing(
        format="arrays",
        root=Path("raw"),
        items=items,
        label_columns=tuple(columns),
        label_origin="table",
        failures=[],
        notes=[],
        **changes,
    )


def specs(columns: dict[str, list[str]], known: dict[str, LabelSpec] | None = None, **changes: Any) -> dict[str, LabelSpec]:
    ids = [f"i{row}" for row in range(len(next(iter(columns.values()))))]
    return label_specs(rows_of({"id": ids, **columns}), listing_of(columns, **changes), known or {})


def classes(labels: list[str], *known: str) -> tuple[str, ...] | None:
    spec = specs({"label": labels}, {"label": LabelSpec(classes=known)} if known else {})["label"]
    return None if spec.is_number else spec.classes


@pytest.mark.parametrize(
    ("labels", "known", "expected"),
    [
        (["dog", "cat", "dog"], (), ("cat", "dog")),
        (["10", "2", "1"], (), ("1", "2", "10")),
        (["a;b", "c", "a"], (), ("a", "b", "c")),
        (["a", ""], (), ("a",)),
        (["", ""], (), ()),
        (["cat", "ant"], ("dog", "cat"), ("dog", "cat", "ant")),
        (["cat"], ("dog", "cat"), ("dog", "cat")),
        (["2", "10", "1"], ("2", "10"), ("2", "10", "1")),
        (["0.5", "1"], (), None),
        (["0.5", "1"], ("1",), None),
    ],
)
def test_the_order_of_classes(labels: list[str], known: tuple[str, ...], expected: tuple[str, ...] | None) -> None:
    assert classes(labels, *known) == expected


@given(names, names)
def test_a_class_keeps_its_index_as_data_grows(first: list[str], more: list[str]) -> None:
    before = classes(first) or ()
    after = classes([*first, *more], *before) or ()
    assert after[: len(before)] == before
    assert len(set(after)) == len(after)
    assert set(after) == {*first, *more}


def test_each_column_has_its_own_order() -> None:
    columns = {"label": ["b", "a"], "age": ["0.5", "2"], "site": ["2", "1"]}
    assert specs(columns, {"label": LabelSpec(classes=("b",))}) == {
        "label": LabelSpec(classes=("b", "a")),
        "age": LabelSpec(kind="number"),
        "site": LabelSpec(classes=("1", "2")),
    }


@pytest.mark.parametrize(
    ("labels", "known", "asked", "expected"),
    [
        (["1", "3"], None, "number", LabelSpec(kind="number")),
        (["1.5", "3"], None, "class", LabelSpec(kind="class", classes=("1.5", "3"))),
        (["1", "3"], LabelSpec(kind="number"), None, LabelSpec(kind="number")),
        (["1.5", "0.5"], LabelSpec(kind="class", classes=("1.5",)), None, LabelSpec(kind="class", classes=("1.5", "0.5"))),
        (["1", "3"], LabelSpec(kind="number"), "class", LabelSpec(kind="class", classes=("1", "3"))),
        (["1", "3"], LabelSpec(classes=("1", "3")), "number", LabelSpec(kind="number")),
        (["1", "3"], LabelSpec(classes=("3",)), None, LabelSpec(classes=("3", "1"))),
    ],
)
def test_what_is_said_of_a_column_counts_and_is_remembered(
    labels: list[str], known: LabelSpec | None, asked: LabelKind | None, expected: LabelSpec
) -> None:
    old, kinds = {} if known is None else {"label": known}, {} if asked is None else {"label": asked}
    assert specs({"label": labels}, old, label_kinds=kinds) == {"label": expected}


def test_the_name_in_the_table_is_kept_where_there_are_several_columns() -> None:
    names = {"label": "rust"}
    assert specs({"label": ["0"]}, label_names=names)["label"].column is None
    assert [spec.column for spec in specs({"label": ["0"], "scab": ["1"]}, label_names=names).values()] == ["rust", None]


@pytest.mark.parametrize(
    ("labels", "asked", "note"),
    [
        (["1.5", "2"], None, "labels: column 'age' holds numbers, to be fed as they are; --label-kind class would make classes of them"),
        (["7", "9"], "number", "labels: column 'age' holds numbers, to be fed as they are; --label-kind class would make classes of them"),
        (
            ["7", "9", "7"],
            None,
            "labels: the integers of column 'age' name 2 classes, so that 7 is class 0; --label-kind number would feed them as they are",
        ),
        (
            ["1.5", "2", "n/a", ""],
            None,
            (
                "labels: column 'age' holds numbers, but 'n/a' is none, so all of them name classes; "
                "correct it, or --label-kind class says that this is meant"
            ),
        ),
        (["1.5", "n/a"], None, None),
        (["1", "2", "n/a"], None, None),
        (["0", "1", ""], None, None),
        (["7", "9"], "class", None),
        (["cat"], None, None),
    ],
)
def test_a_note_says_what_numbers_are_taken_for(labels: list[str], asked: LabelKind | None, note: str | None) -> None:
    kinds = {} if asked is None else {"label": asked}
    assert check_labels(listing_of({"label": labels}, label_kinds=kinds, label_names={"label": "age"}), {}) == ([note] if note else [])


def test_labels_that_are_no_numbers_are_refused_in_a_column_of_numbers() -> None:
    for known, kinds in (({"label": LabelSpec(kind="number")}, {}), ({}, {"label": "number"})):
        with pytest.raises(SourceError, match="1 label of column 'label' should be a number; correct them, or pass") as caught:
            check_labels(listing_of({"label": ["1.5", "n/a", ""]}, label_kinds=kinds), known)
        assert "ID 'i1' has 'n/a'" in str(caught.value)


def test_classes_do_not_become_numbers_unsaid() -> None:
    listing = listing_of({"label": ["1", "2.5"]})
    with pytest.raises(SourceError, match=r"column 'label' held 2 classes so far, and holds numbers such as '2.5' now; .*--label-kind"):
        check_labels(listing, {"label": LabelSpec(classes=("1", "2"))})
    assert check_labels(listing, {"label": LabelSpec(classes=("1", "2"), kind="class")}) == []
