"""Images: every format and kind of pixel as a (height, width, channel) array, upright, and nothing worse than an `ItemError`."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import simplejpeg
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps, JpegImagePlugin

from prep.errors import ItemError
from prep.readers.images.header import ImageFacts
from prep.readers.images.jpeg import read_jpeg
from prep.readers.images.orientation import upright
from prep.readers.images.pixels import MAX_PIXELS, read_with_facts, survey_image

HEIGHT, WIDTH = 5, 7
ORIENTATION = 0x0112

_RNG = np.random.default_rng(0)
RGB8 = _RNG.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
ALPHA8 = _RNG.integers(0, 256, (HEIGHT, WIDTH, 1), dtype=np.uint8)
GRAY8 = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH, 1) * 7
BITS = (GRAY8 % 2 * 255).astype(np.uint8)
RGB16 = _RNG.integers(0, 65536, (HEIGHT, WIDTH, 3), dtype=np.uint16)
ALPHA16 = _RNG.integers(0, 65536, (HEIGHT, WIDTH, 1), dtype=np.uint16)
GRAY16 = _RNG.integers(0, 65536, (HEIGHT, WIDTH, 1), dtype=np.uint16)
INT16 = _RNG.integers(-32768, 32768, (HEIGHT, WIDTH, 1)).astype(np.int16)
INT32 = _RNG.integers(-(2**31), 2**31, (HEIGHT, WIDTH, 1)).astype(np.int32)
FLOAT32 = _RNG.normal(size=(HEIGHT, WIDTH, 1)).astype(np.float32)

Write = Callable[[Path], Any]


def read_image(path: Path, **options: Any) -> np.ndarray:
    return read_with_facts(path, **options)[0]


def pil(image: Image.Image, format_: str, **save: Any) -> Write:
    return lambda path: image.save(path, format_, **save)


def png16(*planes: Any) -> Write:
    return lambda path: path.write_bytes(imagecodecs.png_encode(np.concatenate(planes, axis=2)))


def tiff(array: Any, **write: Any) -> Write:
    return lambda path: tifffile.imwrite(path, array, **write)


def rgb(**_: Any) -> Image.Image:
    return Image.fromarray(RGB8)


def rgba() -> Image.Image:
    return Image.fromarray(np.concatenate([RGB8, ALPHA8], axis=2))


def gray() -> Image.Image:
    return Image.fromarray(GRAY8[..., 0])


def gray_alpha() -> Image.Image:
    return Image.merge("LA", [gray(), Image.fromarray(ALPHA8[..., 0])])


def one_bit() -> Image.Image:
    return Image.fromarray(BITS[..., 0]).convert("1")


def palette(*, colour: bool) -> Image.Image:
    """Entry i of the palette is the grey value 7i, or a colour with that red."""
    image = Image.fromarray((GRAY8 // 7)[..., 0]).convert("P")
    image.putpalette([channel for i in range(HEIGHT * WIDTH) for channel in ((7 * i, 255 - i, i) if colour else (7 * i,) * 3)])
    return image


PALETTE_RGB = np.concatenate([GRAY8, 255 - GRAY8 // 7, GRAY8 // 7], axis=2)

# name, how it is written, gray, depth, alpha, pixels
EXACT = [
    ("png-1-bit", pil(one_bit(), "PNG"), True, "uint8", False, BITS),
    ("png-gray", pil(gray(), "PNG"), True, "uint8", False, GRAY8),
    ("png-gray-alpha", pil(gray_alpha(), "PNG"), True, "uint8", True, GRAY8),
    ("png-rgb", pil(rgb(), "PNG"), False, "uint8", False, RGB8),
    ("png-rgba", pil(rgba(), "PNG"), False, "uint8", True, RGB8),
    ("png-gray-palette", pil(palette(colour=False), "PNG"), True, "uint8", False, GRAY8),
    ("png-palette", pil(palette(colour=True), "PNG"), False, "uint8", False, PALETTE_RGB),
    ("png-palette-with-transparency", pil(palette(colour=True), "PNG", transparency=3), False, "uint8", True, PALETTE_RGB),
    ("png-palette-with-alphas", pil(palette(colour=True), "PNG", transparency=bytes(range(35))), False, "uint8", True, PALETTE_RGB),
    ("png-16-bit-gray", png16(GRAY16), True, "uint16", False, GRAY16),
    ("png-16-bit-gray-alpha", png16(GRAY16, ALPHA16), True, "uint16", True, GRAY16),
    ("png-16-bit-rgb", png16(RGB16), False, "uint16", False, RGB16),
    ("png-16-bit-rgba", png16(RGB16, ALPHA16), False, "uint16", True, RGB16),
    ("bmp-1-bit", pil(one_bit(), "BMP"), True, "uint8", False, BITS),
    ("bmp-gray", pil(gray(), "BMP"), True, "uint8", False, GRAY8),
    ("bmp-rgb", pil(rgb(), "BMP"), False, "uint8", False, RGB8),
    ("bmp-palette", pil(palette(colour=True), "BMP"), False, "uint8", False, PALETTE_RGB),
    ("gif-gray", pil(gray(), "GIF"), True, "uint8", False, GRAY8),
    ("gif-palette", pil(palette(colour=True), "GIF"), False, "uint8", False, PALETTE_RGB),
    ("gif-palette-with-transparency", pil(palette(colour=True), "GIF", transparency=3), False, "uint8", True, PALETTE_RGB),
    ("tiff-1-bit", pil(one_bit(), "TIFF"), True, "uint8", False, BITS),
    ("tiff-gray", pil(gray(), "TIFF"), True, "uint8", False, GRAY8),
    ("tiff-gray-alpha", pil(gray_alpha(), "TIFF"), True, "uint8", True, GRAY8),
    ("tiff-gray-white-is-zero", tiff(255 - GRAY8[..., 0], photometric="miniswhite"), True, "uint8", False, GRAY8),
    ("tiff-rgb", pil(rgb(), "TIFF"), False, "uint8", False, RGB8),
    ("tiff-rgb-lzw", pil(rgb(), "TIFF", compression="tiff_lzw"), False, "uint8", False, RGB8),
    ("tiff-rgb-planes", tiff(np.moveaxis(RGB8, -1, 0), photometric="rgb", planarconfig="separate"), False, "uint8", False, RGB8),
    ("tiff-rgba", pil(rgba(), "TIFF"), False, "uint8", True, RGB8),
    ("tiff-palette", pil(palette(colour=True), "TIFF"), False, "uint8", False, PALETTE_RGB),
    ("tiff-16-bit-gray", tiff(GRAY16[..., 0]), True, "uint16", False, GRAY16),
    ("tiff-16-bit-gray-big-endian", tiff(GRAY16[..., 0], byteorder=">"), True, "uint16", False, GRAY16),
    ("tiff-16-bit-gray-deflate", tiff(GRAY16[..., 0], compression="zlib"), True, "uint16", False, GRAY16),
    ("tiff-16-bit-gray-white-is-zero", tiff(65535 - GRAY16[..., 0], photometric="miniswhite"), True, "uint16", False, GRAY16),
    ("tiff-16-bit-rgb", tiff(RGB16, photometric="rgb"), False, "uint16", False, RGB16),
    ("tiff-16-bit-rgb-big-endian", tiff(RGB16, photometric="rgb", byteorder=">"), False, "uint16", False, RGB16),
    ("tiff-16-bit-rgb-lzw", tiff(RGB16, photometric="rgb", compression="lzw"), False, "uint16", False, RGB16),
    ("tiff-16-bit-planes", tiff(np.moveaxis(RGB16, -1, 0), photometric="rgb", planarconfig="separate"), False, "uint16", False, RGB16),
    (
        "tiff-16-bit-rgba",
        tiff(np.concatenate([RGB16, ALPHA16], axis=2), photometric="rgb", extrasamples=["unassalpha"]),
        False,
        "uint16",
        True,
        RGB16,
    ),
    ("tiff-int16", tiff(INT16[..., 0]), True, "int32", False, INT16.astype(np.int32)),
    ("tiff-int32", tiff(INT32[..., 0]), True, "int32", False, INT32),
    ("tiff-float32", tiff(FLOAT32[..., 0]), True, "float32", False, FLOAT32),
    ("webp-rgb", pil(rgb(), "WEBP", lossless=True), False, "uint8", False, RGB8),
    ("webp-rgba", pil(rgba(), "WEBP", lossless=True, exact=True), False, "uint8", True, RGB8),
]
EXACT_IDS = [case[0] for case in EXACT]


def check_array(array: Any, shape: tuple[int, int, int], dtype: str) -> None:
    assert array.shape == shape
    assert array.dtype.name == dtype
    assert array.flags.c_contiguous


def encoded(image: Image.Image, format_: str, **save: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format_, **save)
    return file.getvalue()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a test writes its image; the ending says nothing of the content."""
    return tmp_path / "image.jpg"


