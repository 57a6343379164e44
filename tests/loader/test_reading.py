from __future__ import annotations

import errno
import gc
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.lib import format as npy_format

from loader import OptionError, ShardError
from loader.index import index_of_ids, index_of_manifest
from loader.reading import ShardReader
from manifests import Manifest
from manifests.npyfile import read_header


def reader_of(manifest: Manifest) -> ShardReader:
    return ShardReader(index_of_manifest(manifest, label_mode=None))


def open_files() -> int:
    gc.collect()  # whatever other tests left
    return len(os.listdir("/proc/self/fd"))


def read_all(reader: ShardReader, n: int) -> np.ndarray:
    return reader.read(np.arange(n))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "int64", "float16", "float32", "float64", "complex64"])
@pytest.mark.parametrize("shape", [(), (1,), (4, 3), (2, 3, 4, 1), (0,), (3, 0)])
def test_samples_come_as_they_were_saved(
    make_dataset: Callable[..., Manifest], sample: Callable[..., np.ndarray], shape: tuple[int, ...], dtype: str
) -> None:
    batch = reader_of(make_dataset(5, shape=shape, dtype=dtype)).read(np.array([3, 0, 3]))
    assert batch.dtype == dtype
    assert batch.shape == (3, *shape)
    assert np.array_equal(batch, np.stack([sample(i, shape, dtype) for i in (3, 0, 3)]))


def test_every_batch_is_a_fresh_array(make_dataset: Callable[..., Manifest]) -> None:
    reader = reader_of(make_dataset(4))
    first = read_all(reader, 4)
    kept = first.copy()
    second = read_all(reader, 4)
    second[:] = -1
    assert np.array_equal(first, kept)


def test_after_the_first_shard_no_header_is_parsed(make_dataset: Callable[..., Manifest]) -> None:
    reader = reader_of(make_dataset(10, columns={"shape": ["4x3"] * 10, "dtype": ["float32"] * 10}))
    with mock.patch("loader.reading.read_header", wraps=read_header) as parse:
        read_all(reader, 10)
        read_all(reader, 10)
    assert parse.call_count == 1


def big_endian(array: np.ndarray, file: Path) -> None:
    np.save(file, array.astype(array.dtype.newbyteorder(">")))


def fortran(array: np.ndarray, file: Path) -> None:
    np.save(file, np.asarray(array, order="F"))


def padded(array: np.ndarray, file: Path) -> None:
    """A sound header that is longer than NumPy's."""
    header = repr(npy_format.header_data_from_array_1_0(array)).encode().ljust(373) + b"\n"
    file.write_bytes(npy_format.magic(1, 0) + len(header).to_bytes(2, "little") + header + array.tobytes())


def version_2(array: np.ndarray, file: Path) -> None:
    with open(file, "wb") as stream:
        npy_format.write_array(stream, array, version=(2, 0))


@pytest.mark.parametrize("save", [big_endian, fortran, padded, version_2])
@pytest.mark.parametrize("which", [[0], [2], [1, 2], [0, 1, 2, 3, 4]], ids=str)
def test_the_same_array_in_another_layout_is_read_all_the_same(
    make_dataset: Callable[..., Manifest], sample: Callable[..., np.ndarray], save: Callable, which: list[int]
) -> None:
    manifest = make_dataset(5)
    for i in which:
        save(sample(i), manifest.root / "shards" / f"s00{i}.npy")
    reader = reader_of(manifest)
    for _ in range(2):
        batch = read_all(reader, 5)
        assert batch.dtype == np.dtype("float32")
        assert batch.dtype.isnative
        assert np.array_equal(batch, np.stack([sample(i) for i in range(5)]))


