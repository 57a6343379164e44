"""How many samples each class and split has."""

from __future__ import annotations

import pandas as pd
import pytest

from manifests.describe.counts import class_split_table, label_counts, split_order
from manifests.rows.table import rows_of, rows_of_frame


@pytest.mark.parametrize(
    ("names", "preferred", "order"),
    [
        ([], (), ()),
        ([""], (), ()),
        (["test", "val", "train"], (), ("train", "val", "test")),
        (["test", "validation", "train"], (), ("train", "validation", "test")),
        (["fold2", "test", "fold1"], (), ("test", "fold1", "fold2")),
        (["train", "val", "holdout"], ("holdout", "val"), ("holdout", "val", "train")),
        (["train"], ("gone", "train"), ("train",)),
        (["b", "", "a", "b"], (), ("a", "b")),
    ],
)
def test_split_order(names: list[str], preferred: tuple[str, ...], order: tuple[str, ...]) -> None:
    assert split_order(names, preferred) == order


@pytest.mark.parametrize(
    ("labels", "counts"),
    [
        ([], {"a": 0, "b": 0}),
        (["a", "a", "b"], {"a": 2, "b": 1}),
        (["", "b"], {"a": 0, "b": 1}),
        (["a;b", "b"], {"a": 1, "b": 2}),
        (["a;a", "a;"], {"a": 2, "b": 0}),  # a sample counts once for a class
    ],
)
def test_label_counts_are_in_class_order_with_absent_classes(labels: list[str], counts: dict[str, int]) -> None:
    found = label_counts(rows_of({"label": labels})["label"], ("a", "b"))
    assert found.to_dict() == counts
    assert list(found.index) == ["a", "b"]
    assert found.dtype == "int64"


FRAME = pd.DataFrame({"id": list("cdef"), "label": ["a", "b", "a", ""], "split": ["train", "val", "", "train"]}, dtype=str)


@pytest.mark.parametrize(
    ("frame", "splits", "table"),
    [
        (FRAME, ("train", "val"), {"train": {"a": 1, "b": 0}, "val": {"a": 0, "b": 1}, "(no split)": {"a": 1, "b": 0}}),
        (FRAME.iloc[:2], ("train", "val"), {"train": {"a": 1, "b": 0}, "val": {"a": 0, "b": 1}}),
        (FRAME[["id", "label"]], (), {"all": {"a": 2, "b": 1}}),
        (FRAME[["id", "split"]], ("train", "val"), {}),
    ],
)
def test_classes_by_splits(frame: pd.DataFrame, splits: tuple[str, ...], table: dict[str, dict[str, int]]) -> None:
    found = class_split_table(rows_of_frame(frame), "label", ("a", "b"), splits)
    assert found.to_dict() == table
    assert found.index.name == "label"
