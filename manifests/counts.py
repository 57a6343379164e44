"""How many samples each class and split has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from manifests.schema import split_label

_CONVENTIONAL_SPLITS = ("train", "val", "validation", "test")


def split_order(names: Iterable[str], preferred: Sequence[str] = ()) -> tuple[str, ...]:
    """Return split names in their reading order: the preferred ones, train, val, test, then the others by name."""
    present = {name for name in names if name}
    first = [name for name in dict.fromkeys((*preferred, *_CONVENTIONAL_SPLITS)) if name in present]
    return (*first, *sorted(present.difference(first)))


def label_counts(labels: pd.Series[str], classes: Sequence[str]) -> pd.Series[int]:
    """Count the samples of each class, in class order; a sample of several classes counts for each of them.

    Args:
        labels: as in the manifest, `a;b` for several classes, empty for none.
        classes: every class the labels name, and perhaps more, which then count 0.
    """
    counts = dict.fromkeys(classes, 0)
    for label, count in labels.value_counts(sort=False).items():
        for name in split_label(str(label)):
            counts[name] += int(count)
    return pd.Series(counts, name="count", dtype="int64")


def class_split_table(frame: pd.DataFrame, column: str, classes: Sequence[str], splits: Sequence[str]) -> pd.DataFrame:
    """Cross classes (rows, in class order) with splits (columns); without splits there is one column, `all`."""
    if column not in frame.columns:
        return pd.DataFrame(index=pd.Index([], name=column))
    if not splits:
        return label_counts(frame[column], classes).to_frame("all").rename_axis(column)
    columns = {split: label_counts(frame.loc[frame["split"] == split, column], classes) for split in splits}
    if (frame["split"] == "").any():
        columns["(no split)"] = label_counts(frame.loc[frame["split"] == "", column], classes)
    return pd.DataFrame(columns).rename_axis(column)
