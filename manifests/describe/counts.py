"""How many samples each class and split has."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from manifests.format.schema import split_label
from manifests.rows.numbers import numbers_of, summary_of
from manifests.rows.table import is_in, select, value_counts

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_Value = TypeVar("_Value")

_CONVENTIONAL_SPLITS = ("train", "val", "validation", "test")


def split_order(names: Iterable[str], preferred: Sequence[str] = ()) -> tuple[str, ...]:
    """Return split names in their reading order: the preferred ones, train, val, test, then the others by name."""
    present = {name for name in names if name}
    first = [name for name in dict.fromkeys((*preferred, *_CONVENTIONAL_SPLITS)) if name in present]
    return (*first, *sorted(present.difference(first)))


def class_counts(labels: pa.ChunkedArray, classes: Sequence[str]) -> dict[str, int]:
    """Count the samples of each class, in class order; a sample of several classes counts for each of them.

    Args:
        labels: as in the manifest, `a;b` for several classes, empty for none.
        classes: every class the labels name, and perhaps more, which then count 0.
    """
    counts = dict.fromkeys(classes, 0)
    for label, count in value_counts(labels).items():
        for name in split_label(label):
            counts[name] += count
    return counts


def class_counts_by_split(table: pa.Table, column: str, classes: Sequence[str], splits: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return split -> class -> count; without splits there is one, `all`.

    Args:
        table: of which the column is one.
        column: of labels.
        classes: as for `class_counts`.
        splits: their names; rows in none of them count as `(no split)` if there are any.
    """
    return _by_split(table, column, splits, lambda labels: class_counts(labels, classes))


def number_summaries_by_split(table: pa.Table, column: str, splits: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return split -> count, mean, std, min and max of a column's numbers, nan where it has none; without splits there is one, `all`.

    Args:
        table: of which the column is one.
        column: of labels; what is no finite number does not count.
        splits: as for `class_counts_by_split`.
    """
    return _by_split(table, column, splits, lambda labels: summary_of(numbers_of(labels)))


def _by_split(table: pa.Table, column: str, splits: Sequence[str], told: Callable[[pa.ChunkedArray], _Value]) -> dict[str, _Value]:
    if not splits:
        return {"all": told(table[column])}
    split_of = table["split"]
    rows = {split: is_in(split_of, [split]) for split in splits}
    unsplit = is_in(split_of, [""])
    if unsplit.any():
        rows["(no split)"] = unsplit
    return {name: told(select(table.select([column]), keep)[column]) for name, keep in rows.items()}


def label_counts(labels: pa.ChunkedArray, classes: Sequence[str]) -> pd.Series[int]:
    """Return the same as `class_counts` as pandas has it."""
    import pandas as pd  # noqa: PLC0415  # slow to import, and building does without

    return pd.Series(class_counts(labels, classes), name="count", dtype="int64")


def class_split_table(table: pa.Table, column: str, classes: Sequence[str], splits: Sequence[str]) -> pd.DataFrame:
    """Cross classes (rows, in class order) with splits (columns); without splits there is one column, `all`."""
    import pandas as pd  # noqa: PLC0415  # as above

    if column not in table.column_names:
        return pd.DataFrame(index=pd.Index([], name=column))
    counts = class_counts_by_split(table, column, classes, splits)
    return pd.DataFrame(counts, index=list(classes), dtype="int64").rename_axis(column)


def number_split_table(table: pa.Table, column: str, splits: Sequence[str]) -> pd.DataFrame:
    """Cross count, mean, std, min and max of a column's numbers (rows) with splits (columns); without splits there is one column, `all`."""
    import pandas as pd  # noqa: PLC0415  # as above

    return pd.DataFrame(number_summaries_by_split(table, column, splits), dtype="float64").rename_axis(column)


# Python refuses to read an integer of more than 4300 digits.
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,999}")


def classes_of(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct classes that labels name, in class order.

    Labels that are all plain integers are ordered as numbers, so class `2` comes before class `10` and the digits
    `0` to `9` get their own value as index; any others are ordered by code point, as Python sorts strings.
    """
    names = {name for label in set(labels) for name in split_label(label)}
    if all(_INTEGER.fullmatch(name) for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))