# Every format and kind


@pytest.mark.parametrize(("name", "write", "is_gray", "depth", "alpha", "pixels"), EXACT, ids=EXACT_IDS)
def test_an_image_is_read_exactly(
    path: Path, name: str, write: Write, is_gray: bool, depth: str, alpha: bool, pixels: Any
) -> None:  # a table's columns
    write(path)
    assert survey_image(path) == ImageFacts(height=HEIGHT, width=WIDTH, gray=is_gray, depth=depth, alpha=alpha, animated=False)  # type: ignore[arg-type]
    array = read_image(path, size=None, gray=is_gray)
    check_array(array, (HEIGHT, WIDTH, 1 if is_gray else 3), depth)
    np.testing.assert_array_equal(array, pixels)


@pytest.mark.parametrize(("name", "write", "is_gray", "depth", "alpha", "pixels"), EXACT, ids=EXACT_IDS)
def test_grey_becomes_three_equal_channels_and_colour_becomes_luma(
    path: Path,
    name: str,
    write: Write,
    is_gray: bool,  # a table's columns
    depth: str,
    alpha: bool,
    pixels: Any,
) -> None:
    write(path)
    array = read_image(path, size=None, gray=not is_gray)
    check_array(array, (HEIGHT, WIDTH, 3 if is_gray else 1), depth)
    if is_gray:
        np.testing.assert_array_equal(array, np.repeat(pixels, 3, axis=2))
    else:
        luma = pixels.astype(float) @ [0.299, 0.587, 0.114]
        np.testing.assert_allclose(array[..., 0], luma, atol=1)


