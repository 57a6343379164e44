"""Cutting a region out of an array."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from manifests.format.npyfile import AnyArray
from prep.errors import ItemError
from prep.readers.parameters import LENGTHS, OFFSETS, param
from prep.transforms.interface.regions import check_axes, start_of
from prep.transforms.interface.transform import Transform


@dataclass(frozen=True, kw_only=True)
class Crop(Transform):
    """Cut a region out of the first axes: height and width of an image. Arrays of any number of axes."""

    name: ClassVar[str] = "crop"

    size: tuple[int, ...] = param(LENGTHS, "lengths of the region along the first axes")
    position: str | tuple[int, ...] = param(OFFSETS, "where the region lies: `start` is an image's top left", "center")

    def check(self) -> Mapping[str, str]:
        """Hold the offsets against the size."""
        if not isinstance(self.position, str) and len(self.position) != len(self.size):
            return {"position": f"as many offsets as size has lengths ({len(self.size)})"}
        return {}

    def apply(self, array: AnyArray, *, full_range: bool) -> AnyArray:  # noqa: ARG002  # the same for both
        """Return shape (*size, *other axes), of the same dtype."""
        check_axes(array, self.size, "crop")
        where = []
        for axis, length in enumerate(self.size):
            start = start_of(self.position, axis, array.shape[axis] - length)
            if start < 0 or start + length > array.shape[axis]:
                raise ItemError(f"crop to {list(self.size)} at {self.position} goes beyond shape {array.shape}; resize or pad first")
            where.append(slice(start, start + length))
        return array[tuple(where)]
