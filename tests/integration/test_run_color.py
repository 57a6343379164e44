"""`--color auto` is decided by the first build and stays; what is otherwise is named, and what cannot be decoded decides nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from command_line import build, prep, random_pixels, snapshot, start_prep, until, write_image
from PIL import Image

from manifests import load_manifest


def channels(out: Path) -> int:
    array = load_manifest(out).array
    assert array is not None
    assert array.shape is not None
    return array.shape[-1] or 0


def write_gray(raw: Path, *numbers: int) -> None:
    for number in numbers:
        write_image(raw / "x" / f"{number:03d}.png", seed=number, shape=(6, 8))


def write_broken(path: Path, seed: int = 0) -> Path:
    """Write an image in colour with a sound header, of which the pixels are cut off."""
    write_image(path, seed=seed, shape=(60, 80, 3))
    os.truncate(path, path.stat().st_size // 2)
    return path


@pytest.fixture
def gray(raw: Path, out: Path) -> Path:
    """Twenty grey images, and a dataset of them in `out`."""
    write_gray(raw, *range(20))
    assert "color: gray, 1 channel, as every image is grey" in build(raw, out).err
    return raw


@pytest.mark.parametrize("flags", [(), ("--color", "auto")])
def test_a_colour_image_among_grey_ones_changes_no_other_and_is_named(flags: tuple[str, ...], gray: Path, out: Path) -> None:
    write_image(gray / "x" / "odd.png", seed=99)
    outcome = build(gray, out, *flags)
    assert (
        "color: gray, 1 channel, as in the dataset that is there, though 1 of 21 images is in colour: 'x/odd'; --color rgb" in outcome.err
    )
    assert "1 added + 0 rebuilt + 20 kept" in outcome.out
    assert channels(out) == 1
    with Image.open(gray / "x" / "odd.png") as image:
        np.testing.assert_array_equal(load_manifest(out).load("x/odd")[..., 0], np.asarray(image.convert("L")))
    before = snapshot(out)
    assert "21 kept" in build(gray, out).out
    assert snapshot(out) == before


@pytest.mark.parametrize("flags", [("--forget", "color"), ("--color", "rgb")])
def test_all_becomes_colour_when_that_is_asked_for(flags: tuple[str, ...], gray: Path, out: Path) -> None:
    write_image(gray / "x" / "odd.png", seed=99)
    build(gray, out)
    assert "0 added + 21 rebuilt + 0 kept" in build(gray, out, *flags).out
    assert channels(out) == 3
    assert "21 kept" in build(gray, out).out


def test_a_retry_takes_a_colour_image_as_the_others_are_and_names_it(gray: Path, out: Path) -> None:
    (gray / "x" / "odd.png").write_bytes(b"")
    assert prep("build-shards", gray, out, "--workers", "1").code == 1
    write_image(gray / "x" / "odd.png", seed=99)
    outcome = prep("retry", out)
    assert outcome.code == 0
    assert "though 1 of 21 images is in colour: 'x/odd'" in outcome.err.replace("x/odd.png", "x/odd")
    assert channels(out) == 1


def test_a_dataset_in_colour_stays_so_when_its_only_image_in_colour_breaks(raw: Path, out: Path) -> None:
    write_gray(raw, *range(20))
    odd = write_image(raw / "x" / "odd.png", seed=99)
    first = build(raw, out)
    assert "color: rgb, 3 channels, as 1 of 21 images is in colour: 'x/odd'; --color gray makes one channel of all" in first.err
    odd.write_bytes(b"")
    outcome = prep("build-shards", raw, out, "--workers", "1", "--max-failures", "1")
    assert "color: rgb, 3 channels, as in the dataset that is there, though every image is grey; --color gray" in outcome.err
    assert "20 kept" in outcome.out
    assert channels(out) == 3


def test_the_first_build_names_a_grey_image_among_many_in_colour(raw: Path, out: Path) -> None:
    for number in range(20):
        write_image(raw / "x" / f"c{number:03d}.png", seed=number)
    assert "color: rgb, 3 channels, as every image is in colour" in build(raw, out.with_name("all")).err
    write_gray(raw, 7)
    assert "color: rgb, 3 channels, as 1 of 21 images is grey: 'x/007'; --color gray" in build(raw, out).err


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("count", [1, 7])
def test_what_cannot_be_decoded_decides_nothing(workers: str, count: int, raw: Path, out: Path) -> None:
    write_gray(raw, *range(10))
    for number in range(count):
        write_broken(raw / "x" / f"broken{number}.png", seed=number)
    outcome = prep("build-shards", raw, out, "--workers", workers)
    assert (outcome.code, channels(out)) == (1, 1), outcome.err
    assert "color: gray, 1 channel, as every image is grey" in outcome.err
    assert f"10 added + 0 rebuilt + 0 kept + {count} failed" in outcome.out
    write_image(raw / "x" / "sound.png", seed=50)
    prep("build-shards", raw, out.with_name("new"), "--workers", workers)
    assert channels(out.with_name("new")) == 3


def test_a_build_that_was_killed_decides_as_one_that_was_not(raw: Path, out: Path) -> None:
    for number in range(600):
        Image.fromarray(random_pixels(number, (6, 8))).save(write_image(raw / "x" / f"{number:04d}.png"))
    write_broken(raw / "x" / "a-broken.png")
    write_image(raw / "x" / "b-odd.png", seed=99)
    prep("build-shards", raw, out.with_name("whole"), "--workers", "2")
    with start_prep("build-shards", raw, out, "--workers", "2") as process:
        until(lambda: any((out / ".prep").glob("build-*/parts/*.part")) or process.poll() is not None, "the first part")
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    prep("build-shards", raw, out, "--workers", "1")
    assert channels(out) == 3
    assert snapshot(out) == snapshot(out.with_name("whole"))
