"""Filling an array up to a size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from manifests.format.npyfile import AnyArray
from prep.readers.parameters import LENGTHS, NUMBER, choice, param
from prep.transforms.interface.regions import check_axes, fill_value, start_of
from prep.transforms.interface.transform import Transform


@dataclass(frozen=True, kw_only=True)
class Pad(Transform):
    """Fill the first axes up to at least a size; an axis that is longer stays as it is. Arrays of any number of axes."""

    name: ClassVar[str] = "pad"

    size: tuple[int, ...] = param(LENGTHS, "least lengths of the first axes")
    value: float = param(NUMBER, "what is filled in; the array's dtype must have it", 0)
    position: str = param(choice("center", "start", "end"), "where the array lies in what is filled up", "center")

    def apply(self, array: AnyArray, *, full_range: bool) -> AnyArray:  # noqa: ARG002  # the same for both
        """Return shape (at least size, *other axes), of the same dtype."""
        check_axes(array, self.size, "pad")
        lengths = [max(length, own) for length, own in zip(self.size, array.shape, strict=False)]
        shape = (*lengths, *array.shape[len(lengths) :])
        if shape == array.shape:
            return array
        padded = np.full(shape, fill_value(self.value, array.dtype, "pad"), dtype=array.dtype)
        where = []
        for axis, length in enumerate(lengths):
            start = start_of(self.position, axis, length - array.shape[axis])
            where.append(slice(start, start + array.shape[axis]))
        padded[tuple(where)] = array
        return padded
