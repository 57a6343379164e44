"""Which way up a photograph is: the Exif orientation, and turning pixels by it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from manifests.format.npyfile import AnyArray

_ORIENTATION_TAG = 0x0112  # TIFF 6.0 and Exif 2.3, tag Orientation
UPRIGHT = 1

SIDEWAYS = frozenset({5, 6, 7, 8})
"""Orientations in which height and width change places."""


def orientation_of(image: Image.Image) -> int:
    """Return how far the pixels that Pillow gives are from upright, as an Exif orientation; it turns TIFF itself."""
    return UPRIGHT if image.format == "TIFF" else stored_orientation(image)


def stored_orientation(image: Image.Image) -> int:
    """Return the Exif orientation, 1 to 8; damaged or foreign values count as upright, as in viewers."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, UPRIGHT)
    except Exception:  # noqa: BLE001  # damaged Exif raises almost anything, and the pixels are sound all the same
        return UPRIGHT
    return value if isinstance(value, int) and 1 <= value <= 8 else UPRIGHT


def upright(array: AnyArray, orientation: int) -> AnyArray:
    """Turn and flip pixels as the Exif orientation asks; shape (height, width, channel) in and out."""
    match orientation:
        case 2:
            turned = array[:, ::-1]
        case 3:
            turned = array[::-1, ::-1]
        case 4:
            turned = array[::-1]
        case 5:
            turned = array.swapaxes(0, 1)
        case 6:
            turned = np.rot90(array, -1)
        case 7:
            turned = array[::-1, ::-1].swapaxes(0, 1)
        case 8:
            turned = np.rot90(array)
        case _:
            turned = array
    return np.ascontiguousarray(turned)
