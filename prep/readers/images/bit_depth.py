"""Pixels of more than 8 bits, and bands beyond colour: which images have them, and how none is lost without a word.

16-bit colour goes through imagecodecs, because Pillow reduces it to 8 bits without saying so.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, TiffImagePlugin

from manifests.format.npyfile import AnyArray
from prep.errors import ItemError
from prep.readers.images.header import Depth
from prep.readers.images.orientation import stored_orientation, upright
from prep.text import counted

_BITS_TAG, _PHOTOMETRIC_TAG, _SAMPLES_TAG, _PLANAR_TAG = 258, 262, 277, 284  # TIFF 6.0
_WHITE_IS_ZERO, _RGB, _SEPARATE_PLANES = 0, 2, 2  # values of the photometric and the planar tag


_EXTRA_SAMPLES_TAG = 338
_COLOUR_BANDS = {2: 3, 5: 4, 6: 3, 8: 3}  # photometric -> RGB, CMYK, YCbCr, CIE L*a*b*; grey and palettes have one
_MAY_HAVE_ALPHA = frozenset({0, 1, 2})  # photometrics of which Pillow tells transparency: grey and RGB
_ALPHA = frozenset({1, 2})  # values of the tag ExtraSamples: associated and unassociated
_TIFF_HEADERS = {b"II*\0": 8, b"MM\0*": 8, b"II+\0": 16, b"MM\0+": 16}
"""First bytes of a TIFF -> how long its header is."""


def check_bands(file: BinaryIO) -> None:
    """Refuse a TIFF with bands that would be dropped: all but grey or colour and one of transparency; the file is at its beginning again.

    Raises:
        ItemError: it has such bands.
    """
    start = file.read(4)
    file.seek(0)
    if start not in _TIFF_HEADERS:
        return
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(file.read(_TIFF_HEADERS[start]))
        file.seek(tags.next)
        tags.load(file)
        bands, photometric = int(tags.get(_SAMPLES_TAG, 1)), tags.get(_PHOTOMETRIC_TAG, 0)
        extra = tags.get(_EXTRA_SAMPLES_TAG, ())
    except Exception:  # noqa: BLE001  # damaged tags raise almost anything; what is wrong is for the decoder to say
        return
    finally:
        file.seek(0)
    colours = _COLOUR_BANDS.get(photometric, 1)
    is_alpha = bands == colours + 1 and photometric in _MAY_HAVE_ALPHA and extra and extra[0] in _ALPHA
    if bands > colours and not is_alpha:
        raise ItemError(
            f"has {bands} bands, of which {bands - colours} would be dropped; expected {counted(colours, 'band')}, and at most one more "
            "that is marked as transparency (TIFF tag ExtraSamples); write the bands that you need to a file of their own, or all of "
            "them to a .npy file"
        )


def raw_mode_of(image: Image.Image) -> str:
    """Return how Pillow's decoder names the file's pixels, which says their true depth, such as `RGB;16B`."""
    if not image.tile:  # type: ignore[attr-defined]  # of ImageFile, which every opened image is
        return image.mode
    arguments = image.tile[0][3]  # type: ignore[attr-defined]
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def has_16_bit_colour(image: Image.Image) -> bool:
    """Return whether an image, its pixels not yet loaded, has several channels of more than 8 bits."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # Not by the raw mode, which is that of 8 bits when each channel has a plane of its own.
        return bool(image.tag_v2.get(_SAMPLES_TAG, 1) > 1 and max(image.tag_v2.get(_BITS_TAG, (1,))) > 8)
    return image.format == "PNG" and ";16" in raw_mode_of(image) and image.mode in {"RGB", "RGBA", "LA"}


def depth_of(image: Image.Image) -> Depth:
    """Return the dtype of one channel of an image whose pixels are not yet loaded."""
    if image.mode.startswith("I;16") or has_16_bit_colour(image):
        return "uint16"
    if image.mode == "I":
        return "int32"
    return "float32" if image.mode == "F" else "uint8"


def fit_deep(pixels: AnyArray, dtype: np.dtype[np.generic], size: tuple[int, int] | None, *, gray: bool) -> AnyArray:
    """Bring pixels of more than 8 bits to size and colour: channels are resized as float and rounded back."""
    channels = pixels.reshape(*pixels.shape[:2], -1)  # (height, width, channel)
    channels = channels[..., :3] if channels.shape[2] >= 3 else channels[..., :1]  # transparency goes
    if size is not None and channels.shape[:2] != size:
        planes = [Image.fromarray(plane.astype(np.float32)) for plane in np.moveaxis(channels, -1, 0)]
        channels = np.stack([np.asarray(plane.resize(size[::-1], Image.Resampling.BILINEAR)) for plane in planes], axis=-1)
    if gray and channels.shape[2] == 3:
        channels = channels @ np.array([[0.299], [0.587], [0.114]])  # ITU-R BT.601 luma
    if dtype.kind in "iu" and channels.dtype.kind == "f":
        limits = np.iinfo(dtype.name)
        channels = np.clip(np.rint(channels), limits.min, limits.max)
    channels = channels.astype(dtype)
    return channels if gray or channels.shape[2] == 3 else np.repeat(channels, 3, axis=2)


def decode_16_bit_colour(path: Path, image: Image.Image) -> AnyArray:
    """Return an image's pixels with all their bits: uint16, shape (height, width, channel), as upright as Pillow gives them.

    Args:
        path: of the file.
        image: the same, opened by Pillow.

    Raises:
        ItemError: imagecodecs is not installed, or the channels are not RGB.
    """
    try:
        import imagecodecs  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise ItemError("has 16 bits in several channels; reading that needs imagecodecs: pip install 'shardfeed[images16]'") from error
    pixels: AnyArray
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        pixels = imagecodecs.png_decode(path.read_bytes())
        return pixels
    if image.tag_v2[_PHOTOMETRIC_TAG] != _RGB:
        raise ItemError(f"has 16 bits in several channels that are not RGB (TIFF photometric {image.tag_v2[_PHOTOMETRIC_TAG]})")
    pixels = imagecodecs.tiff_decode(path.read_bytes())
    if image.tag_v2.get(_PLANAR_TAG) == _SEPARATE_PLANES:
        pixels = np.moveaxis(pixels, 0, -1)  # (channel, height, width) to (height, width, channel)
    return upright(pixels, stored_orientation(image))


def deep_gray(image: Image.Image, raw_mode: str) -> AnyArray:
    """Return one channel of more than 8 bits, where Pillow leaves two things undone.

    Args:
        image: whose pixels may have been loaded.
        raw_mode: as it was before that.
    """
    pixels = np.asarray(image)
    if raw_mode in {"I;32", "I;32B", "I;32N"} and pixels.size and pixels.min() < 0:
        raise ItemError("has unsigned 32-bit values of 2,147,483,648 and more, which Pillow cannot read")
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    if image.mode.startswith("I;16") and tags.get(_PHOTOMETRIC_TAG) == _WHITE_IS_ZERO:
        # Of 8-bit grey with white as 0 Pillow makes the usual black as 0, of 16-bit grey it does not.
        pixels = np.uint16((1 << tags[_BITS_TAG][0]) - 1) - pixels.astype(np.uint16)
    return pixels
