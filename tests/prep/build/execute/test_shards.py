"""A shard is what `np.save` would write, and what is said of it is true."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from manifests.format.schema import format_shape
from prep.build.execute import shards
from prep.build.execute.shards import NewShard, shard_bytes, write_shard, write_shards

DTYPES = ["bool", "uint8", "int8", "uint16", "int64", "float16", "float32", "float64", "complex64"]


def check_shard(array: Any, path: Path) -> None:
    written = write_shard("a", array, path)
    saved = io.BytesIO()
    np.save(saved, array, allow_pickle=False)
    content = path.read_bytes()
    assert content == saved.getvalue()
    assert written.sha256 == hashlib.sha256(content).hexdigest()
    assert (written.shape, written.dtype) == (format_shape(array.shape), array.dtype.name)
    loaded = np.load(path, allow_pickle=False)
    assert (loaded.shape, loaded.dtype) == (array.shape, array.dtype)
    np.testing.assert_array_equal(loaded, array)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (3,), (32, 32, 3), (0,), (0, 4), (4, 0, 2), (1,) * 32, (100_000,)])
def test_a_shard_is_what_numpy_saves(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    values = np.random.default_rng(0).integers(0, 2, shape)
    check_shard(np.asarray(values, dtype=np.dtype(dtype).newbyteorder("<")), tmp_path / "a.npy")


def test_a_large_array_is_written_whole(tmp_path: Path) -> None:
    check_shard(np.arange(5_000_000, dtype=np.int32), tmp_path / "a.npy")


def test_writing_goes_on_where_a_short_write_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.writev

    def reluctant(descriptor: int, pieces: Sequence[memoryview]) -> int:
        return whole(descriptor, [memoryview(b"".join(pieces))[:7]])

    monkeypatch.setattr(shards.os, "writev", reluctant)
    check_shard(np.arange(100.0), tmp_path / "a.npy")


def test_folders_are_made(tmp_path: Path) -> None:
    check_shard(np.zeros(3), tmp_path / "cats/and/dogs/été.npy")


def test_a_shorter_shard_leaves_nothing_of_a_longer_one(tmp_path: Path) -> None:
    check_shard(np.zeros(1000), tmp_path / "a.npy")
    check_shard(np.zeros(10), tmp_path / "a.npy")


def test_the_stage_of_a_build_that_is_over_is_not_made_anew(tmp_path: Path) -> None:
    stage = tmp_path / "stage"
    new = NewShard("a", np.zeros(3), stage / "shards/cats/a.npy", stage=stage)
    with pytest.raises(FileNotFoundError):
        write_shards([new])
    assert list(tmp_path.iterdir()) == []
    stage.mkdir()
    write_shards([new])
    assert (stage / "shards/cats/a.npy").is_file()


def test_a_shard_that_is_there_is_replaced_and_not_written_to(tmp_path: Path) -> None:
    """Another worker may have told of it as complete, or may be about to write on in it."""
    write_shard("a", np.zeros(1000), tmp_path / "a.npy")
    with open(tmp_path / "a.npy", "r+b") as of_the_other:
        before = of_the_other.read()
        check_shard(np.ones(10), tmp_path / "a.npy")
        of_the_other.seek(0)
        assert of_the_other.read() == before
        of_the_other.write(b"more")
    assert np.load(tmp_path / "a.npy").tolist() == [1.0] * 10
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_a_shard_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        write_shard("a", np.zeros(3), tmp_path / "file/a.npy")


@given(hnp.arrays(st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)))
def test_any_array_survives_a_round_trip(tmp_path_factory: pytest.TempPathFactory, array: Any) -> None:
    check_shard(array, tmp_path_factory.getbasetemp() / "round-trip.npy")


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 4), (1,) * 30])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "float32", "complex128"])
def test_the_size_of_a_shard_is_known_from_its_row(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    written = write_shard("a", np.zeros(shape, dtype), tmp_path / "a.npy")
    assert shard_bytes(written.shape, written.dtype) == (tmp_path / "a.npy").stat().st_size
