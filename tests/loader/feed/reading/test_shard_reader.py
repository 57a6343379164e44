from __future__ import annotations

import errno
import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from odd_shards import big_endian, fortran, padded, version_2

from loader import ShardError
from loader.feed.index.from_ids import index_of_ids
from loader.feed.index.from_manifest import index_of_manifest
from loader.feed.index.index import Index
from loader.feed.reading.shard_reader import ShardReader
from manifests import Manifest
from manifests.format.npyfile import read_header


def reader_of(manifest: Manifest) -> ShardReader:
    return ShardReader(index_of_manifest(manifest, label_mode=None))


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
    with mock.patch("loader.feed.reading.shard_file.read_header", wraps=read_header) as parse:
        read_all(reader, 10)
        read_all(reader, 10)
    assert parse.call_count == 1


def check_each(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype.newbyteorder("=")
        assert one.dtype.isnative
        assert one.flags.c_contiguous
        assert one.flags.aligned
        assert one.flags.writeable
        assert np.array_equal(one, other)


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
    expected = [np.load(folder / f"{i}.npy") for i in wanted]
    assert np.array_equal(ShardReader(index).read(np.array(wanted)), np.stack(expected))
    reader = ShardReader(index, varied=True)
    for _ in range(2):
        check_each(reader.read_each(np.array(wanted)), expected)


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
@pytest.mark.parametrize("varied", [False, True])
def test_no_file_stays_open_after_an_error(make_dataset: Callable[..., Manifest], position: int, varied: bool) -> None:
    manifest = make_dataset(6)
    reader = ShardReader(index_of_manifest(manifest, label_mode=None), varied=varied)
    read = reader.read_each if varied else reader.read
    read(np.arange(6))
    manifest.path_of(manifest.ids[position]).unlink()
    gc.collect()  # what earlier tests left must not be closed meanwhile
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with pytest.raises(ShardError):
            read(np.arange(6))
    assert len(os.listdir("/proc/self/fd")) == len(before)


SHAPES = [(), (3,), (0,), (2, 3), (2, 0, 3), (7, 1), (2, 3), (1,), (5, 4, 3, 2), (3,)]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "float16", "float32", "int64", "complex128"])
def test_each_sample_may_have_a_shape_of_its_own(make_varied: Callable[..., Index], dtype: str) -> None:
    index = make_varied(SHAPES, dtype=dtype)
    reader = ShardReader(index, varied=True)
    assert reader.shape is None
    assert reader.dtype == dtype
    files = [index.root / path for path in index.paths]
    for positions in (np.arange(10), np.arange(10), np.array([3, 3, 9, 0])):
        check_each(reader.read_each(positions), [np.load(files[i]) for i in positions])


def test_each_sample_is_a_fresh_array(make_varied: Callable[..., Index]) -> None:
    reader = ShardReader(make_varied(SHAPES), varied=True)
    first = reader.read_each(np.arange(10))
    kept = [array.copy() for array in first]
    for array in reader.read_each(np.arange(10)):
        array[...] = -1
    check_each(first, kept)


def test_a_header_of_each_shape_is_parsed_once(make_varied: Callable[..., Index]) -> None:
    reader = ShardReader(make_varied(SHAPES), varied=True)
    with mock.patch("loader.feed.reading.layouts.read_header", wraps=read_header) as parse:
        for _ in range(3):
            reader.read_each(np.arange(10))
    assert parse.call_count == len(set(SHAPES))


