"""Bringing values to another dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from manifests.format.npyfile import AnyArray
from prep.readers.parameters import DTYPE, param
from prep.transforms.interface.convert_values import convert_values
from prep.transforms.interface.transform import Transform


@dataclass(frozen=True, kw_only=True)
class Cast(Transform):
    """Change the dtype; a value that does not fit is a failure, and none is wrapped around or cut off. Arrays of any shape.

    Between uint8 and uint16 the values of images are stretched: 255 is white in one and 65535 in the other. The last of
    a recipe is what `--dtype` stands for.
    """

    name: ClassVar[str] = "cast"
    keeps_dtype: ClassVar[bool] = False
    keeps_places: ClassVar[bool] = True

    dtype: str = param(DTYPE, "to reach")

    def apply(self, array: AnyArray, *, full_range: bool) -> AnyArray:
        """Return the same shape, of `dtype`."""
        return convert_values(array, self.dtype, None, full_range=full_range)
