"""Reading images: what a file's header says, and its pixels as an array."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import PIL
from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, MpoImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from manifests.files.regularfile import open_regular
from manifests.format.npyfile import AnyArray
from prep.errors import ItemError
from prep.readers.images.bit_depth import check_bands, decode_16_bit_colour, deep_gray, depth_of, fit_deep, has_16_bit_colour, raw_mode_of
from prep.readers.images.header import ImageFacts
from prep.readers.images.jpeg import read_jpeg
from prep.readers.images.orientation import SIDEWAYS, orientation_of, upright
from prep.readers.limits import MAX_PIXELS

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
"""Pillow's names of what is read, whatever a file's ending."""

_JPEGS = frozenset({"JPEG", "MPO"})  # MPO is the JPEG with a preview that many cameras write


# Pillow loads the rarer ones of its plugins only when asked for, and then all of them.
_PLUGINS = (BmpImagePlugin, GifImagePlugin, JpegImagePlugin, MpoImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin)


def survey_image(path: Path) -> ImageFacts:
    """Read an image's header.

    Raises:
        ItemError: the file is no image of a known format, is empty, or has too many pixels.
    """
    with _opened(path) as image:
        return _facts_of(image)


def read_with_facts(
    path: str | Path, *, size: tuple[int, int] | None, gray: bool, at_least: tuple[int, int] | None = None
) -> tuple[AnyArray, ImageFacts]:
    """Read an image upright, in the depth of the file; transparency is left out, as Keras' `load_img` does.

    A JPEG is decoded at the smallest DCT scale that is not below `size`. Sizes are reached by Pillow's bilinear filter
    with antialiasing. Colour becomes grey by ITU-R 601 luma.

    Args:
        path: of the file.
        size: (height, width) to resize to, without keeping the aspect; None keeps the image's own.
        gray: whether to return one channel, else RGB.
        at_least: (height, width) below which a JPEG need not be decoded, as it is resized later; without `size`.

    Returns:
        uint8, uint16, int32 or float32, shape (height, width, 1) or (height, width, 3); and what `survey_image` finds.

    Raises:
        ItemError: the file is no image of a known format, damaged, or too large.
    """
    with _told():
        photograph = read_jpeg(path, size=size, gray=gray, at_least=at_least)
    if photograph is not None:
        return photograph
    with _opened(path) as image:
        facts = _facts_of(image)
        # Before anything that may load the pixels, after which Pillow has forgotten how the file stored them.
        depth, deep_colour, raw_mode = depth_of(image), has_16_bit_colour(image), raw_mode_of(image)
        if image.format == "PNG":
            image.load()  # its Exif may stand behind the pixels; damage must show here, not pass for missing Exif
        orientation = orientation_of(image)
        stored_size, stored_least = (
            axes[::-1] if axes is not None and orientation in SIDEWAYS else axes for axes in (size, size or at_least)
        )
        if depth == "uint8":
            array = _read_8_bit(image, stored_size, gray=gray, at_least=stored_least)
        else:
            pixels = decode_16_bit_colour(Path(path), image) if deep_colour else deep_gray(image, raw_mode)
            array = fit_deep(pixels, np.dtype(depth), stored_size, gray=gray)
    return upright(array, orientation), facts


def _facts_of(image: Image.Image) -> ImageFacts:
    """Return what an image's header says; its pixels are not yet loaded."""
    width, height = image.size
    # Pillow decodes a whole PNG to look for Exif behind the pixels, where it hardly ever stands.
    if (image.format != "PNG" or "exif" in image.info) and orientation_of(image) in SIDEWAYS:
        width, height = height, width
    return ImageFacts(
        height=height,
        width=width,
        gray=_is_gray(image),
        depth=depth_of(image),
        alpha=image.mode in {"LA", "PA", "RGBA", "RGBa", "La"} or "transparency" in image.info,
        animated=image.format != "MPO" and bool(getattr(image, "is_animated", False)),
    )


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    """Open an image for its header; whatever goes wrong within the block is said as an `ItemError`."""
    # What Pillow warns of (odd metadata, a large image) either decodes or raises: the limit is checked below.
    with _told(), warnings.catch_warnings(), open_regular(path) as file:
        warnings.simplefilter("ignore")
        _check_not_empty(file)
        check_bands(file)
        with Image.open(file, formats=FORMATS) as image:
            _check_pixels(image)
            yield image


@contextmanager
def _told() -> Iterator[None]:
    """Say whatever goes wrong within the block as an `ItemError`."""
    try:
        yield
    except ItemError:
        raise
    except Image.DecompressionBombError as error:
        raise ItemError(f"has too many pixels; at most {MAX_PIXELS:,} are read: {error}") from error
    except PIL.UnidentifiedImageError as error:
        raise ItemError(f"is no image of a known format ({', '.join(FORMATS)}), or one of a kind that Pillow cannot read") from error
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:  # the system's, not a decoder's
            raise ItemError(f"cannot be read: {error.strerror}") from error
        # Decoders raise almost anything on damaged bytes; each means that this one file cannot be read.
        raise ItemError(f"cannot be decoded: {type(error).__name__}: {error}") from error


def _check_not_empty(file: BinaryIO) -> None:
    if not file.read(1):
        raise ItemError("is empty (0 bytes)")
    file.seek(0)


def _check_pixels(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise ItemError(f"has {image.width} x {image.height} pixels; at most {MAX_PIXELS:,} are read")


def _read_8_bit(image: Image.Image, size: tuple[int, int] | None, *, gray: bool, at_least: tuple[int, int] | None) -> AnyArray:
    mode = "L" if gray else "RGB"
    if image.format in _JPEGS:
        image.draft(mode if image.mode in {"L", "RGB"} else image.mode, None if at_least is None else at_least[::-1])
    converted = image if image.mode == mode else image.convert(mode)
    if size is not None and converted.size != size[::-1]:
        converted = converted.resize(size[::-1], Image.Resampling.BILINEAR)
    array = np.asarray(converted)
    return array.reshape(*array.shape[:2], 1 if gray else 3)  # (height, width, channel)


def _is_gray(image: Image.Image) -> bool:
    if image.mode in {"P", "PA"}:
        palette = np.asarray(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    if image.format == "PNG" and raw_mode_of(image).startswith("LA"):
        return True  # Pillow opens 16-bit grey with transparency as RGBA
    return image.mode in {"1", "L", "LA", "La", "I", "F"} or image.mode.startswith("I;16")
