"""What the augmentations' arguments have in common: numbers, and tuples of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeGuard

import numpy as np


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a finite real number; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def is_integer(value: object) -> TypeGuard[int]:
    """Return whether a value is an integer; True and False are none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def integers(value: object) -> tuple[int, ...] | None:
    """Return a sequence of integers as a tuple; None if it is anything else, or empty."""
    items = tuple(value) if isinstance(value, Sequence | np.ndarray) else ()
    return tuple(map(int, items)) if items and all(map(is_integer, items)) else None


def pair(value: object) -> tuple[float, float] | None:
    """Return a sequence of two numbers as a tuple; None if it is anything else."""
    items = tuple(value) if isinstance(value, Sequence | np.ndarray) else ()
    return (float(items[0]), float(items[1])) if len(items) == 2 and all(map(is_number, items)) else None
