"""Changing an image's height and width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from PIL import Image

from manifests.format.npyfile import AnyArray
from prep.errors import ItemError
from prep.readers.parameters import IMAGE_SIZE, NUMBER, choice, param
from prep.transforms.crop import Crop
from prep.transforms.interface.rounding import rounded_to
from prep.transforms.interface.transform import Transform
from prep.transforms.pad import Pad

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True, kw_only=True)
class Resize(Transform):
    """Resize (height, width) or (height, width, channel) by Pillow, antialiased.

    8-bit values are resized as such, others as 32-bit floats, rounded back for integers. As the first transform of a
    JPEG it lets the decoder work at the smallest DCT scale that is not below `size`.
    """

    name: ClassVar[str] = "resize"
    uses_pillow: ClassVar[bool] = True

    size: tuple[int, int] = param(IMAGE_SIZE, "height and width to reach, in pixels")
    fit: Literal["stretch", "crop", "pad"] = param(
        choice("stretch", "crop", "pad"),
        "`stretch` changes the aspect; `crop` fills the size and cuts off what is over; `pad` fits into it and fills up, about the centre",
        "stretch",
    )
    filter: str = param(choice(*_FILTERS), "how pixels are interpolated", "bilinear")
    value: float = param(NUMBER, "what `pad` fills with", 0)

    @property
    def is_plain(self) -> bool:
        """Whether this is what `--size` stands for."""
        return self == Resize(size=self.size)

    def apply(self, array: AnyArray, *, full_range: bool) -> AnyArray:
        """Return shape (*size) or (*size, channel), of the same dtype."""
        if array.ndim not in {2, 3} or array.dtype.kind == "c" or 0 in array.shape:
            raise ItemError(
                f"resize takes real arrays (height, width) or (height, width, channel), found {array.dtype.name} of shape {array.shape}"
            )
        height, width = array.shape[:2]
        if self.fit == "stretch":
            return self._to(array, self.size)
        ratios = (self.size[0] / height, self.size[1] / width)
        ratio = max(ratios) if self.fit == "crop" else min(ratios)
        # The axis that decides the ratio reaches its length exactly, whatever the division left.
        bound = max if self.fit == "crop" else min
        inner = tuple(
            goal if own == ratio else bound(goal, max(1, round(length * ratio)))
            for goal, own, length in zip(self.size, ratios, (height, width), strict=True)
        )
        resized = self._to(array, (inner[0], inner[1]))
        if self.fit == "crop":
            return Crop(size=self.size).apply(resized, full_range=full_range)
        return Pad(size=self.size, value=self.value).apply(resized, full_range=full_range)

    def _to(self, array: AnyArray, size: tuple[int, int]) -> AnyArray:
        if array.shape[:2] == size:
            return array
        channels = array.reshape(*array.shape[:2], -1)  # (height, width, channel)
        resample = _FILTERS[self.filter]
        if array.dtype == np.uint8 and channels.shape[2] in {1, 3}:
            flat = channels[..., 0] if channels.shape[2] == 1 else channels
            resized = np.asarray(Image.fromarray(np.ascontiguousarray(flat)).resize(size[::-1], resample))
        else:
            planes = [Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32)) for plane in np.moveaxis(channels, -1, 0)]
            resized = np.stack([np.asarray(plane.resize(size[::-1], resample)) for plane in planes], axis=-1)
            resized = rounded_to(resized, array.dtype)
        return resized.reshape(*size, *array.shape[2:])