@given(
    arrays=npst.array_shapes(min_dims=0, max_dims=3, max_side=4).flatmap(
        lambda shape: st.lists(npst.arrays(np.dtype("int16"), shape), min_size=1, max_size=5)
    ),
    layouts=st.lists(st.sampled_from([np.save, big_endian, fortran, padded, version_2]), min_size=5, max_size=5),
    positions=st.lists(st.integers(0, 4), min_size=1, max_size=10),
)
def test_reading_equals_np_load(
    tmp_path_factory: pytest.TempPathFactory, arrays: list[np.ndarray], layouts: list[Callable], positions: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("arrays")
    for i, (array, save) in enumerate(zip(arrays, layouts, strict=False)):
        if save is np.save:
            np.save(folder / f"{i}.npy", array)
        else:
            save(array, folder / f"{i}.npy")
    ids = [str(i) for i in range(len(arrays))]
    index = index_of_ids(ids, None, data_dir=folder, dim=None, n_channels=None, n_classes=None, label_mode=None)
    wanted = [position % len(ids) for position in positions]
    found = ShardReader(index).read(np.array(wanted))
    assert np.array_equal(found, np.stack([np.load(folder / f"{i}.npy") for i in wanted]))


def break_missing(file: Path) -> None:
    file.unlink()


def break_empty(file: Path) -> None:
    file.write_bytes(b"")


def break_truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def break_header_only(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:128])


def break_longer(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\0")


def break_no_npy(file: Path) -> None:
    file.write_bytes(b"\x89PNG" + bytes(200))


def break_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def break_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def break_object(file: Path) -> None:
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)


def break_text(file: Path) -> None:
    np.save(file, np.array(["text"]))


def break_shape(file: Path) -> None:
    np.save(file, np.zeros((3, 4), np.float32))


def break_dtype(file: Path) -> None:
    np.save(file, np.zeros((4, 3), np.float64))


def break_same_size(file: Path) -> None:
    np.save(file, np.zeros((4, 3), np.int32))


def break_dangling(file: Path) -> None:
    file.unlink()
    file.symlink_to("nowhere.npy")


def break_loop(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.name)