def test_few_files_are_open_at_once_however_many_are_read(make_varied: Callable[..., Index], monkeypatch: pytest.MonkeyPatch) -> None:
    index = make_varied([(1 + i % 5, 2) for i in range(400)])
    reader = ShardReader(index, varied=True)
    expected = [np.load(index.root / path) for path in index.paths]
    before, most, fstat = len(os.listdir("/proc/self/fd")), 0, os.fstat

    def count(file: int) -> os.stat_result:
        nonlocal most
        most = max(most, len(os.listdir("/proc/self/fd")) - before)
        return fstat(file)

    monkeypatch.setattr(os, "fstat", count)
    check_each(reader.read_each(np.arange(400)), expected)
    drop_from_cache(index.root)
    check_each(reader.read_each(np.arange(400)), expected)
    assert most <= 130
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("n", [1, 7, 200])
@pytest.mark.parametrize("forgotten", ["all", "some"])
def test_shards_of_several_shapes_that_are_not_in_memory_are_read_the_same(
    make_varied: Callable[..., Index], n: int, forgotten: str
) -> None:
    index = make_varied([(10 + i % 7, 20) for i in range(n)])
    expected = [np.load(index.root / path) for path in index.paths]
    drop_from_cache(index.root)
    if forgotten == "some":
        for path in list(index.paths)[: n // 2 : 2]:
            np.load(index.root / path)
    check_each(ShardReader(index, varied=True).read_each(np.arange(n)), expected)


@pytest.mark.parametrize("error", [errno.EOPNOTSUPP, errno.EAGAIN])
def test_a_file_system_that_always_waits_reads_several_shapes(
    make_varied: Callable[..., Index], monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    index = make_varied(SHAPES)
    reader = ShardReader(index, varied=True)
    preadv, asked = os.preadv, []

    def refuse(file: int, parts: Any, offset: int, flags: int = 0) -> int:
        asked.append(flags)
        if flags:
            raise OSError(error, os.strerror(error))
        return preadv(file, parts, offset)

    monkeypatch.setattr(os, "preadv", refuse)
    for _ in range(2):
        check_each(reader.read_each(np.arange(10)), [np.load(index.root / path) for path in index.paths])
    assert np.count_nonzero(asked) == (1 if error == errno.EOPNOTSUPP else 2)


@pytest.mark.parametrize("varied", [False, True])
def test_a_disk_that_fails_is_named_with_the_sample(
    make_dataset: Callable[..., Manifest], monkeypatch: pytest.MonkeyPatch, varied: bool
) -> None:
    manifest = make_dataset(6)
    reader = ShardReader(index_of_manifest(manifest, label_mode=None), varied=varied)
    read = reader.read_each if varied else reader.read
    expected = np.stack(list(read(np.arange(6))))

    def fail(*_: Any) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    # The fast ways fail, and a closer look can read it after all.
    monkeypatch.setattr(os, "preadv", fail)
    monkeypatch.setattr(os, "readv", fail)
    assert np.array_equal(np.stack(list(read(np.arange(6)))), expected)
    monkeypatch.setattr("loader.feed.reading.shard_file.read_header", fail)
    with pytest.raises(ShardError, match=r"ID 's000': .*found a file that cannot be read \(Input/output error\)"):
        read(np.arange(6))


def test_a_file_too_large_to_be_believed_is_not_allocated_for(make_varied: Callable[..., Index]) -> None:
    index = make_varied(SHAPES)
    reader = ShardReader(index, varied=True)
    with open(index.root / "shards" / "s004.npy", "ab") as file:
        file.truncate(1 << 43)
    with pytest.raises(ShardError, match=r"ID 's004': .*longer than its header says"):
        reader.read_each(np.arange(10))


def stand_in(row: int, error: ShardError) -> int:
    assert error.id == f"s00{row}"
    return 9


@pytest.mark.parametrize("varied", [False, True])
@pytest.mark.parametrize("cold", [False, True])
def test_the_position_of_what_was_read_instead_is_put_in_its_place(make_dataset: Callable[..., Manifest], varied: bool, cold: bool) -> None:
    manifest = make_dataset(10)
    reader = ShardReader(index_of_manifest(manifest, label_mode=None), varied=varied)
    for i in (1, 6):
        manifest.path_of(f"s00{i}").unlink()
    if cold:
        drop_from_cache(manifest.root)
    positions = np.arange(10)
    samples = (reader.read_each if varied else reader.read)(positions, stand_in)
    assert positions.tolist() == [0, 9, 2, 3, 4, 5, 9, 7, 8, 9]
    assert [int(x[0, 0]) for x in samples] == positions.tolist()


def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that shards' names are put into as the kernel is told of them."""
    told: list[str] = []
    advise = os.posix_fadvise

    def note(file: int, offset: int, length: int, advice: int) -> None:
        if advice == os.POSIX_FADV_WILLNEED:
            told.append(Path(os.readlink(f"/proc/self/fd/{file}")).stem)
        advise(file, offset, length, advice)

    monkeypatch.setattr(os, "posix_fadvise", note)
    return told


def test_the_kernel_is_told_of_shards_and_no_file_stays_open(
    make_dataset: Callable[..., Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = make_dataset(300)
    reader = ShardReader(index_of_manifest(manifest, label_mode=None))
    manifest.path_of("s002").unlink()
    before = len(os.listdir("/proc/self/fd"))
    told = opened(monkeypatch)
    reader.announce(np.arange(300))
    assert told == [f"s{i:03d}" for i in range(300) if i != 2]
    assert len(os.listdir("/proc/self/fd")) == before


def test_nothing_outside_the_root_is_announced(
    make_dataset: Callable[..., Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = make_dataset(2, ids=["a", "in/b"])
    folder = manifest.root / "shards" / "in"
    folder.rename(tmp_path / "in")
    folder.symlink_to(tmp_path / "in")
    reader = ShardReader(index_of_manifest(manifest, label_mode=None))
    told = opened(monkeypatch)
    reader.announce(np.array([0, 1]))
    assert told == ["a"]


@pytest.mark.parametrize("varied", [False, True])
def test_a_reader_is_cold_for_some_batches_after_one_that_had_to_be_waited_for(
    make_dataset: Callable[..., Manifest], monkeypatch: pytest.MonkeyPatch, varied: bool
) -> None:
    reader = ShardReader(index_of_manifest(make_dataset(6), label_mode=None), varied=varied)
    read = reader.read_each if varied else reader.read
    preadv, waits = os.preadv, False

    def answer(file: int, parts: Any, offset: int, flags: int = 0) -> int:
        if flags and waits:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return preadv(file, parts, offset)

    monkeypatch.setattr(os, "preadv", answer)
    read(np.arange(6))
    assert not reader.is_cold
    waits = True
    read(np.arange(6))
    waits, cold = False, 0
    while reader.is_cold:
        read(np.arange(6))
        cold += 1
    assert cold == 16
