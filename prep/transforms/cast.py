"""Bringing values to another dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from manifests.npyfile import AnyArray
from prep.transforms.kinds import DTYPE, param
from prep.transforms.transform import Transform
from prep.transforms.values import convert_values


@dataclass(frozen=True, kw_only=True)
class Cast(Transform):
    """Change the dtype; a value that does not fit is a failure, and none is wrapped around or cut off. Arrays of any shape.

    Between uint8 and uint16 the values of images are stretched: 255 is white in one and 65535 in the other. The last of
    a recipe is what `--dtype` stands for.
    """

    name: ClassVar[str] = "cast"
    keeps_dtype: ClassVar[bool] = False

    dtype: str = param(DTYPE, "to reach")

    def apply(self, array: AnyArray, *, is_image: bool) -> AnyArray:
        """Return the same shape, of `dtype`."""
        return convert_values(array, self.dtype, None, is_image=is_image)
