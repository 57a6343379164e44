"""Cutting an array into tiles, or a recording into windows: several samples of one raw item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar, Literal

from manifests.format.npyfile import AnyArray
from prep.errors import ItemError
from prep.readers.limits import MAX_SAMPLES
from prep.readers.parameters import LENGTHS, NUMBER, choice, param
from prep.transforms.interface.regions import check_axes
from prep.transforms.interface.transform import Transform
from prep.transforms.pad import Pad


@dataclass(frozen=True, kw_only=True)
class Tile(Transform):
    """Cut the first axes into tiles, row by row: each becomes a sample `<id>-0000`, `<id>-0001`, ...

    Two lengths cut an image, one cuts a recording into windows, three cut a volume.
    """

    name: ClassVar[str] = "tile"
    gives_several: ClassVar[bool | None] = True

    size: tuple[int, ...] = param(LENGTHS, "lengths of a tile along the first axes")
    stride: tuple[int, ...] | None = param(LENGTHS, "from one tile's start to the next; that of `size` if left out", None)
    border: Literal["pad", "shift", "drop"] = param(
        choice("pad", "shift", "drop"),
        "what becomes of a last tile that goes beyond the end: `pad` fills it up, `shift` moves it back to end there, `drop` drops it",
        "pad",
    )
    value: float = param(NUMBER, "what `pad` fills with", 0)

    def check(self) -> Mapping[str, str]:
        """Hold the stride against the size."""
        if self.stride is not None and len(self.stride) != len(self.size):
            return {"stride": f"as many lengths as size has ({len(self.size)})"}
        return {}

    def apply(self, array: AnyArray, *, full_range: bool) -> Sequence[AnyArray]:
        """Return the tiles, the last axis of `size` fastest; each of shape (*size, *other axes), of the same dtype."""
        check_axes(array, self.size, "tile")
        strides = self.stride or self.size
        counts = [self._count(length, size, stride) for length, size, stride in zip(array.shape, self.size, strides, strict=False)]
        if not all(counts):
            raise ItemError(f"gives no tile: shape {array.shape} is smaller than {list(self.size)}; pad first, or choose border = 'pad'")
        total = 1
        for count in counts:
            total *= count
        if total > MAX_SAMPLES:
            raise ItemError(
                f"would give {total:,} tiles of {list(self.size)} from shape {array.shape}; at most {MAX_SAMPLES:,} are made of one item"
            )
        if self.border == "pad":
            reach = [(count - 1) * stride + size for count, stride, size in zip(counts, strides, self.size, strict=True)]
            array = Pad(size=tuple(reach), value=self.value, position="start").apply(array, full_range=full_range)
        starts = [
            [min(number * stride, length - size) for number in range(count)]
            for count, stride, length, size in zip(counts, strides, array.shape, self.size, strict=False)
        ]
        return [
            array[tuple(slice(start, start + size) for start, size in zip(corner, self.size, strict=True))] for corner in product(*starts)
        ]

    def _count(self, length: int, size: int, stride: int) -> int:
        """Return how many tiles an axis gives."""
        if length < size:
            return 1 if self.border == "pad" and length else 0
        whole, rest = divmod(length - size, stride)
        # Where tiles leave gaps, the next may start beyond the end: nothing is left to cover then.
        is_left = rest > 0 and (whole + 1) * stride < length
        return whole + 1 + (is_left and self.border != "drop")