@pytest.mark.parametrize(("name", "write", "is_gray", "depth", "alpha", "pixels"), EXACT, ids=EXACT_IDS)
def test_a_size_is_reached_whatever_the_kind(
    path: Path,
    name: str,
    write: Write,
    is_gray: bool,  # a table's columns
    depth: str,
    alpha: bool,
    pixels: Any,
) -> None:
    write(path)
    array = read_image(path, size=(4, 9), gray=is_gray)
    check_array(array, (4, 9, 1 if is_gray else 3), depth)
    assert array.min() >= pixels.min()
    assert array.max() <= pixels.max()


def random_pixels(shape: tuple[int, ...]) -> Any:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


BANDS: dict[str, tuple[Write, int, int]] = {
    "grey and four": (tiff(random_pixels((5, 7, 5)), photometric="minisblack", planarconfig="contig"), 5, 1),
    "grey and one": (tiff(random_pixels((5, 7, 2)), photometric="minisblack", extrasamples=["unspecified"]), 2, 1),
    "rgb and near infrared": (tiff(random_pixels((5, 7, 4)), photometric="rgb", extrasamples=["unspecified"]), 4, 3),
    "rgb and two": (tiff(random_pixels((5, 7, 5)), photometric="rgb"), 5, 3),
    "rgb, transparency and one": (tiff(random_pixels((5, 7, 5)), photometric="rgb", extrasamples=["unassalpha", "unspecified"]), 5, 3),
    "planes": (tiff(random_pixels((6, 5, 7)), photometric="rgb", planarconfig="separate"), 6, 3),
    "16 bits": (tiff(random_pixels((5, 7, 6)).astype(np.uint16), photometric="rgb", planarconfig="contig"), 6, 3),
    "16 bits, grey": (tiff(random_pixels((5, 7, 4)).astype(np.uint16), photometric="minisblack", planarconfig="contig"), 4, 1),
    "32 bits": (tiff(random_pixels((5, 7, 3)).astype(np.float32), photometric="minisblack", planarconfig="contig"), 3, 1),
    "big endian": (tiff(random_pixels((5, 7, 5)), photometric="rgb", byteorder=">"), 5, 3),
    "BigTIFF": (tiff(random_pixels((5, 7, 5)), photometric="rgb", bigtiff=True), 5, 3),
    "inks and one": (tiff(random_pixels((5, 7, 5)), photometric="separated"), 5, 4),
}


@pytest.mark.parametrize("name", BANDS)
def test_a_tiff_with_bands_that_would_be_dropped_is_refused(name: str, path: Path) -> None:
    write, bands, colours = BANDS[name]
    write(path)
    for read in (survey_image, lambda path: read_image(path, size=None, gray=False), lambda path: read_image(path, size=(2, 2), gray=True)):
        with pytest.raises(ItemError, match=rf"has {bands} bands, of which {bands - colours} .*expected {colours} band.*\.npy file"):
            read(path)


