"""Headers of images that are read along with their pixels: what is told and refused is the same as when they are read before."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from command_line import build, check_refused, prep, random_pixels, set_age, snapshot, start_prep, until, write_image
from PIL import Image

from manifests.rows.buffers import few_valued
from prep.build.state.sealed import read_sealed, sealed_bytes
from prep.readers.images.pixels import read_with_facts

GIVEN = ("--color", "rgb", "--dtype", "uint8", "--size", "8x9")


def source_of(root: Path, count: int = 6) -> Path:
    """Write images of every kind that the survey tells of."""
    for number in range(count):
        suffix = ("png", "jpg", "bmp")[number % 3]
        set_age(write_image(root / f"class{number % 2}" / f"{number:03d}.{suffix}", seed=number, shape=(20 + number % 2, 30, 3)), 1_000)
    Image.fromarray(random_pixels(0, (5, 5))).save(root / "class0" / "gray.png")
    Image.fromarray(random_pixels(0, (5, 5, 4))).save(root / "class0" / "clear.png")
    frames = [Image.fromarray(random_pixels(seed, (5, 5))) for seed in range(3)]
    frames[0].save(root / "class1" / "moves.gif", save_all=True, append_images=frames[1:])
    (root / "class1" / "broken.png").write_bytes(b"no image")
    return root


def survey_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(("images:", "transparency:", "frames:", "size:"))]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return source_of(tmp_path / "raw")


@pytest.fixture
def told(source: Path, tmp_path: Path) -> list[str]:
    """What a plan, which reads the headers first, tells of these images."""
    lines = survey_lines(prep("plan", source, tmp_path / "nowhere", *GIVEN).err)
    assert len(lines) == 3
    return lines


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_same_is_told_after_the_build(workers: str, source: Path, told: list[str], tmp_path: Path) -> None:
    outcome = prep("build-shards", source, tmp_path / "data", *GIVEN, "--max-failures", "1", "--workers", workers)
    assert outcome.code == 0
    assert survey_lines(outcome.err) == told


def test_the_same_is_told_when_nothing_is_left_to_build(source: Path, told: list[str], tmp_path: Path) -> None:
    build(source, tmp_path / "data", *GIVEN, "--max-failures", "1")
    again = prep("build-shards", source, tmp_path / "data", "--max-failures", "1")
    assert survey_lines(again.err) == told
    shutil.rmtree(tmp_path / "data" / ".prep")
    (source / "class1" / "broken.png").unlink()
    assert survey_lines(prep("build-shards", source, tmp_path / "data").err) == told
    assert survey_lines(prep("build-shards", source, tmp_path / "data").err) == told


def test_each_image_is_opened_once(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prep.readers.images.reader.survey_image", None)
    assert prep("build-shards", source, tmp_path / "data", *GIVEN, "--max-failures", "1", "--workers", "1").code == 0


def test_failures_are_told_alike_whenever_headers_are_read(source: Path, tmp_path: Path) -> None:
    for out, options in (("late", GIVEN), ("early", GIVEN[2:])):
        prep("build-shards", source, tmp_path / out, *options, "--max-failures", "1")
    assert (tmp_path / "late" / "failures.csv").read_bytes() == (tmp_path / "early" / "failures.csv").read_bytes()


def write_deep(path: Path) -> Path:
    Image.fromarray(np.ones((5, 5), np.float32)).save(path)
    return path


@pytest.mark.parametrize("workers", ["1", "2"])
def test_depths_that_do_not_go_together_end_a_build_when_they_meet(workers: str, tmp_path: Path) -> None:
    source, out = tmp_path / "raw", tmp_path / "data"
    for number in range(2_000):
        path = source / f"{number:05d}.tif"
        path.parent.mkdir(exist_ok=True)
        write_deep(path) if number == 1 else Image.fromarray(random_pixels(number, (5, 5))).save(path)
    outcome = prep("build-shards", source, out, *GIVEN, "--workers", workers)
    check_refused(outcome, 1, "several depths: 1 float32 ('00001')")
    assert len(list(out.rglob("*.npy"))) < 1_500


def test_depths_that_do_not_go_together_are_refused_before_anything_changes(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    build(source, out, *GIVEN, "--max-failures", "1")
    was = snapshot(out)
    write_deep(source / "class0" / "deep.tif")
    check_refused(prep("build-shards", source, out), 1, "several depths", "class0/deep")
    assert snapshot(out) == was
    (source / "class0" / "deep.tif").unlink()
    assert prep("build-shards", source, out, "--max-failures", "1").code == 0
    assert snapshot(out) == was


def test_depths_that_a_dtype_does_not_bring_together_are_refused_before_anything_is_read(source: Path, tmp_path: Path) -> None:
    Image.fromarray(random_pixels(0, (5, 5), "uint16")).save(source / "class0" / "deep.png")
    check_refused(prep("build-shards", source, tmp_path / "data", "--color", "rgb", "--dtype", "float32"), 1, "several depths")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_kept_item_whose_file_cannot_be_read_any_more_is_told(workers: str, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    (source / "class1" / "broken.png").unlink()
    build(source, out, *GIVEN)
    was = snapshot(out)
    image = source / "class0" / "000.png"
    status = image.stat()
    image.write_bytes(b"x" * status.st_size)
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    shutil.rmtree(out / ".prep")
    assert "1 shard whose raw file cannot be read any more: 'class0/000.png'" in build(source, out, "--workers", workers).err
    assert snapshot(out) == was


def fails(*_: object, **__: object) -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_build_that_goes_on_opens_no_image_again(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All is built, then the disk is full: what the headers say is in the parts, and of those that are left, none is opened twice."""
    (source / "class1" / "broken.png").unlink()
    build(source, tmp_path / "whole", *GIVEN)
    out = tmp_path / "data"
    with monkeypatch.context() as patch:
        patch.setattr("prep.build.stage.stage.write_manifest", fails)
        assert prep("build-shards", source, out, *GIVEN, "--workers", "1").code == 1
    late = write_image(source / "class0" / "zlate.png", seed=99, shape=(20, 30, 3))
    opened: list[str] = []
    monkeypatch.setattr("prep.readers.images.reader.survey_image", None)
    monkeypatch.setattr(
        "prep.readers.images.reader.read_with_facts", lambda path, **options: opened.append(path) or read_with_facts(path, **options)
    )
    going_on = prep("build-shards", source, out, *GIVEN, "--workers", "1")
    assert going_on.code == 0
    assert opened == [str(late)]
    monkeypatch.undo()
    assert survey_lines(going_on.err) == survey_lines(prep("plan", source, tmp_path / "nowhere", *GIVEN).err)
    build(source, tmp_path / "whole")
    assert snapshot(out) == snapshot(tmp_path / "whole")


