"""Computed floats back to the dtype that an array had."""

from __future__ import annotations

import numpy as np

from manifests.format.npyfile import AnyArray


def rounded_to(values: AnyArray, dtype: np.dtype[np.generic]) -> AnyArray:
    """Return floats as another real dtype; integers are rounded to the nearest and cut off at the dtype's limits."""
    if dtype.kind == "b":
        return np.rint(values).astype(np.bool_)
    if dtype.kind not in "iu":
        return values.astype(dtype)
    limits = np.iinfo(dtype.name)
    greatest = float(limits.max)
    if int(greatest) > limits.max:  # 64 bits have integers that no float has
        greatest = float(np.nextafter(greatest, 0))
    return np.clip(np.rint(values.astype(np.float64)), float(limits.min), greatest).astype(dtype)
