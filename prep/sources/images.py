"""Reading images with Pillow: what a file's header says, and its pixels as an array.

16-bit colour goes through imagecodecs, because Pillow reduces it to 8 bits without saying so.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import PIL
from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, MpoImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from manifests.npyfile import AnyArray
from manifests.regularfile import open_regular
from prep.errors import ItemError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
"""Pillow's names of what is read, whatever a file's ending."""

_JPEGS = frozenset({"JPEG", "MPO"})  # MPO is the JPEG with a preview that many cameras write

MAX_PIXELS = 178_956_970
"""Larger images are refused before decoding: the size at which Pillow suspects a decompression bomb."""

Depth = Literal["uint8", "uint16", "int32", "float32"]

# Pillow loads the rarer ones of its plugins only when asked for, and then all of them.
_PLUGINS = (BmpImagePlugin, GifImagePlugin, JpegImagePlugin, MpoImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin)

_ORIENTATION_TAG = 0x0112  # TIFF 6.0 and Exif 2.3, tag Orientation
_BITS_TAG, _PHOTOMETRIC_TAG, _SAMPLES_TAG, _PLANAR_TAG = 258, 262, 277, 284  # TIFF 6.0
_WHITE_IS_ZERO, _RGB, _SEPARATE_PLANES = 0, 2, 2  # values of the photometric and the planar tag
_UPRIGHT = 1
_SIDEWAYS = frozenset({5, 6, 7, 8})


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """What an image's header says.

    Attributes:
        height: pixels, upright.
        width: pixels, upright.
        gray: whether it has no colour; a palette is grey when every entry is.
        depth: dtype of one channel.
        alpha: whether it has transparency.
        animated: whether it has more than one frame.
    """

    height: int
    width: int
    gray: bool
    depth: Depth
    alpha: bool
    animated: bool


def survey_image(path: Path) -> ImageFacts:
    """Read an image's header.

    Raises:
        ItemError: the file is no image of a known format, is empty, or has too many pixels.
    """
    with _opened(path) as image:
        width, height = image.size
        # Pillow decodes a whole PNG to look for Exif behind the pixels, where it hardly ever stands.
        if (image.format != "PNG" or "exif" in image.info) and _orientation(image) in _SIDEWAYS:
            width, height = height, width
        return ImageFacts(
            height=height,
            width=width,
            gray=_is_gray(image),
            depth=_depth(image),
            alpha=image.mode in {"LA", "PA", "RGBA", "RGBa", "La"} or "transparency" in image.info,
            animated=image.format != "MPO" and bool(getattr(image, "is_animated", False)),
        )


def read_image(path: Path, *, size: tuple[int, int] | None, gray: bool) -> AnyArray:
    """Read an image upright, in the depth of the file; transparency is left out, as Keras' `load_img` does.

    A JPEG is decoded at the smallest DCT scale that is not below `size`. Sizes are reached by Pillow's bilinear filter
    with antialiasing. Colour becomes grey by ITU-R 601 luma.

    Args:
        path: of the file.
        size: (height, width) to resize to, without keeping the aspect; None keeps the image's own.
        gray: whether to return one channel, else RGB.

    Returns:
        uint8, uint16, int32 or float32, shape (height, width, 1) or (height, width, 3).

    Raises:
        ItemError: the file is no image of a known format, damaged, or too large.
    """
    with _opened(path) as image:
        # Before anything that may load the pixels, after which Pillow has forgotten how the file stored them.
        depth, deep_colour, raw_mode = _depth(image), _has_16_bit_colour(image), _raw_mode(image)
        if image.format == "PNG":
            image.load()  # its Exif may stand behind the pixels; damage must show here, not pass for missing Exif
        orientation = _orientation(image)
        stored_size = size[::-1] if size is not None and orientation in _SIDEWAYS else size
        if depth == "uint8":
            array = _read_8_bit(image, stored_size, gray=gray)
        else:
            pixels = _decode_16_bit_colour(path, image) if deep_colour else _deep_gray(image, raw_mode)
            array = _fit_deep(pixels, np.dtype(depth), stored_size, gray=gray)
    return _upright(array, orientation)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image for its header; whatever goes wrong within the block is said as an `ItemError`."""
    try:
        # What Pillow warns of (odd metadata, a large image) either decodes or raises: the limit is checked below.
        with warnings.catch_warnings(), open_regular(path) as file:
            warnings.simplefilter("ignore")
            _check_not_empty(file)
            with Image.open(file, formats=FORMATS) as image:
                _check_pixels(image)
                yield image
    except ItemError:
        raise
    except Image.DecompressionBombError as error:
        raise ItemError(f"has too many pixels; at most {MAX_PIXELS:,} are read: {error}") from error
    except PIL.UnidentifiedImageError as error:
        raise ItemError(f"is no image of a known format ({', '.join(FORMATS)}), or one of a kind that Pillow cannot read") from error
    except Exception as error:
        # Decoders raise almost anything on damaged bytes; each means that this one file cannot be read.
        raise ItemError(f"cannot be decoded: {type(error).__name__}: {error}") from error


