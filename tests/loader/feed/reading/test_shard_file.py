"""One shard at a time: what is read however it is written, and what is said of what cannot be."""

from __future__ import annotations

import errno
import gc
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from odd_shards import (
    big_endian,
    break_dangling,
    break_dtype,
    break_empty,
    break_folder,
    break_header_only,
    break_longer,
    break_loop,
    break_missing,
    break_no_npy,
    break_object,
    break_pipe,
    break_same_size,
    break_shape,
    break_text,
    break_truncated,
    break_zeros,
    fortran,
    padded,
    version_2,
)

from loader import OptionError, ShardError, ShortageError
from loader.feed.index.from_ids import index_of_ids
from loader.feed.index.from_manifest import index_of_manifest
from loader.feed.reading.shard_reader import ShardReader
from manifests import ArraySpec, Manifest


def reader_of(manifest: Manifest, *, skips: bool = False) -> ShardReader:
    return ShardReader(index_of_manifest(manifest, label_mode=None), skips=skips)


def varied_reader_of(manifest: Manifest, *, skips: bool = False) -> ShardReader:
    """A reader for which samples may have several shapes."""
    index = replace(index_of_manifest(manifest, label_mode=None), varied_shapes="2x3, 4x3", array=ArraySpec(shape=None, dtype="float32"))
    return ShardReader(index, varied=True, skips=skips)


def read_all(reader: ShardReader, n: int) -> np.ndarray:
    return np.stack(list(reader.read(np.arange(n)) if reader.shape is not None else reader.read_each(np.arange(n))))


MAKERS = pytest.mark.parametrize("make_reader", [reader_of, varied_reader_of], ids=["one shape", "several shapes"])


def open_files() -> int:
    gc.collect()  # whatever other tests left
    return len(os.listdir("/proc/self/fd"))


@MAKERS
@pytest.mark.parametrize("save", [big_endian, fortran, padded, version_2])
@pytest.mark.parametrize("which", [[0], [2], [1, 2], [0, 1, 2, 3, 4]], ids=str)
def test_the_same_array_in_another_layout_is_read_all_the_same(
    make_dataset: Callable[..., Manifest], sample: Callable[..., np.ndarray], make_reader: Callable, save: Callable, which: list[int]
) -> None:
    manifest = make_dataset(5)
    for i in which:
        save(sample(i), manifest.root / "shards" / f"s00{i}.npy")
    reader = make_reader(manifest)
    for _ in range(2):
        batch = read_all(reader, 5)
        assert batch.dtype == np.dtype("float32")
        assert batch.dtype.isnative
        assert np.array_equal(batch, np.stack([sample(i) for i in range(5)]))


DAMAGE = {
    break_missing: "found no such file; build the shard again",
    break_zeros: "found a file that cannot be used (not a .npy file: ",
    break_empty: "found an empty file; build the shard again",
    break_truncated: "found a file that cannot be used (truncated: expected 176 bytes for shape (4, 3) float32, found 175)",
    break_header_only: "found a file that cannot be used (truncated: expected 176 bytes for shape (4, 3) float32, found 128)",
    break_longer: "found a file that cannot be used (longer than its header says: expected 176 bytes for shape (4, 3) float32, found 177)",
    break_no_npy: "found a file that cannot be used (not a .npy file: ",
    break_folder: "found a folder; ",
    break_pipe: "found something that is not a file; ",
    break_object: "found a file that cannot be used (holds Python objects",
    break_text: "found a file that cannot be used (dtype <U4 is not numeric)",
    break_shape: "found (3, 4) float32; all samples of a feed have one shape and dtype",
    break_dtype: "found (4, 3) float64; all samples of a feed have one shape and dtype",
    break_same_size: "found (4, 3) int32; all samples of a feed have one shape and dtype",
    break_dangling: "found no such file; ",
    break_loop: "found a file that cannot be read (Too many levels of symbolic links); ",
}


SOUND_IF_VARIED = {break_shape}


@MAKERS
@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("position", [0, 3])
def test_a_bad_shard_is_named_with_what_was_expected_and_found(
    make_dataset: Callable[..., Manifest], make_reader: Callable, damage: Callable[[Path], None], position: int
) -> None:
    if make_reader is varied_reader_of and damage in SOUND_IF_VARIED:
        return
    manifest = make_dataset(5, columns={"shape": ["4x3"] * 5, "dtype": ["float32"] * 5})
    file = manifest.root / "shards" / f"s00{position}.npy"
    reader = make_reader(manifest)
    damage(file)
    for _ in range(2):
        with pytest.raises(ShardError) as caught:
            read_all(reader, 5)
    message, expected = str(caught.value), "(4, 3)" if make_reader is reader_of else "any shape"
    assert message.startswith(f"shard {file} of ID 's00{position}': expected {expected} float32, {DAMAGE[damage]}")
    assert "\n" not in message
    assert not (file.parent / "ran").exists(), "an object was unpickled"
    # The others can still be read.
    others = np.array([i for i in range(5) if i != position])
    assert len(reader.read(others) if make_reader is reader_of else reader.read_each(others)) == 4


