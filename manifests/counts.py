"""How many samples each class and split has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from manifests.columns import Column, is_in, value_counts
from manifests.schema import split_label
from manifests.table import Table

_CONVENTIONAL_SPLITS = ("train", "val", "validation", "test")


def split_order(names: Iterable[str], preferred: Sequence[str] = ()) -> tuple[str, ...]:
    """Return split names in their reading order: the preferred ones, train, val, test, then the others by name."""
    present = {name for name in names if name}
    first = [name for name in dict.fromkeys((*preferred, *_CONVENTIONAL_SPLITS)) if name in present]
    return (*first, *sorted(present.difference(first)))


def label_counts(labels: Column, classes: Sequence[str]) -> pd.Series[int]:
    """Count the samples of each class, in class order; a sample of several classes counts for each of them.

    Args:
        labels: as in the manifest, `a;b` for several classes, empty for none.
        classes: every class the labels name, and perhaps more, which then count 0.
    """
    counts = dict.fromkeys(classes, 0)
    for label, count in value_counts(labels).items():
        for name in split_label(label):
            counts[name] += count
    return pd.Series(counts, name="count", dtype="int64")


def class_split_table(table: Table, column: str, classes: Sequence[str], splits: Sequence[str]) -> pd.DataFrame:
    """Cross classes (rows, in class order) with splits (columns); without splits there is one column, `all`."""
    if column not in table:
        return pd.DataFrame(index=pd.Index([], name=column))
    if not splits:
        return label_counts(table.column(column), classes).to_frame("all").rename_axis(column)
    split_of = table.column("split")
    columns = {split: is_in(split_of, [split]) for split in splits}
    unsplit = is_in(split_of, [""])
    if unsplit.any():
        columns["(no split)"] = unsplit
    counts = {name: label_counts(table.select(keep).column(column), classes) for name, keep in columns.items()}
    return pd.DataFrame(counts).rename_axis(column)
