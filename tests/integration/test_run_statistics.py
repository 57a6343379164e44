"""Statistics of a dataset are those of its training rows, to the bit, however it came to be."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import build, prep, random_pixels, set_age, snapshot, write_array, write_image

from manifests import ManifestError, load_manifest
from prep.build.commit.shard_moments import MomentsChunk, moments_chunk
from prep.errors import WorkerError

SPLIT = ("--split", "train=0.7,val=0.3", "--seed", "1")


def statistics_of(out: Path) -> Any:
    return json.loads((out / "dataset.json").read_text())["statistics"]


def write_source(root: Path, numbers: range) -> Path:
    for number in numbers:
        set_age(write_image(root / f"class{number % 3}" / f"{number:03d}.png", seed=number), 1000 + number)
    return root


def training_values(out: Path) -> Any:
    manifest = load_manifest(out)
    train = manifest.split("train") if manifest.splits else manifest
    return np.stack([manifest.load(id_) for id_ in train.ids]).astype(np.float64)


def check_statistics(out: Path) -> None:
    """Hold statistics against NumPy over the arrays."""
    values = training_values(out)
    statistics = statistics_of(out)
    channels = statistics["channels"]
    axes = tuple(range(values.ndim - 1)) if statistics["axis"] == -1 else None
    np.testing.assert_allclose(channels["mean"], np.atleast_1d(values.mean(axis=axes)), rtol=1e-13)
    np.testing.assert_allclose(channels["std"], np.atleast_1d(values.std(axis=axes)), rtol=1e-13)
    np.testing.assert_array_equal(channels["min"], np.atleast_1d(values.min(axis=axes)))
    np.testing.assert_array_equal(channels["max"], np.atleast_1d(values.max(axis=axes)))
    assert sum(channels["finite"]) == values.size
    assert not any(channels["non_finite"])
    assert statistics["rows"] == len(values)


@pytest.mark.parametrize("options", [(), SPLIT])
def test_statistics_are_those_of_the_training_arrays(tmp_path: Path, out: Path, options: tuple[str, ...]) -> None:
    build(write_source(tmp_path / "raw", range(20)), out, *options)
    check_statistics(out)
    assert statistics_of(out)["over"] == ("train" if options else "all")


def test_classes_are_counted_by_split(tmp_path: Path, out: Path) -> None:
    build(write_source(tmp_path / "raw", range(20)), out, *SPLIT)
    manifest = load_manifest(out)
    table = manifest.class_table()
    assert statistics_of(out)["classes"]["label"] == {split: table[split].to_dict() for split in ("train", "val")}


def grown(raw: Path, out: Path) -> None:
    for stop in (10, 25, 40):
        build(write_source(raw, range(stop)), out, *SPLIT)


def without_memory(raw: Path, out: Path) -> None:
    build(write_source(raw, range(20)), out, *SPLIT)
    (out / ".prep" / "moments.arrow").unlink()
    build(write_source(raw, range(40)), out, *SPLIT)


def rebuilt(raw: Path, out: Path) -> None:
    build(write_source(raw, range(40)), out, *SPLIT)
    set_age(write_image(raw / "class0" / "003.png", seed=99), 5000)
    build(raw, out, *SPLIT)
    set_age(write_image(raw / "class0" / "003.png", seed=3), 1003)
    build(raw, out, *SPLIT)


def by_two_workers(raw: Path, out: Path) -> None:
    assert prep("build-shards", write_source(raw, range(40)), out, *SPLIT, "--workers", "2").code == 0


@pytest.mark.parametrize("way", [grown, without_memory, rebuilt, by_two_workers])
def test_however_a_dataset_came_to_be_its_files_are_the_same(tmp_path: Path, way: Any) -> None:
    build(write_source(tmp_path / "raw", range(40)), tmp_path / "once", *SPLIT)
    way(tmp_path / "raw2", tmp_path / "other")
    once, other = (load_manifest(tmp_path / name) for name in ("once", "other"))
    if list(once.frame["split"]) == list(other.frame["split"]):  # a grown dataset keeps the splits that it had
        assert snapshot(tmp_path / "other") == snapshot(tmp_path / "once")
    check_statistics(tmp_path / "other")


def test_a_grown_dataset_without_splits_has_the_same_files(tmp_path: Path) -> None:
    build(write_source(tmp_path / "raw", range(40)), tmp_path / "once")
    for stop in (10, 40):
        build(write_source(tmp_path / "raw2", range(stop)), tmp_path / "grown")
    assert snapshot(tmp_path / "grown") == snapshot(tmp_path / "once")


def test_a_build_that_does_nothing_reads_no_shard(tmp_path: Path, out: Path) -> None:
    raw = write_source(tmp_path / "raw", range(10))
    build(raw, out, *SPLIT)
    before = snapshot(out)
    (out / ".prep" / "moments.arrow").unlink()
    for path in (out / "shards").rglob("*.npy"):
        path.write_bytes(b"?" * path.stat().st_size)
    build(raw, out, *SPLIT)
    assert snapshot(out)["dataset.json"] == before["dataset.json"]
    assert not (out / ".prep" / "moments.arrow").exists()


def test_what_is_remembered_spares_reading_shards(tmp_path: Path, out: Path) -> None:
    build(write_source(tmp_path / "raw", range(10)), out)
    good = {path: path.read_bytes() for path in (out / "shards").rglob("*.npy")}
    for path, content in good.items():
        path.write_bytes(b"?" * len(content))
    build(write_source(tmp_path / "raw", range(12)), out)
    for path, content in good.items():
        path.write_bytes(content)
    check_statistics(out)


def test_a_damaged_shard_leaves_the_statistics_out(tmp_path: Path, out: Path) -> None:
    build(write_source(tmp_path / "raw", range(10)), out)
    shutil.rmtree(out / ".prep")
    (out / "shards" / "class0" / "003.npy").write_bytes(b"?" * (out / "shards" / "class0" / "003.npy").stat().st_size)
    outcome = build(write_source(tmp_path / "raw", range(12)), out)
    assert "statistics: left out, as shards are missing or not what the manifest says: " in outcome.err
    assert "shards/class0/003.npy" in outcome.err
    assert "channels" not in statistics_of(out)
    with pytest.raises(ManifestError, match="no statistics of the values"):
        load_manifest(out).normalization()


def check_arrays(arrays: list[Any], tmp_path: Path, out: Path) -> Any:
    for number, array in enumerate(arrays):
        write_array(tmp_path / "raw" / f"{number}.npy", array)
    build(tmp_path / "raw", out)
    return statistics_of(out)


@pytest.mark.parametrize(
    ("shapes", "axis", "channels"),
    [
        ([(4, 3), (5, 3)], -1, 3),
        ([(4, 3), (4, 2)], None, 1),
        ([(4, 3), (3,)], None, 1),
        ([(3,), (3,)], -1, 3),
        ([(), ()], None, 1),
        ([(2000,), (2000,)], None, 1),
    ],
)
def test_channels_are_the_last_axis_if_all_arrays_have_it(
    tmp_path: Path, out: Path, shapes: list[tuple[int, ...]], axis: int | None, channels: int
) -> None:
    arrays = [np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape) + number for number, shape in enumerate(shapes)]
    statistics = check_arrays(arrays, tmp_path, out)
    assert (statistics["axis"], len(statistics["channels"]["mean"])) == (axis, channels)
    values = np.concatenate([array.reshape(-1) for array in arrays]).astype(np.float64)
    assert sum(statistics["channels"]["finite"]) == values.size
    if axis is None:
        np.testing.assert_allclose(statistics["channels"]["mean"], [values.mean()], rtol=1e-12)


def test_complex_arrays_have_no_statistics_of_values(tmp_path: Path, out: Path) -> None:
    assert "channels" not in check_arrays([np.zeros(3, np.complex64)], tmp_path, out)


def test_inspect_shows_them(tmp_path: Path, out: Path) -> None:
    build(write_source(tmp_path / "raw", range(10)), out, *SPLIT)
    lines = prep("inspect", out).out.splitlines()
    header = next(number for number, line in enumerate(lines) if line.startswith("channel"))
    assert lines[header].split() == ["channel", "mean", "std", "min", "max", "non_finite", "of", "train"]
    assert [line.split()[0] for line in lines[header + 1 : header + 4]] == ["0", "1", "2"]
    assert prep("inspect", out, "--json").json["statistics"] == statistics_of(out)


def test_verify_finds_statistics_of_other_rows(tmp_path: Path, out: Path) -> None:
    build(write_source(tmp_path / "raw", range(10)), out, *SPLIT)
    assert prep("verify", out).code == 0
    content = (out / "manifest.csv").read_text()
    (out / "manifest.csv").write_text(content.replace(",val,", ",train,", 1))
    outcome = prep("verify", out)
    assert outcome.code == 1
    assert "statistics: dataset.json: the statistics are not those of the rows of split 'train'" in outcome.out


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(8, 8, 3), (5,)])
def test_keras_normalises_the_training_data_to_mean_zero_and_variance_one(tmp_path: Path, out: Path, shape: tuple[int, ...]) -> None:
    keras = pytest.importorskip("keras")
    for number in range(30):
        write_array(tmp_path / "raw" / f"{number}.npy", random_pixels(number, shape).astype(np.float32) / 7 - 3)
    build(tmp_path / "raw", out, *SPLIT)
    layer = keras.layers.Normalization(**load_manifest(out).split("val").normalization())
    normalised = np.asarray(layer(training_values(out).astype(np.float32)), dtype=np.float64)
    axes = tuple(range(normalised.ndim - 1))
    np.testing.assert_allclose(normalised.mean(axis=axes), 0, atol=1e-5)
    np.testing.assert_allclose(normalised.var(axis=axes), 1, atol=1e-5)
    keras.layers.Normalization.from_config(layer.get_config())


@pytest.mark.slow
def test_keras_takes_one_channel_for_all_values(tmp_path: Path, out: Path) -> None:
    keras = pytest.importorskip("keras")
    for number in range(10):
        write_array(tmp_path / "raw" / f"{number}.npy", np.arange(2000, dtype=np.float32) * number)
    build(tmp_path / "raw", out)
    normalised = np.asarray(keras.layers.Normalization(**load_manifest(out).normalization())(training_values(out)))
    assert (abs(normalised.mean()), abs(normalised.var() - 1)) < (1e-5, 1e-5)


def test_a_shortage_of_the_system_does_not_leave_statistics_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more_files(*_: object) -> bytes:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    (tmp_path / "a.npy").touch()
    monkeypatch.setattr(Path, "read_bytes", no_more_files)
    with pytest.raises(WorkerError, match=r"a\.npy: .*Too many open files"):
        moments_chunk(MomentsChunk(root=tmp_path, paths=["a.npy"], sha256s=np.zeros((1, 32), dtype=np.uint8)))