def test_the_first_shard_must_be_sound_where_nothing_else_tells_the_shape(make_dataset: Callable[..., Manifest]) -> None:
    manifest = make_dataset(3)
    break_missing(manifest.root / "shards" / "s000.npy")
    with pytest.raises(ShardError, match="ID 's000': expected any shape any dtype, found no such file"):
        reader_of(manifest)


def test_a_first_shard_that_the_disk_cannot_give_is_named_too(
    make_dataset: Callable[..., Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    manifest = make_dataset(3)
    monkeypatch.setattr("loader.feed.reading.shard_file.read_header", fail)
    with pytest.raises(ShardError, match=r"ID 's000': expected any shape any dtype, found .*Input/output error"):
        reader_of(manifest)


@pytest.mark.parametrize("damage", [break_missing, break_zeros, break_object, break_folder])
def test_another_shard_tells_the_shape_where_bad_ones_are_skipped(make_dataset: Callable[..., Manifest], damage: Callable) -> None:
    manifest = make_dataset(103, dtype="int16")
    for i in range(99):
        damage(manifest.path_of(f"s{i:03d}"))
    reader = reader_of(manifest, skips=True)
    assert (reader.shape, reader.dtype) == ((4, 3), "int16")
    damage(manifest.path_of("s099"))
    with pytest.raises(ShardError, match="ID 's099': expected any shape any dtype, found "):
        reader_of(manifest, skips=True)


@MAKERS
@pytest.mark.parametrize("swapped", ["shards", "shards/in"])
@pytest.mark.parametrize("lets_go", [False, True])
def test_a_folder_that_becomes_a_link_later_is_not_followed(
    make_dataset: Callable[..., Manifest],
    sample: Callable[..., np.ndarray],
    tmp_path: Path,
    make_reader: Callable,
    swapped: str,
    lets_go: bool,
) -> None:
    manifest = make_dataset(3, ids=["in/a", "in/b", "in/c"])
    reader = make_reader(manifest)
    read_all(reader, 3)
    folder = manifest.root / swapped
    shutil.copytree(folder, tmp_path / "elsewhere")
    for file in (tmp_path / "elsewhere").rglob("*.npy"):
        np.save(file, np.full((4, 3), 777, np.float32))
    folder.rename(folder.with_name("before"))
    folder.symlink_to(tmp_path / "elsewhere")
    if lets_go:
        reader.let_go()
        with pytest.raises(ShardError, match=r"ID 'in/a': .*found a symbolic link that leads out of .*put the shard itself there"):
            read_all(reader, 3)
    else:  # the folder that was opened is the one that is read
        assert np.array_equal(read_all(reader, 3), np.stack([sample(i) for i in range(3)]))


SHORTAGES = {
    errno.EMFILE: "ulimit -n",
    errno.ENFILE: "other programs",
    errno.ENOMEM: "free some memory",
    errno.ESTALE: "mount it again",
    errno.ENOTCONN: "mount it again",
}


@MAKERS
@pytest.mark.parametrize("number", SHORTAGES, ids=errno.errorcode.get)
@pytest.mark.parametrize("where", ["os.open", "loader.feed.reading.shard_file.read_header", "loader.feed.reading.shard_file.read_stream"])
def test_what_the_system_runs_out_of_is_no_fault_of_a_shard(
    make_dataset: Callable[..., Manifest], monkeypatch: pytest.MonkeyPatch, make_reader: Callable, number: int, where: str
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    manifest = make_dataset(3)
    reader = make_reader(manifest)
    with monkeypatch.context() as patch:
        patch.setattr(where, fail)
        for name in ("preadv", "readv"):  # or else no closer look is needed
            patch.setattr(os, name, fail)
        with pytest.raises(ShortageError) as caught:
            reader.read(np.arange(3), fail) if make_reader is reader_of else reader.read_each(np.arange(3), fail)
    assert (caught.value.errno, caught.value.what) == (number, f"shard {manifest.root}/shards/s000.npy of ID 's000'")
    message = str(caught.value)
    assert os.strerror(number) in message
    assert SHORTAGES[number] in message
    assert "\n" not in message
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  # our own bytes
    assert (str(again), again.errno) == (message, number)
    assert len(read_all(reader, 3)) == 3


@pytest.mark.parametrize("number", SHORTAGES, ids=errno.errorcode.get)
def test_a_folder_that_a_shortage_keeps_closed_is_no_wrong_argument(
    make_dataset: Callable[..., Manifest], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    index = index_of_manifest(make_dataset(3), label_mode=None)
    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(ShortageError, match=r"the folder of the shards, .*, cannot be read: .*"):
        ShardReader(index)


@MAKERS
def test_no_file_is_left_open_by_errors(make_dataset: Callable[..., Manifest], make_reader: Callable) -> None:
    manifest = make_dataset(3)
    reader = make_reader(manifest)
    read_all(reader, 3)  # which opens the folders
    for damage in (break_truncated, break_dtype, break_no_npy, break_object, break_empty, break_folder):
        damage(manifest.root / "shards" / "s001.npy")
        before = open_files()
        with pytest.raises(ShardError) as caught:
            read_all(reader, 3)
        del caught
        assert open_files() == before


def test_folders_are_closed_with_the_reader(make_dataset: Callable[..., Manifest]) -> None:
    manifest = make_dataset(3)
    before = open_files()
    readers = [reader_of(manifest) for _ in range(5)]
    assert open_files() == before + 2 * 5  # the dataset's own, and the one of the shards
    del readers
    assert open_files() == before


@MAKERS
def test_a_reader_that_let_go_has_nothing_open_and_reads_on(
    make_dataset: Callable[..., Manifest], sample: Callable[..., np.ndarray], make_reader: Callable
) -> None:
    manifest = make_dataset(3)
    before = open_files()
    reader = make_reader(manifest)
    for _ in range(2):
        assert np.array_equal(read_all(reader, 3), np.stack([sample(i) for i in range(3)]))
        assert open_files() > before
        reader.let_go()
        assert open_files() == before


def test_a_folder_that_is_not_there_is_an_argument_that_cannot_be_used(tmp_path: Path) -> None:
    index = index_of_ids(["a"], None, data_dir=tmp_path / "no", dim=None, n_channels=None, n_classes=None, label_mode=None)
    with pytest.raises(OptionError, match=r"the folder of the shards must be one that can be opened, got '.*/no': No such file"):
        ShardReader(index)


@MAKERS
@pytest.mark.parametrize("kind", ["shard", "folder"])
def test_symbolic_links_inside_the_root_are_followed(
    make_dataset: Callable[..., Manifest], sample: Callable[..., np.ndarray], make_reader: Callable, kind: str
) -> None:
    manifest = make_dataset(3, ids=["in/a", "in/b", "in/c"])
    (manifest.root / "store").mkdir()
    linked = manifest.root / "shards" / ("in/b.npy" if kind == "shard" else "in")
    linked.rename(manifest.root / "store" / linked.name)
    linked.symlink_to(manifest.root / "store" / linked.name)
    assert np.array_equal(read_all(make_reader(manifest), 3), np.stack([sample(i) for i in range(3)]))


@MAKERS
@pytest.mark.parametrize("kind", ["shard", "folder"])
def test_nothing_outside_the_root_is_read(make_dataset: Callable[..., Manifest], tmp_path: Path, make_reader: Callable, kind: str) -> None:
    manifest = make_dataset(3, ids=["a", "in/b", "in/c"])
    linked = manifest.root / "shards" / ("in/b.npy" if kind == "shard" else "in")
    linked.rename(tmp_path / linked.name)
    linked.symlink_to(tmp_path / linked.name)
    reader = make_reader(manifest)
    with pytest.raises(ShardError, match=r"ID 'in/b': .*found a symbolic link that leads out of .*put the shard itself there"):
        read_all(reader, 3)


def test_the_root_itself_may_be_a_link(make_dataset: Callable[..., Manifest], tmp_path: Path, sample: Callable[..., np.ndarray]) -> None:
    manifest = make_dataset(2)
    (tmp_path / "link").symlink_to(manifest.root)
    index = index_of_ids(["shards/s001"], None, data_dir=tmp_path / "link", dim=None, n_channels=None, n_classes=None, label_mode=None)
    assert np.array_equal(ShardReader(index).read(np.array([0]))[0], sample(1))


def test_names_of_any_script_are_read(make_dataset: Callable[..., Manifest], sample: Callable[..., np.ndarray]) -> None:
    manifest = make_dataset(4, ids=["007", "NA", "größe", "猫/一"])
    assert np.array_equal(read_all(reader_of(manifest), 4), np.stack([sample(i) for i in range(4)]))


def test_a_shard_error_survives_pickling() -> None:
    error = ShardError("a", "p", "e", "f", "do this")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    assert str(again) == str(error) == "shard p of ID 'a': expected e, found f; do this"
    assert (again.id, again.path, again.expected, again.found, again.advice) == ("a", "p", "e", "f", "do this")
