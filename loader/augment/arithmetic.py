"""Arithmetic on samples of any integer or float dtype: in floats, and back to the samples' own dtype at the end."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt

from loader.errors import OptionError
from manifests.format.npyfile import AnyArray

FloatArray = npt.NDArray[np.floating[Any]]


def as_float(x: AnyArray, owner: str) -> FloatArray:
    """Return samples in the float dtype to calculate in.

    Args:
        x: of any shape.
        owner: who asks; for the message.

    Returns:
        float32 for float16, float32 and integers of 8 or 16 bits; float64 for wider integers, of which those of 64 bits are
        exact up to 2**53; else x's own dtype. x itself if that is its dtype.

    Raises:
        OptionError: x is neither integer nor float.
    """
    if x.dtype.kind not in "iuf":
        raise OptionError(f"{owner} needs samples of integers or floats, got {x.dtype}")
    return x.astype(np.result_type(x.dtype, np.float32), copy=False)


def as_dtype(values: FloatArray, dtype: np.dtype[np.generic]) -> AnyArray:
    """Return what was calculated in the samples' own dtype; integers are rounded, half to even, and clipped to their range.

    Args:
        values: of any shape; may be overwritten.
        dtype: integer or float.
    """
    values = np.asarray(values)  # of no axes, it comes as a scalar
    if dtype.kind != "f":
        info = np.iinfo(cast("np.dtype[np.integer[Any]]", dtype))
        largest = values.dtype.type(info.max)
        if int(largest) > info.max:  # 64 bits do not fit in the float, which then rounds up and would wrap around
            largest = np.nextafter(largest, values.dtype.type(0))
        np.rint(values, out=values)
        np.clip(values, info.min, largest, out=values)
    return values.astype(dtype, copy=False)
