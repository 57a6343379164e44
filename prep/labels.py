"""What `dataset.json` says of the labels: the order of the classes, which data added later does not change."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from manifests.classes import classes_of
from manifests.metadata import LabelSpec

_INTEGER = re.compile(r"[+-]?[0-9]+")


def label_specs(frame: pd.DataFrame, columns: Sequence[str], known: Mapping[str, LabelSpec]) -> dict[str, LabelSpec]:
    """Return the class order of each label column; a column of measured numbers has none.

    Args:
        frame: the manifest's rows.
        columns: that hold labels.
        known: the order so far; its classes keep their index, and new ones come behind them.
    """
    specs = {}
    for column in columns:
        if are_measurements(frame[column]):
            continue
        classes = classes_of(frame[column])
        old = known[column].classes if column in known else ()
        new = tuple(name for name in classes if name not in set(old))
        specs[column] = LabelSpec(classes=(*old, *new))
    return specs


def are_measurements(labels: Iterable[str]) -> bool:
    """Return whether labels are numbers of which at least one is no integer, such as `0.37`: not names of classes."""
    distinct = {label for label in set(labels) if label}
    return not all(_INTEGER.fullmatch(label) for label in distinct) and all(_is_number(label) for label in distinct)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # Python reads 1_2 as 12; in a label it is a name
