"""Colour to grey."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from manifests.format.npyfile import AnyArray
from prep.errors import ItemError
from prep.transforms.interface.rounding import rounded_to
from prep.transforms.interface.transform import Transform

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True, kw_only=True)
class Gray(Transform):
    """Make one channel of three by ITU-R 601 luma, the last axis being the channel; one channel stays as it is.

    For images, `color = "gray"` in `[source]` does the same while reading, and faster.
    """

    name: ClassVar[str] = "gray"
    keeps_places: ClassVar[bool] = True

    def apply(self, array: AnyArray, *, full_range: bool) -> AnyArray:  # noqa: ARG002  # the same for both
        """Return shape (*axes, 1), of the same dtype; integers are rounded to the nearest."""
        if array.ndim and array.shape[-1] == 1:
            return array
        if not array.ndim or array.shape[-1] != 3 or array.dtype.kind not in "iuf":
            raise ItemError(f"gray takes real arrays whose last axis has 1 or 3 channels, found {array.dtype.name} of shape {array.shape}")
        if array.dtype == np.uint8:
            # In integers of 16 fractional bits, as Pillow does.
            fixed = array.astype(np.uint32) @ np.array([19595, 38470, 7471], np.uint32)
            return ((fixed + 0x8000) >> 16).astype(np.uint8)[..., None]
        luma = array.astype(np.float64) @ np.array(_LUMA)
        return rounded_to(luma, array.dtype)[..., None]
