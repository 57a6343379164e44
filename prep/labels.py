"""What `dataset.json` says of the labels: the order of the classes, which data added later does not change."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from manifests.classes import classes_of
from manifests.columns import Column, coded
from manifests.metadata import LabelSpec

_INTEGER = re.compile(r"[+-]?[0-9]+")


def label_specs(columns: Mapping[str, Column], known: Mapping[str, LabelSpec]) -> dict[str, LabelSpec]:
    """Return the class order of each label column; a column of measured numbers has none.

    Args:
        columns: of the manifest that hold labels, by name.
        known: the order so far; its classes keep their index, and new ones come behind them.
    """
    specs = {}
    for column, values in columns.items():
        labels = list(coded(values).distinct)
        if are_measurements(labels):
            continue
        classes = classes_of(labels)
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
