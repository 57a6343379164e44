"""Where a region lies along the first axes of an array."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from manifests.format.npyfile import AnyArray
from prep.errors import ItemError


def check_axes(array: AnyArray, size: Sequence[int], name: str) -> None:
    """Refuse an array with fewer axes than a size has lengths.

    Raises:
        ItemError: as said.
    """
    if array.ndim < len(size):
        raise ItemError(f"{name} to {list(size)} takes arrays of {len(size)} axes or more, found shape {array.shape}")


def start_of(position: str | Sequence[int], axis: int, room: int) -> int:
    """Return where a region starts along an axis that has `room` beside it; the centre is rounded down."""
    if not isinstance(position, str):
        return position[axis]
    return {"start": 0, "center": room // 2, "end": room}[position]


def fill_value(value: float, dtype: np.dtype[np.generic], name: str) -> AnyArray:
    """Return a number as a dtype has it, without axes.

    Raises:
        ItemError: the dtype cannot hold the number.
    """
    with np.errstate(all="ignore"):
        try:
            fill = np.asarray(value).astype(dtype)
            fits = dtype.kind in "fc" or (float(value).is_integer() and _within(value, dtype))
        except OverflowError:
            fits = False
    if not fits:
        raise ItemError(f"{name}: value {value} does not fit {dtype.name}; choose another value, or cast first")
    return fill


def _within(value: float, dtype: np.dtype[np.generic]) -> bool:
    if dtype.kind == "b":
        return value in {0, 1}
    limits = np.iinfo(dtype.name)
    return bool(limits.min <= value <= limits.max)