DAMAGE = {
    break_missing: "found no such file; build the shard again",
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


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("position", [0, 3])
def test_a_bad_shard_is_named_with_what_was_expected_and_found(
    make_dataset: Callable[..., Manifest], damage: Callable[[Path], None], position: int
) -> None:
    manifest = make_dataset(5, columns={"shape": ["4x3"] * 5, "dtype": ["float32"] * 5})
    file = manifest.root / "shards" / f"s00{position}.npy"
    reader = reader_of(manifest)
    damage(file)
    for _ in range(2):
        with pytest.raises(ShardError) as caught:
            read_all(reader, 5)
    message = str(caught.value)
    assert message.startswith(f"shard {file} of ID 's00{position}': expected (4, 3) float32, {DAMAGE[damage]}")
    assert "\n" not in message
    # The others can still be read.
    assert len(reader.read(np.array([i for i in range(5) if i != position]))) == 4


def test_the_first_shard_must_be_sound_where_nothing_else_tells_the_shape(make_dataset: Callable[..., Manifest]) -> None:
    manifest = make_dataset(3)
    break_missing(manifest.root / "shards" / "s000.npy")
    with pytest.raises(ShardError, match="ID 's000': expected any shape any dtype, found no such file"):
        reader_of(manifest)


def test_no_file_is_left_open_by_errors(make_dataset: Callable[..., Manifest]) -> None:
    manifest = make_dataset(3)
    reader = reader_of(manifest)
    for damage in (break_truncated, break_shape, break_no_npy, break_object, break_empty, break_folder):
        damage(manifest.root / "shards" / "s001.npy")
        before = open_files()
        with pytest.raises(ShardError) as caught:
            read_all(reader, 3)
        del caught
        assert open_files() == before


def test_the_folder_is_closed_with_the_reader(make_dataset: Callable[..., Manifest]) -> None:
    manifest = make_dataset(3)
    before = open_files()
    readers = [reader_of(manifest) for _ in range(5)]
    assert open_files() == before + 5
    readers[0].close()
    del readers
    assert open_files() == before


def test_a_folder_that_is_not_there_is_an_argument_that_cannot_be_used(tmp_path: Path) -> None:
    index = index_of_ids(["a"], None, data_dir=tmp_path / "no", dim=None, n_channels=None, n_classes=None, label_mode=None)
    with pytest.raises(OptionError, match=r"the folder of the shards must be one that can be opened, got '.*/no': No such file"):
        ShardReader(index)


@pytest.mark.parametrize("kind", ["shard", "folder"])
def test_symbolic_links_inside_the_root_are_followed(
    make_dataset: Callable[..., Manifest], sample: Callable[..., np.ndarray], kind: str
) -> None:
    manifest = make_dataset(3, ids=["in/a", "in/b", "in/c"])
    (manifest.root / "store").mkdir()
    linked = manifest.root / "shards" / ("in/b.npy" if kind == "shard" else "in")
    linked.rename(manifest.root / "store" / linked.name)
    linked.symlink_to(manifest.root / "store" / linked.name)
    assert np.array_equal(read_all(reader_of(manifest), 3), np.stack([sample(i) for i in range(3)]))


@pytest.mark.parametrize("kind", ["shard", "folder"])
def test_nothing_outside_the_root_is_read(make_dataset: Callable[..., Manifest], tmp_path: Path, kind: str) -> None:
    manifest = make_dataset(3, ids=["a", "in/b", "in/c"])
    linked = manifest.root / "shards" / ("in/b.npy" if kind == "shard" else "in")
    linked.rename(tmp_path / linked.name)
    linked.symlink_to(tmp_path / linked.name)
    reader = reader_of(manifest)
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


def drop_from_cache(folder: Path) -> None:
    """Have the kernel forget the shards' pages; it may keep some, which is a case of its own."""
    os.sync()
    for path in sorted(folder.rglob("*.npy")):
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@pytest.mark.parametrize("n", [1, 7, 200])
@pytest.mark.parametrize("forgotten", ["all", "some", "none"])
def test_shards_that_are_not_in_memory_are_read_the_same(make_dataset: Callable[..., Manifest], n: int, forgotten: str) -> None:
    manifest = make_dataset(n, shape=(40, 50))
    reader = reader_of(manifest)
    expected = np.stack([np.load(manifest.path_of(id_)) for id_ in manifest.ids])
    if forgotten != "none":
        drop_from_cache(manifest.root)
    if forgotten == "some":
        for id_ in manifest.ids[: n // 2 : 2]:
            np.load(manifest.path_of(id_))
    assert np.array_equal(reader.read(np.arange(n)), expected)


def test_a_file_system_that_always_waits_is_asked_once(make_dataset: Callable[..., Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = make_dataset(6)
    reader = reader_of(manifest)
    asked: list[int] = []
    preadv = os.preadv

    def refuse(file: int, parts: Any, offset: int, flags: int = 0) -> int:
        asked.append(flags)
        if flags:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return preadv(file, parts, offset)

    monkeypatch.setattr(os, "preadv", refuse)
    for _ in range(2):
        assert np.array_equal(reader.read(np.arange(6))[5], np.load(manifest.path_of(manifest.ids[5])))
    assert [flag != 0 for flag in asked] == [True] + [False] * 6


def test_what_one_file_has_too_much_does_not_make_up_for_what_another_lacks(make_dataset: Callable[..., Manifest]) -> None:
    manifest = make_dataset(6)
    reader = reader_of(manifest)
    reader.read(np.arange(6))
    long, short = (manifest.path_of(manifest.ids[position]) for position in (1, 4))
    long.write_bytes(long.read_bytes() + b"x")
    short.write_bytes(short.read_bytes()[:-1])
    with pytest.raises(ShardError, match=manifest.ids[1]):
        reader.read(np.arange(6))


@pytest.mark.parametrize("position", [0, 3, 5])
def test_no_file_stays_open_after_an_error(make_dataset: Callable[..., Manifest], position: int) -> None:
    manifest = make_dataset(6)
    reader = reader_of(manifest)
    reader.read(np.arange(6))
    manifest.path_of(manifest.ids[position]).unlink()
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with pytest.raises(ShardError):
            reader.read(np.arange(6))
    assert len(os.listdir("/proc/self/fd")) == len(before)
