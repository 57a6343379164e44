"""Classes keep their index as data grows, and measured numbers are no classes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.columns import packed_column
from manifests.metadata import LabelSpec
from prep.labels import are_measurements, label_specs

names = st.lists(st.text(alphabet="abc019", min_size=1, max_size=2), min_size=1, max_size=8)


def classes(labels: list[str], *known: str) -> tuple[str, ...] | None:
    old = {"label": LabelSpec(classes=known)} if known else {}
    specs = label_specs({"label": packed_column(labels)}, old)
    return specs["label"].classes if specs else None


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
    assert label_specs({name: packed_column(values) for name, values in columns.items()}, {"label": LabelSpec(classes=("b",))}) == {
        "label": LabelSpec(classes=("b", "a")),
        "site": LabelSpec(classes=("1", "2")),
    }


@pytest.mark.parametrize(
    ("labels", "measured"),
    [
        (["0.37", "1"], True),
        (["1e-5"], True),
        (["-0.5", "", "3"], True),
        (["1.0", "2.0"], True),
        (["nan", "0.5"], True),
        (["1", "2"], False),
        (["-1", "+1"], False),
        (["0.5", "cat"], False),
        (["cat"], False),
        (["1_0", "0_1"], False),
        (["0.5;0.7"], False),
        (["", ""], False),
        ([], False),
    ],
)
def test_measurements_are_numbers_that_are_not_all_integers(labels: list[str], measured: bool) -> None:  # a table's column
    assert are_measurements(labels) is measured
