"""The same raw data and recipe give the same bytes, whoever builds them, in whatever order, and from release to release.

`tests/golden/build` holds what a tiny source must become. A change there is a change of every user's fingerprints, so
all their shards are built again: it belongs in the changelog. To write it anew after such a change, build the source
of `write_golden_source` with the options below and copy `manifest.csv` and `dataset.json` there by hand.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from command_line import build, prep, random_pixels, set_age, snapshot, write_array, write_image

from manifests import load_manifest

GOLDEN = Path(__file__).parents[1] / "golden" / "build"


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write a PNG byte by byte, without compression: an encoder's next release must not change the file's size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    stored = b"\x78\x01\x01" + struct.pack("<HH", len(rows), len(rows) ^ 0xFFFF) + rows + struct.pack(">I", zlib.adler32(rows))
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", stored) + chunk(b"IEND", b""))


def write_bmp(path: Path, pixels: np.ndarray) -> None:
    """Write a 24-bit BMP byte by byte: rows from the bottom up, blue first, padded to four bytes."""
    height, width = pixels.shape[:2]
    padding = bytes(-3 * width % 4)
    rows = b"".join(row[:, ::-1].tobytes() + padding for row in pixels[::-1])
    header = struct.pack("<2sIHHI", b"BM", 54 + len(rows), 0, 0, 54)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(rows), 2835, 2835, 0, 0) + rows)


def golden_pixels(height: int, width: int, *, start: int) -> np.ndarray:
    """Return RGB pixels that anyone can work out: start, start + 7, start + 14, ... modulo 256."""
    return (start + 7 * np.arange(height * width * 3) % 256).astype(np.uint8).reshape(height, width, 3)


def write_golden_source(root: Path) -> Path:
    """Write three classes of two images each: colour, grey, odd widths, names that are not ASCII."""
    write_png(root / "cats" / "007.png", golden_pixels(2, 3, start=1))
    write_png(root / "cats" / "NA.png", golden_pixels(2, 3, start=2)[..., 0])
    write_bmp(root / "dogs" / "1e5.bmp", golden_pixels(2, 3, start=3))
    write_bmp(root / "dogs" / "a, b.bmp", golden_pixels(2, 3, start=4))
    write_png(root / "Vögel" / "Ü.png", golden_pixels(2, 3, start=5))
    write_bmp(root / "Vögel" / "null.bmp", golden_pixels(2, 3, start=6))
    for number, path in enumerate(sorted(root.rglob("*.*"))):
        set_age(path, 1_600_000_000 + number)
    return root


def shard_digests(out: Path) -> dict[str, str]:
    return {path: digest for path, digest in snapshot(out).items() if path.endswith(".npy")}


@pytest.fixture
def golden(tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The golden source, built here as by decoders of a version that never was: the real ones are part of dataset.json."""
    for library in ("PIL", "simplejpeg"):
        monkeypatch.setattr(f"{library}.__version__", "0.golden")
    build(write_golden_source(tmp_path / "raw"), out, "--split", "train=0.5,val=0.5", "--seed", "1", "--workers", "1")
    return out


@pytest.mark.parametrize("name", ["manifest.csv", "dataset.json"])
def test_the_golden_source_becomes_the_golden_dataset(name: str, golden: Path) -> None:
    assert (GOLDEN / name).is_file(), f"{GOLDEN / name} is missing; it is part of the project"
    assert (golden / name).read_bytes() == (GOLDEN / name).read_bytes()


def test_the_golden_shards_are_those_of_the_golden_manifest(golden: Path) -> None:
    manifest = load_manifest(GOLDEN / "manifest.csv").frame
    assert shard_digests(golden) == dict(manifest[["path", "sha256"]].to_numpy())


def test_the_golden_shards_hold_the_golden_pixels(golden: Path) -> None:
    manifest = load_manifest(golden)
    np.testing.assert_array_equal(manifest.load("cats/007"), golden_pixels(2, 3, start=1))
    np.testing.assert_array_equal(manifest.load("cats/NA"), golden_pixels(2, 3, start=2)[..., :1].repeat(3, axis=2))
    np.testing.assert_array_equal(manifest.load("dogs/1e5"), golden_pixels(2, 3, start=3))
    # The file as NumPy itself would write it: whoever has NumPy can read and make one.
    expected = golden / "expected.npy"
    np.save(expected, golden_pixels(2, 3, start=1))
    assert manifest.path_of("cats/007").read_bytes() == expected.read_bytes()


def mixed_source(root: Path, order: int) -> Path:
    """Write 150 images of several kinds, in an order that depends on `order`."""
    for number in np.random.default_rng(order).permutation(150):
        suffix = ("png", "bmp", "jpg")[number % 3]
        path = write_image(root / f"class{number % 4}" / f"{number}.{suffix}", seed=int(number), shape=(20 + number % 3, 30, 3))
        set_age(path, 1_000 + int(number))
    for name in ("broken.png", "empty.jpg"):
        (root / "class0" / name).write_bytes(b"")
    return root


@pytest.mark.slow
def test_neither_workers_nor_the_order_of_files_nor_history_change_a_byte(tmp_path: Path) -> None:
    options = ["--size", "8x9", "--split", "train=0.8,val=0.1,test=0.1", "--max-failures", "2"]
    source = mixed_source(tmp_path / "raw", order=0)
    built = []
    for workers in ("1", "2", "3"):
        assert prep("build-shards", source, tmp_path / workers, *options, "--workers", workers).code == 0
        built.append(snapshot(tmp_path / workers))
    other = mixed_source(tmp_path / "other", order=1)
    assert prep("build-shards", other, tmp_path / "shuffled", *options, "--workers", "2").code == 0
    built.append(snapshot(tmp_path / "shuffled"))
    # A build after which every shard is lost, and another.
    for shard in list((tmp_path / "3" / "shards").rglob("*.npy"))[::2]:
        shard.unlink()
    assert prep("build-shards", source, tmp_path / "3", *options, "--workers", "2").code == 0
    built.append(snapshot(tmp_path / "3"))
    assert len(built[0]) > 150
    assert all(files == built[0] for files in built)


def test_arrays_give_the_same_bytes_with_any_workers(tmp_path: Path) -> None:
    for number in range(140):
        path = write_array(tmp_path / "raw" / "x" / f"{number}.npy", random_pixels(number, (3, number % 5)).astype(">f4"))
        set_age(path, 1_000 + number)
    for workers in ("1", "2"):
        assert prep("build-shards", tmp_path / "raw", tmp_path / workers, "--workers", workers).code == 0
    assert snapshot(tmp_path / "1") == snapshot(tmp_path / "2")
    manifest = load_manifest(tmp_path / "1")
    assert manifest.load("x/7").dtype == np.dtype("<f4")
    assert hashlib.sha256(manifest.path_of("x/7").read_bytes()).hexdigest() == dict(manifest.frame[["id", "sha256"]].to_numpy())["x/7"]
