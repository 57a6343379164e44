"""Putting axes in another order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from manifests.format.npyfile import AnyArray
from prep.errors import ItemError
from prep.readers.parameters import AXES, param
from prep.transforms.interface.transform import Transform


@dataclass(frozen=True, kw_only=True)
class Transpose(Transform):
    """Put the axes in another order: `[2, 0, 1]` puts an image's channel first. Arrays with as many axes."""

    name: ClassVar[str] = "transpose"

    axes: tuple[int, ...] = param(AXES, "which axis of the array comes first, second and so on")

    def apply(self, array: AnyArray, *, full_range: bool) -> AnyArray:  # noqa: ARG002  # the same for both
        """Return the axes in the order wanted, of the same dtype."""
        if array.ndim != len(self.axes):
            raise ItemError(f"transpose by {list(self.axes)} takes arrays of {len(self.axes)} axes, found shape {array.shape}")
        return array.transpose(self.axes)