def _check_not_empty(file: BinaryIO) -> None:
    if not file.read(1):
        raise ItemError("is empty (0 bytes)")
    file.seek(0)


def _check_pixels(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise ItemError(f"has {image.width} x {image.height} pixels; at most {MAX_PIXELS:,} are read")


def _read_8_bit(image: Image.Image, size: tuple[int, int] | None, *, gray: bool) -> AnyArray:
    mode = "L" if gray else "RGB"
    if image.format in _JPEGS:
        image.draft(mode if image.mode in {"L", "RGB"} else image.mode, None if size is None else size[::-1])
    converted = image if image.mode == mode else image.convert(mode)
    if size is not None and converted.size != size[::-1]:
        converted = converted.resize(size[::-1], Image.Resampling.BILINEAR)
    array = np.asarray(converted)
    return array.reshape(*array.shape[:2], 1 if gray else 3)  # (height, width, channel)


def _fit_deep(pixels: AnyArray, dtype: np.dtype[np.generic], size: tuple[int, int] | None, *, gray: bool) -> AnyArray:
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


def _decode_16_bit_colour(path: Path, image: Image.Image) -> AnyArray:
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
    return _upright(pixels, _stored_orientation(image))


def _deep_gray(image: Image.Image, raw_mode: str) -> AnyArray:
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


def _raw_mode(image: Image.Image) -> str:
    """Return how Pillow's decoder names the file's pixels, which says their true depth, such as `RGB;16B`."""
    if not image.tile:  # type: ignore[attr-defined]  # of ImageFile, which every opened image is
        return image.mode
    arguments = image.tile[0][3]  # type: ignore[attr-defined]
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _has_16_bit_colour(image: Image.Image) -> bool:
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # Not by the raw mode, which is that of 8 bits when each channel has a plane of its own.
        return bool(image.tag_v2.get(_SAMPLES_TAG, 1) > 1 and max(image.tag_v2.get(_BITS_TAG, (1,))) > 8)
    return image.format == "PNG" and ";16" in _raw_mode(image) and image.mode in {"RGB", "RGBA", "LA"}


def _depth(image: Image.Image) -> Depth:
    if image.mode.startswith("I;16") or _has_16_bit_colour(image):
        return "uint16"
    if image.mode == "I":
        return "int32"
    return "float32" if image.mode == "F" else "uint8"


def _is_gray(image: Image.Image) -> bool:
    if image.mode in {"P", "PA"}:
        palette = np.asarray(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    if image.format == "PNG" and _raw_mode(image).startswith("LA"):
        return True  # Pillow opens 16-bit grey with transparency as RGBA
    return image.mode in {"1", "L", "LA", "La", "I", "F"} or image.mode.startswith("I;16")


def _orientation(image: Image.Image) -> int:
    """Return how far the pixels that Pillow gives are from upright, as an Exif orientation; it turns TIFF itself."""
    return _UPRIGHT if image.format == "TIFF" else _stored_orientation(image)


def _stored_orientation(image: Image.Image) -> int:
    """Return the Exif orientation, 1 to 8; damaged or foreign values count as upright, as in viewers."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, _UPRIGHT)
    except Exception:  # noqa: BLE001  # damaged Exif raises almost anything, and the pixels are sound all the same
        return _UPRIGHT
    return value if isinstance(value, int) and 1 <= value <= 8 else _UPRIGHT


def _upright(array: AnyArray, orientation: int) -> AnyArray:
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
