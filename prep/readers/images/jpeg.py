"""Photographs decoded by libjpeg-turbo straight into an array, which saves the way through Pillow's own pixels.

What is out of the ordinary (other colours than the usual ones, anything that the decoder so much as warns of) is left to Pillow,
so that there is one judge of what can be read. Both rest on the same decoder and give the same pixels; the scale is chosen as Pillow's
`Image.draft` does.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image

from manifests.files.regularfile import read_beginning_with
from manifests.format.npyfile import AnyArray
from prep.readers.images.header import ImageFacts
from prep.readers.images.orientation import SIDEWAYS, UPRIGHT, orientation_of, upright
from prep.readers.limits import MAX_PIXELS

_MARK = b"\xff\xd8\xff"
_APP1, _SCAN, _FILLING = 0xE1, 0xDA, 0xFF
_GRAY = "Gray"
_COLORS = frozenset({"YCbCr", _GRAY})
_SCALES = (8, 4, 2)
"""Divisors that the decoder is quick at: 3/8 and the like take longer than a decode of twice the size."""

_SMALL = 16
"""Pixels of a side, below which rounding lets several scales of the decoder reach one size."""

_MOST_BYTES = 1 << 28
"""Of a file that is read at once."""


def read_jpeg(
    path: str | Path, *, size: tuple[int, int] | None, gray: bool, at_least: tuple[int, int] | None = None
) -> tuple[AnyArray, ImageFacts] | None:
    """Read a JPEG upright, as `prep.readers.images.pixels.read_with_facts` does; None where that is left to Pillow.

    Args:
        path: of the file.
        size: (height, width) to resize to; None keeps the image's own.
        gray: whether to return one channel, else RGB.
        at_least: (height, width) below which it need not be decoded; without `size`.

    Returns:
        uint8, shape (height, width, 1) or (height, width, 3); and what its header says.

    Raises:
        OSError: the file cannot be read.
    """
    content = read_beginning_with(_MARK, path, _MOST_BYTES)
    if content is None:
        return None
    try:
        height, width, color, _ = simplejpeg.decode_jpeg_header(content)
        if color not in _COLORS or height * width > MAX_PIXELS or max(height, width) < _SMALL:
            return None
        orientation = _orientation(content)
        stored_size, stored_least = (
            axes[::-1] if axes is not None and orientation in SIDEWAYS else axes for axes in (size, size or at_least)
        )
        scale = 1 if stored_least is None else _scale((height, width), stored_least)
        array: AnyArray = simplejpeg.decode_jpeg(
            content, "GRAY" if gray else "RGB", min_height=-(-height // scale), min_width=-(-width // scale)
        )
    except ValueError:  # also where the decoder only warns
        return None
    if stored_size is not None and array.shape[:2] != stored_size:
        flat = array[..., 0] if gray else array
        array = np.asarray(Image.fromarray(flat).resize(stored_size[::-1], Image.Resampling.BILINEAR))
        array = array.reshape(*stored_size, 1 if gray else 3)  # (height, width, channel)
    if orientation in SIDEWAYS:
        height, width = width, height
    facts = ImageFacts(height=height, width=width, gray=color == _GRAY, depth="uint8", alpha=False, animated=False)
    return upright(array, orientation), facts


def _scale(size: tuple[int, int], at_least: tuple[int, int]) -> int:
    """Return the greatest divisor at which an image of this size does not fall below another."""
    most = min(axis // least for axis, least in zip(size, at_least, strict=True))
    return next((scale for scale in _SCALES if scale <= most), 1)


def _orientation(content: bytes) -> int:
    """Return the Exif orientation; what has no Exif is told without parsing it."""
    if not _may_have_exif(content):
        return UPRIGHT
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata: the pixels are sound all the same
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            return orientation_of(image)


def _may_have_exif(content: bytes) -> bool:
    """Return whether a segment may hold Exif, or XMP, where Pillow looks for the orientation too.

    Walk over the segments before the pixels (ITU-T T.81, B.1.1.4); what is not as it should be may have anything.
    """
    at = 2
    while content[at : at + 1] == b"\xff" and at + 1 < len(content):
        marker = content[at + 1]
        if marker == _SCAN:
            return False
        if marker == _APP1:
            return True
        # Any number of bytes 0xFF may stand before a marker.
        at += 1 if marker == _FILLING else 2 + int.from_bytes(content[at + 2 : at + 4])
    return True