def test_a_tiff_of_inks_is_read(path: Path) -> None:
    Image.fromarray(random_pixels((5, 7, 4)), "CMYK").save(path, "TIFF")
    assert read_image(path, size=None, gray=False).shape == (5, 7, 3)


@pytest.mark.parametrize("write", [png16(GRAY16), png16(RGB16), tiff(GRAY16[..., 0]), tiff(RGB16, photometric="rgb")])
def test_16_bits_are_resized_as_pillow_resizes_floats(path: Path, write: Write) -> None:
    write(path)
    is_gray = survey_image(path).gray
    full = read_image(path, size=None, gray=is_gray).astype(np.float32)
    wanted = [Image.fromarray(plane).resize((3, 4), Image.Resampling.BILINEAR) for plane in np.moveaxis(full, -1, 0)]
    np.testing.assert_array_equal(read_image(path, size=(4, 3), gray=is_gray), np.rint(np.stack(list(map(np.asarray, wanted)), axis=-1)))


@pytest.mark.parametrize("edge", [0, 65535])
def test_resizing_16_bits_does_not_overflow(path: Path, edge: int) -> None:
    tiff(np.full((9, 9), edge, np.uint16))(path)
    np.testing.assert_array_equal(read_image(path, size=(4, 4), gray=True), np.full((4, 4, 1), edge))


