"""Bringing values to the dtype and the range that the shards should have."""

from __future__ import annotations

from typing import Literal

import numpy as np

from manifests.format.npyfile import AnyArray
from prep.errors import ItemError

Scale = float | Literal["unit"]
"""A factor, or `unit`: integers are divided by the greatest value of their dtype, so 255 or 65535 becomes 1."""

_FULL_RANGE = frozenset({"uint8", "uint16"})
"""Depths between which values of brightness are stretched: 255 is white in one and 65535 in the other."""


def convert_values(array: AnyArray, dtype: str, scale: Scale | None, *, full_range: bool) -> AnyArray:
    """Scale and cast an array.

    Args:
        array: any shape, numeric.
        dtype: NumPy name of the dtype to reach.
        scale: what to multiply by first; None leaves the values.
        full_range: whether uint8 and uint16 stand for the same range of brightness.

    Returns:
        The same shape, of `dtype`, C-contiguous, little-endian.

    Raises:
        ItemError: a value does not fit the dtype; without `scale` none is ever wrapped around or cut off, and none is
            rounded, except that a fraction becomes the nearest one that a shorter float dtype has.
    """
    target = np.dtype(dtype)
    if scale is not None:
        scaled = _scaled(array, scale, target)
    elif full_range and array.dtype != target and {array.dtype.name, target.name} <= _FULL_RANGE:
        scaled = array.astype(np.uint16) * np.uint16(257) if target.name == "uint16" else (array.astype(np.uint32) + 128) // 257
    else:
        scaled = array
    # Not np.ascontiguousarray, which gives an array without axes one.
    return _cast(np.asarray(scaled), target).astype(target.newbyteorder("<"), order="C", copy=False)


def _scaled(array: AnyArray, scale: Scale, target: np.dtype[np.generic]) -> AnyArray:
    # float64 while it is computed, so that the result is rounded once, to the dtype asked for.
    wide = np.complex128 if array.dtype.kind == "c" else np.float64
    if scale != "unit":
        return array.astype(wide) * scale
    if array.dtype.kind not in "iu":
        raise ItemError(f"--scale unit takes integers, whose greatest value is known; found {array.dtype.name} (wanted {target.name})")
    return array.astype(wide) / np.iinfo(array.dtype.name).max


def _cast(array: AnyArray, target: np.dtype[np.generic]) -> AnyArray:
    # NumPy calls 64-bit integers to floats safe, although a float64 has only 53 bits for them.
    integer_to_float = array.dtype.kind in "iu" and target.kind in "fc"
    if np.can_cast(array.dtype, target, casting="safe") and not (integer_to_float and array.dtype.itemsize == 8):
        return array.astype(target, copy=False)
    with np.errstate(all="ignore"):  # what does not fit is told below
        cast = array.real.astype(target) if array.dtype.kind == "c" and target.kind != "c" else array.astype(target)
        if target.kind in "biu":
            fits = cast == array  # NumPy compares integers of any two dtypes by value
        elif integer_to_float:
            # Back again, unless it is beyond the integers: what such a float becomes depends on the processor.
            within = np.isfinite(cast) & (cast.real < float(int(np.iinfo(array.dtype.name).max) + 1))
            fits = within & (cast.real.astype(array.dtype) == array)
        else:
            fits = ~(np.isinf(cast) & ~np.isinf(array))
    if target.kind in "bf" and array.dtype.kind == "c" and target.kind != "c":
        fits &= array.imag == 0
    if not fits.all():
        raise ItemError(f"value {array[~fits].flat[0]} does not fit {target.name}; choose another --dtype or give a --scale")
    return cast