@pytest.mark.parametrize("header", ["{", '{"height": 5}', "[" * 100_000])
def test_a_header_in_a_part_that_is_none_is_read_from_the_image(
    header: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "class1" / "broken.png").unlink()
    build(source, tmp_path / "whole", *GIVEN)
    out = tmp_path / "data"
    with monkeypatch.context() as patch:
        patch.setattr("prep.build.stage.stage.write_manifest", fails)
        assert prep("build-shards", source, out, *GIVEN, "--workers", "1").code == 1
    [part] = out.rglob("*.part")
    table = read_sealed(part).read_all()
    at = table.column_names.index("header")
    part.write_bytes(sealed_bytes(table.set_column(at, "header", few_valued([header] * len(table)))))
    going_on = prep("build-shards", source, out, *GIVEN, "--workers", "1")
    assert "going on" in going_on.err
    assert survey_lines(going_on.err) == survey_lines(prep("plan", source, tmp_path / "nowhere", *GIVEN).err)
    build(source, tmp_path / "whole")
    assert snapshot(out) == snapshot(tmp_path / "whole")


@pytest.mark.slow
def test_what_an_interrupted_build_has_done_is_looked_into(tmp_path: Path) -> None:
    """The image that does not go with the others is built before the kill, and must be refused all the same."""
    source, out = source_of(tmp_path / "raw", 900), tmp_path / "data"
    (source / "class1" / "broken.png").unlink()
    write_deep(source / "class0" / "!deep.tif")
    with start_prep("build-shards", source, out, *GIVEN, "--workers", "2") as process:
        until(lambda: any((out / ".prep").glob("build-*/parts/*.part")) or process.poll() is not None, "the first part")
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert not (out / "manifest.csv").exists()
    check_refused(prep("build-shards", source, out, *GIVEN), 1, "several depths", "class0/!deep")