def test_a_5_6_5_bmp_has_8_bits_a_channel(path: Path) -> None:
    pixels = struct.pack("<4H", 0xFFFF, 0xF800, 0x07E0, 0x001F)  # white, red, green, blue; 4 x 1 pixels
    info = struct.pack("<IiiHHIIiiII", 40, 4, 1, 1, 16, 3, len(pixels), 0, 0, 0, 0) + struct.pack("<3I", 0xF800, 0x07E0, 0x001F)
    path.write_bytes(b"BM" + struct.pack("<IHHI", 14 + len(info) + len(pixels), 0, 0, 14 + len(info)) + info + pixels)
    assert survey_image(path).depth == "uint8"
    wanted = [[255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]
    np.testing.assert_array_equal(read_image(path, size=None, gray=False), [wanted])


def smooth(height: int, width: int) -> Image.Image:
    """A picture whose neighbours are alike, as a photograph's are."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / 17 + phase) * 60 + np.cos(y / 23 - phase) * 60 + 128 for phase in (0, 1, 2)]
    return Image.fromarray(np.stack(waves, axis=-1).round().astype(np.uint8))


@pytest.mark.parametrize(
    ("image", "is_gray"),
    [(smooth(48, 64), False), (smooth(48, 64).convert("L"), True), (smooth(48, 64).convert("CMYK"), False)],
    ids=["rgb", "gray", "cmyk"],
)
def test_a_jpeg_is_read_as_pillow_reads_it(path: Path, image: Image.Image, is_gray: bool) -> None:  # a table's column
    image.save(path, "JPEG", quality=95)
    assert survey_image(path) == ImageFacts(height=48, width=64, gray=is_gray, depth="uint8", alpha=False, animated=False)
    array = read_image(path, size=None, gray=is_gray)
    check_array(array, (48, 64, 1 if is_gray else 3), "uint8")
    with Image.open(path) as opened:
        wanted = np.asarray(opened.convert("L" if is_gray else "RGB")).reshape(array.shape)
    np.testing.assert_array_equal(array, wanted)


def test_the_preview_in_an_mpo_is_no_second_frame(path: Path) -> None:
    smooth(48, 64).save(path, "MPO", save_all=True, append_images=[smooth(12, 16)])
    assert survey_image(path) == ImageFacts(height=48, width=64, gray=False, depth="uint8", alpha=False, animated=False)
    check_array(read_image(path, size=(20, 10), gray=False), (20, 10, 3), "uint8")


@pytest.mark.parametrize(("format_", "save"), [("GIF", {}), ("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})])
def test_of_several_frames_the_first_is_taken(path: Path, format_: str, save: dict[str, Any]) -> None:
    first, second = Image.new("RGB", (4, 3), (255, 0, 0)), Image.new("RGB", (4, 3), (0, 0, 255))
    first.save(path, format_, save_all=True, append_images=[second], **save)
    assert survey_image(path).animated
    np.testing.assert_array_equal(read_image(path, size=None, gray=False), np.broadcast_to([255, 0, 0], (3, 4, 3)))


def test_the_content_and_not_the_ending_says_what_a_file_is(tmp_path: Path) -> None:
    for ending in (".jpg", ".gif", ".TIFF", ""):
        path = tmp_path / f"image{ending}"
        rgb().save(path, "PNG")
        np.testing.assert_array_equal(read_image(path, size=None, gray=False), RGB8)


# Which way is up


def turned(array: Any, orientation: int) -> Any:
    """The upright array, as the table of Exif 2.3 has it: where the first row and the first column of the file are."""
    where = {
        1: array,
        2: np.fliplr(array),
        3: np.flipud(np.fliplr(array)),
        4: np.flipud(array),
        5: np.swapaxes(array, 0, 1),
        6: np.fliplr(np.swapaxes(array, 0, 1)),
        7: np.flipud(np.fliplr(np.swapaxes(array, 0, 1))),
        8: np.flipud(np.swapaxes(array, 0, 1)),
    }
    return where[orientation]


def save_oriented(array: Any, path: Path, format_: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    save: dict[str, Any] = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(format_, {})
    Image.fromarray(array).save(path, format_, exif=exif, **save)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_exif_orientation_is_honoured(path: Path, format_: str, orientation: int) -> None:
    array = np.asarray(smooth(24, 40)) if format_ == "JPEG" else RGB8
    save_oriented(array, path, format_, orientation)
    wanted = turned(array, orientation)
    facts, pixels = survey_image(path), read_image(path, size=None, gray=False)
    assert (facts.height, facts.width) == wanted.shape[:2]
    check_array(pixels, wanted.shape, "uint8")
    np.testing.assert_allclose(pixels.astype(int), wanted.astype(int), atol=12 if format_ == "JPEG" else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("planes", [False, True], ids=["chunky", "planes"])
def test_the_orientation_of_a_16_bit_tiff_is_honoured(path: Path, planes: bool, orientation: int) -> None:  # a table's column
    tag = (ORIENTATION, "H", 1, orientation, True)
    stored = np.moveaxis(RGB16, -1, 0) if planes else RGB16
    tifffile.imwrite(path, stored, photometric="rgb", planarconfig="separate" if planes else "contig", extratags=[tag])
    wanted = turned(RGB16, orientation)
    facts = survey_image(path)
    assert (facts.height, facts.width, facts.depth) == (*wanted.shape[:2], "uint16")
    np.testing.assert_array_equal(read_image(path, size=None, gray=False), wanted)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("inverted", [False, True], ids=["black-is-zero", "white-is-zero"])
def test_the_orientation_of_a_16_bit_grey_tiff_is_honoured(path: Path, inverted: bool, orientation: int) -> None:  # a table's column
    stored = 65535 - GRAY16 if inverted else GRAY16
    tag = (ORIENTATION, "H", 1, orientation, True)
    tifffile.imwrite(path, stored[..., 0], photometric="miniswhite" if inverted else "minisblack", extratags=[tag])
    np.testing.assert_array_equal(read_image(path, size=None, gray=True), turned(GRAY16, orientation))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_size_is_that_of_the_upright_image(path: Path, format_: str, orientation: int) -> None:
    array = np.asarray(smooth(120, 80))
    save_oriented(array, path, format_, orientation)
    upright = Image.fromarray(np.ascontiguousarray(turned(array, orientation)))
    wanted = np.asarray(upright.resize((20, 30), Image.Resampling.BILINEAR))
    found = read_image(path, size=(30, 20), gray=False)
    check_array(found, (30, 20, 3), "uint8")
    assert np.abs(found.astype(int) - wanted).mean() < 2


def test_an_orientation_behind_the_pixels_of_a_png_is_honoured(path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = encoded(rgb(), "PNG", exif=exif)
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    closing = data.index(b"IEND") - 4
    path.write_bytes(data[:start] + data[end:closing] + data[start:end] + data[closing:])
    np.testing.assert_array_equal(read_image(path, size=None, gray=False), turned(RGB8, 6))


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0nonsense", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"])
def test_damaged_exif_does_not_spoil_the_pixels(path: Path, exif: bytes) -> None:
    smooth(24, 40).save(path, "JPEG", exif=exif)
    check_array(read_image(path, size=None, gray=False), (24, 40, 3), "uint8")
    assert survey_image(path).height == 24


def test_exif_that_breaks_its_reader_does_not_spoil_the_pixels(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Image.Image) -> None:
        raise SyntaxError("not a TIFF file")

    monkeypatch.setattr(Image.Image, "getexif", fail)
    rgb().save(path, "WEBP", lossless=True, exif=b"")
    np.testing.assert_array_equal(read_image(path, size=None, gray=False), RGB8)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_there_is_not_counts_as_upright(path: Path, value: int) -> None:
    save_oriented(RGB8, path, "PNG", value)
    np.testing.assert_array_equal(read_image(path, size=None, gray=False), RGB8)


@given(st.integers(1, 8))
def test_turning_agrees_with_pillow(orientation: int) -> None:
    image = rgb()
    image.getexif()[ORIENTATION] = orientation
    np.testing.assert_array_equal(upright(RGB8, orientation), np.asarray(ImageOps.exif_transpose(image)))


# The smallest DCT scale that suffices


@pytest.fixture
def decoded_sizes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The (width, height) at which each JPEG's pixels are decoded, by whichever decoder."""
    sizes: list[tuple[int, int]] = []
    load, decode = ImageFile.ImageFile.load, simplejpeg.decode_jpeg

    def decoding(*args: Any, **options: Any) -> Any:
        array = decode(*args, **options)
        sizes.append(array.shape[1::-1])
        return array

    def spy(self: ImageFile.ImageFile) -> Any:
        if isinstance(self, JpegImagePlugin.JpegImageFile) and self.tile:
            sizes.append(self.size)
        return load(self)

    monkeypatch.setattr(ImageFile.ImageFile, "load", spy)
    monkeypatch.setattr(simplejpeg, "decode_jpeg", decoding)
    return sizes


@pytest.mark.parametrize("is_gray", [False, True], ids=["rgb", "gray"])
@pytest.mark.parametrize(
    ("size", "decoded"),
    [
        (None, (640, 480)),
        ((480, 640), (640, 480)),
        ((241, 320), (640, 480)),
        ((240, 320), (320, 240)),
        ((120, 100), (160, 120)),
        ((60, 80), (80, 60)),
        ((61, 80), (160, 120)),
        ((8, 8), (80, 60)),
        ((960, 1280), (640, 480)),
    ],
)
def test_a_jpeg_is_decoded_at_the_smallest_scale_not_below_the_size(
    path: Path,
    decoded_sizes: list[tuple[int, int]],
    size: tuple[int, int] | None,
    decoded: tuple[int, int],
    is_gray: bool,  # a table's column
) -> None:
    smooth(480, 640).save(path, "JPEG")
    array = read_image(path, size=size, gray=is_gray)
    assert decoded_sizes == [decoded]
    check_array(array, (*(size or (480, 640)), 1 if is_gray else 3), "uint8")


def test_the_scale_fits_an_image_that_lies_on_its_side(path: Path, decoded_sizes: list[tuple[int, int]]) -> None:
    save_oriented(np.asarray(smooth(480, 640)), path, "JPEG", 6)  # upright: 640 high, 480 wide
    read_image(path, size=(320, 60), gray=False)
    assert decoded_sizes == [(320, 240)]


@pytest.mark.parametrize("kind", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("size", [(200, 300), (100, 150), (32, 32), (17, 90)])
def test_a_scaled_decode_is_close_to_a_full_one(path: Path, kind: str, size: tuple[int, int]) -> None:
    smooth(480, 640).convert(kind).save(path, "JPEG", quality=95)
    mode = "L" if kind == "L" else "RGB"
    with Image.open(path) as image:
        wanted = np.asarray(image.convert(mode).resize(size[::-1], Image.Resampling.BILINEAR)).reshape(*size, -1)
    found = read_image(path, size=size, gray=kind == "L")
    assert np.abs(found.astype(int) - wanted).mean() < 1.5


@pytest.mark.parametrize("is_gray", [False, True], ids=["rgb", "gray"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("size", [None, (480, 640), (240, 320), (239, 200), (60, 80), (32, 32), (17, 90), (900, 20)])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 1, "quality": 30}], ids=str)
def test_both_decoders_give_the_same_pixels(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    size: tuple[int, int] | None,
    orientation: int,
    is_gray: bool,  # a table's column
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    smooth(480, 640).save(path, "JPEG", exif=exif, **options)
    found = read_image(path, size=size, gray=is_gray)
    assert read_jpeg(path, size=size, gray=is_gray) is not None
    monkeypatch.setattr("prep.readers.images.pixels.read_jpeg", lambda *_, **__: None)
    np.testing.assert_array_equal(found, read_image(path, size=size, gray=is_gray))
    monkeypatch.undo()
    assert read_with_facts(path, size=size, gray=is_gray)[1] == survey_image(path)


def jpeg(**options: Any) -> bytes:
    file = io.BytesIO()
    smooth(48, 64).save(file, "JPEG", **options)
    return file.getvalue()


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


@pytest.mark.parametrize("filling", [b"", b"\xff", b"\xff\xff\xff"], ids=["none", "one", "three"])
@pytest.mark.parametrize(
    "before", [b"", segment(0xE0, b"JFXX\0\x10" + jpeg()), segment(0xED, b"Photoshop 3.0\0" + jpeg())], ids=["none", "JFXX", "IRB"]
)
def test_exif_is_found_wherever_it_stands_before_the_pixels(path: Path, before: bytes, filling: bytes) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path.write_bytes(b"\xff\xd8" + before + filling + segment(0xE1, exif.tobytes()) + jpeg()[2:])
    assert read_image(path, size=None, gray=False).shape == (64, 48, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_that_stands_in_xmp_counts_as_for_pillow(path: Path, monkeypatch: pytest.MonkeyPatch, orientation: int) -> None:
    xmp = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="{orientation}"/></x:xmpmeta>'
    path.write_bytes(b"\xff\xd8" + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp.encode()) + jpeg()[2:])
    found, facts = read_with_facts(path, size=None, gray=False)
    assert facts == survey_image(path)
    monkeypatch.setattr("prep.readers.images.pixels.read_jpeg", lambda *_, **__: None)
    np.testing.assert_array_equal(found, read_image(path, size=None, gray=False))


@pytest.mark.parametrize("side", [*range(1, 18), 31, 33])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (8, 8)])
def test_the_smallest_images_are_those_of_pillow_too(path: Path, monkeypatch: pytest.MonkeyPatch, side: int, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(side)
    for height, width in ((side, side), (side, 40), (40, side)):
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path, "JPEG")
        found = read_image(path, size=size, gray=False)
        with monkeypatch.context() as patch:
            patch.setattr("prep.readers.images.pixels.read_jpeg", lambda *_, **__: None)
            np.testing.assert_array_equal(found, read_image(path, size=size, gray=False))


