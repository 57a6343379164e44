"""Checks of the arguments that an index of a manifest and one of a list of IDs have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from loader.errors import OptionError
from loader.feed.targets.labels import LabelMode
from manifests.format.schema import LABEL_SEPARATOR

BALANCED = "balanced"
"""The sampling that draws each class equally often; a column of this name does not win over the word."""


def checked_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of classes.

    Raises:
        OptionError: they are not distinct names.
    """
    names = tuple(class_names) if isinstance(anything(class_names), Iterable) and not isinstance(class_names, str) else ()
    if not names or not all(isinstance(name, str) and name for name in map(anything, names)):
        raise OptionError(f"class_names must be a list of names, got {class_names!r}")
    if len(set(names)) != len(names):
        raise OptionError(f"class_names must be distinct, got {class_names!r}")
    if any(LABEL_SEPARATOR in name for name in names):
        raise OptionError(f"a class name cannot hold {LABEL_SEPARATOR!r}, which separates the classes of one sample, got {class_names!r}")
    return names


def check_weights_have_labels(sample_weight: object, label_mode: LabelMode) -> None:
    """Refuse weights without a y.

    Raises:
        OptionError: there are weights, but no label mode.
    """
    if sample_weight is not None and label_mode is None:
        raise OptionError("sample_weight needs a label_mode, got None: Keras takes batches as (x, y, weights), which must have a y")


def anything(value: object) -> object:
    """Return the value without its declared type, which callers may not keep to."""
    return value
