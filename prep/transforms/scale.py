"""Multiplying values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from manifests.format.npyfile import AnyArray
from prep.readers.parameters import FACTOR, FLOAT_DTYPE, param
from prep.transforms.interface.convert_values import Scale as Factor
from prep.transforms.interface.convert_values import convert_values
from prep.transforms.interface.transform import Transform


@dataclass(frozen=True, kw_only=True)
class Scale(Transform):
    """Multiply values; computed in 64 bits and rounded once. Arrays of any shape.

    The last of a recipe, without a dtype of its own, is what `--scale` stands for: it gives the dtype of `[output]`.
    """

    name: ClassVar[str] = "scale"
    keeps_dtype: ClassVar[bool] = False
    keeps_places: ClassVar[bool] = True

    factor: Factor = param(
        FACTOR, "what to multiply by; `unit` divides integers by their dtype's greatest value, so 255 or 65535 becomes 1"
    )
    dtype: str | None = param(FLOAT_DTYPE, "of what comes out; float32 if left out", None)

    def apply(self, array: AnyArray, *, full_range: bool) -> AnyArray:
        """Return the same shape, of `dtype`."""
        return convert_values(array, self.dtype or "float32", self.factor, full_range=full_range)