@pytest.mark.parametrize("damage", [slice(0, 700), slice(0, -2)], ids=["cut short", "no end"])
def test_what_the_decoder_warns_of_is_left_to_pillow(path: Path, damage: slice) -> None:
    path.write_bytes(jpeg()[damage])
    assert read_jpeg(path, size=None, gray=False) is None


# What is refused


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of 8-bit grey with a header of one's own."""
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    parts = [struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in (header, *chunks)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.fixture
def no_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it a failure to decode any pixel."""

    def refuse(self: ImageFile.ImageFile) -> None:
        pytest.fail(f"decodes an image of {self.size}")

    monkeypatch.setattr(ImageFile.ImageFile, "load", refuse)


@pytest.mark.usefixtures("no_decode")
@pytest.mark.parametrize(
    ("width", "height"), [(50_000, 50_000), (MAX_PIXELS + 1, 1), (13_378, 13_378), (1, MAX_PIXELS + 1), (20_000, 15_000)]
)
@pytest.mark.parametrize("read", [survey_image, lambda path: read_image(path, size=(8, 8), gray=True)], ids=["survey", "read"])
def test_too_many_pixels_are_refused_before_decoding(path: Path, read: Callable[[Path], Any], width: int, height: int) -> None:
    path.write_bytes(png(width, height, (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")))
    with pytest.raises(ItemError, match=r"pixels; at most 178,956,970 are read"):
        read(path)


@pytest.mark.usefixtures("no_decode")
def test_the_limit_holds_whatever_pillows_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    path.write_bytes(png(50_000, 50_000, (b"IDAT", b""), (b"IEND", b"")))
    with pytest.raises(ItemError, match="has 50000 x 50000 pixels; at most 178,956,970 are read"):
        survey_image(path)


@pytest.mark.usefixtures("no_decode")
def test_the_survey_decodes_nothing(path: Path) -> None:
    path.write_bytes(png(13_377, 13_377, (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")))
    assert survey_image(path).height == 13_377


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"\0", "is no image of a known format"),
        (b"\x93NUMPY\x01\0", "is no image of a known format"),
        (b"Not an image, but a text.\n" * 40, "is no image of a known format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is no image of a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "is no image of a known format"),
        (b"P5 2 2 255 abcd", "is no image of a known format"),
        (_RNG.bytes(5000), "is no image of a known format"),
        (b"\xff\xd8\xff\xe0" + bytes(100), "cannot be decoded|is no image"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "cannot be decoded|is no image"),
    ],
)
@pytest.mark.parametrize("read", [survey_image, lambda path: read_image(path, size=None, gray=False)], ids=["survey", "read"])
def test_what_is_no_image_is_refused(path: Path, read: Callable[[Path], Any], content: bytes, why: str) -> None:
    path.write_bytes(content)
    with pytest.raises(ItemError, match=why):
        read(path)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9])
@pytest.mark.parametrize(("format_", "save"), [("PNG", {}), ("JPEG", {}), ("BMP", {}), ("GIF", {}), ("TIFF", {}), ("WEBP", {})])
@pytest.mark.parametrize("size", [None, (8, 8)])
def test_a_truncated_image_is_refused(path: Path, format_: str, save: dict[str, Any], share: float, size: tuple[int, int] | None) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 48, 3), dtype=np.uint8))
    data = encoded(noise, format_, **save)
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ItemError):
        read_image(path, size=size, gray=False)


@pytest.mark.parametrize("write", [png16(RGB16), png16(GRAY16), tiff(RGB16, photometric="rgb"), tiff(GRAY16[..., 0])])
def test_a_truncated_16_bit_image_is_refused(path: Path, write: Write) -> None:
    write(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ItemError):
        read_image(path, size=None, gray=False)


def test_unsigned_32_bits_are_read_up_to_what_pillow_holds(path: Path) -> None:
    tifffile.imwrite(path, np.array([[0, 2**31 - 1]], np.uint32))
    np.testing.assert_array_equal(read_image(path, size=None, gray=True)[..., 0], [[0, 2**31 - 1]])
    tifffile.imwrite(path, np.array([[0, 2**31]], np.uint32))
    with pytest.raises(ItemError, match="unsigned 32-bit"):
        read_image(path, size=None, gray=True)


def test_16_bit_cmyk_is_refused_rather_than_reduced(path: Path) -> None:
    tifffile.imwrite(path, np.concatenate([RGB16, ALPHA16], axis=2), photometric="separated")
    with pytest.raises(ItemError, match="not RGB"):
        read_image(path, size=None, gray=False)


def test_a_file_that_is_not_there_is_a_bad_item(path: Path) -> None:
    with pytest.raises(ItemError) as caught:
        survey_image(path)
    assert str(caught.value) == "cannot be read: No such file or directory"  # without the path, which may be this machine's own


@pytest.mark.parametrize("write", [png16(RGB16), tiff(RGB16, photometric="rgb")], ids=["PNG", "TIFF"])
def test_without_imagecodecs_16_bit_colour_names_the_extra(monkeypatch: pytest.MonkeyPatch, path: Path, write: Write) -> None:
    write(path)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    assert survey_image(path).depth == "uint16"
    with pytest.raises(ItemError, match=r"pip install 'shardfeed\[images16\]'"):
        read_image(path, size=None, gray=False)


@pytest.mark.parametrize("write", [png16(GRAY16), tiff(GRAY16[..., 0])], ids=["PNG", "TIFF"])
def test_16_bit_grey_needs_no_imagecodecs(monkeypatch: pytest.MonkeyPatch, path: Path, write: Write) -> None:
    write(path)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    np.testing.assert_array_equal(read_image(path, size=None, gray=True), GRAY16)


def test_pillows_warnings_stay_inside(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # an image of 35 pixels now makes Pillow warn
    rgb().save(path, "PNG")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        survey_image(path)
        read_image(path, size=None, gray=False)
    assert seen == []


def test_the_users_own_filters_are_as_before(path: Path) -> None:
    rgb().save(path, "PNG")
    before = list(warnings.filters)
    read_image(path, size=None, gray=False)
    assert list(warnings.filters) == before


_SAMPLES = [encoded(smooth(24, 40), format_) for format_ in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")]
_SAMPLES += [imagecodecs.png_encode(RGB16)]


@settings(max_examples=150)
@given(st.sampled_from(_SAMPLES), st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=6))
def test_a_damaged_image_is_read_or_is_a_bad_item(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, flips: list[tuple[float, int]]
) -> None:
    damaged = bytearray(data)
    for where, bits in flips:
        damaged[int(where * len(damaged))] ^= bits
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(damaged)
    with contextlib.suppress(ItemError):  # and no other error
        survey_image(path)
        assert read_image(path, size=(6, 5), gray=False).shape == (6, 5, 3)


def test_a_named_pipe_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "pipe.png"
    os.mkfifo(path)
    for read in (survey_image, lambda path: read_image(path, size=None, gray=False)):
        with pytest.raises(ItemError, match=r"^cannot be read: is no regular file$"):
            read(path)
