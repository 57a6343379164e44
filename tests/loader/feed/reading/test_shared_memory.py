"""Slots hold any tree of arrays, grow, and come back when the last array that looks into one is gone."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from feeding import check_same, traces
from hypothesis import given
from hypothesis.extra import numpy as hnp

from loader.feed.reading.shared_memory import STRIDE, SharedMemory, part_offsets
from loader.feed.tree import leaves

DTYPES = st.sampled_from(["?", "u1", "i2", ">i4", "f2", "f4", ">f8", "c8", "u8"]).map(np.dtype)
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5))


def odd(array: np.ndarray) -> list[np.ndarray]:
    """The same values, as they lie in memory in other ways."""
    return [array, array.T, array[::-1] if array.ndim else array, np.broadcast_to(array, (2, *array.shape)), np.asfortranarray(array)]


TREES = st.recursive(
    ARRAYS.flatmap(lambda array: st.sampled_from(odd(array))) | st.none(),
    lambda parts: (
        st.lists(parts, max_size=3) | st.tuples(parts, parts) | st.dictionaries(st.text(max_size=3) | st.integers(0, 3), parts, max_size=3)
    ),
    max_leaves=8,
)


def native(tree: Any) -> list[np.ndarray]:
    return [np.array(leaf, leaf.dtype.newbyteorder("=")) for leaf in leaves(tree)]


def check_equal(tree: Any, expected: Any) -> None:
    check_same(native(tree), native(expected))


def nothing() -> None:
    pass


@given(batches=st.lists(st.tuples(TREES, st.booleans()), min_size=1, max_size=4))
def test_what_one_process_describes_the_other_has(batches: list[tuple[Any, bool]]) -> None:
    here = SharedMemory()
    there = SharedMemory(os.dup(here.descriptor))
    for number, (tree, is_copied) in enumerate(batches):
        slot = here.slot(number % 2)
        slot.clear()
        description = slot.describe(tree)
        other = there.slot(number % 2)
        shown = other.copied(description) if is_copied else other.lend(description, nothing)
        check_equal(shown, tree)
        for leaf in leaves(shown):
            assert leaf.flags.writeable
            assert leaf.flags.c_contiguous
            assert leaf.flags.aligned


@given(shapes=st.lists(st.tuples(hnp.array_shapes(max_dims=3, min_side=0), DTYPES), max_size=6))
def test_what_is_allocated_in_a_slot_is_apart_aligned_and_not_copied(shapes: list[tuple[tuple[int, ...], np.dtype[Any]]]) -> None:
    memory = SharedMemory()
    slot = memory.slot(3)
    arrays = [slot.allocate(shape, dtype.newbyteorder("=")) for shape, dtype in shapes]
    for number, array in enumerate(arrays):
        array[...] = number % 2
    _, described, used = slot.describe(arrays)
    assert slot.describe(arrays)[2] == used
    offsets = [offset for offset, _, _ in described]
    assert offsets == sorted(set(offsets))
    assert all(offset % 64 == 0 for offset in offsets)
    check_equal(memory.slot(3).copied(slot.describe(arrays)), arrays)
    for number, array in enumerate(arrays):
        assert (array == number % 2).all()


def test_a_slot_grows_and_what_looks_into_it_stays() -> None:
    here = SharedMemory()
    there = SharedMemory(os.dup(here.descriptor))
    held = []
    for size in (1, 1 << 10, 1 << 18, 1 << 20, 3 << 20):
        slot = here.slot(0)
        first = slot.allocate((size,), np.dtype(np.float64))
        first[...] = size
        description = slot.describe((first, np.arange(size)))
        held.append((there.slot(0).lend(description, nothing), size))
    # The slot was never cleared, so all of them lie in it.
    for (first, second), size in held:
        assert (first == size).all()
        assert np.array_equal(second, np.arange(size))


def test_an_array_that_was_made_before_its_slot_grew_is_not_lost() -> None:
    memory = SharedMemory()
    slot = memory.slot(0)
    x = slot.allocate((1000,), np.dtype(np.int64))
    x[...] = 7
    y = slot.allocate((1 << 20,), np.dtype(np.int64))
    y[...] = 8
    other_x, other_y = SharedMemory(os.dup(memory.descriptor)).slot(0).copied(slot.describe((x, y)))
    assert (other_x == 7).all()
    assert (other_y == 8).all()


@pytest.mark.parametrize(
    "keep",
    [
        lambda batch: batch,
        lambda batch: batch[1],
        lambda batch: batch[0]["a"][1:, ::2].T,
        lambda batch: batch[0]["a"].reshape(-1).view(np.uint8)[3:5],
        lambda batch: memoryview(batch[0]["a"]),
        lambda batch: np.asarray(memoryview(batch[1]))[:1],
        lambda batch: np.from_dlpack(batch[0]["a"]),
        lambda batch: batch[0]["a"].flat,
    ],
    ids=["batch", "part", "view", "view of other dtype", "memoryview", "view of it", "dlpack", "iterator"],
)
def test_a_slot_comes_back_when_the_last_that_looks_into_it_is_gone(keep: Callable[[Any], Any]) -> None:
    back: list[int] = []
    memory = SharedMemory()
    slot = memory.slot(0)
    description = slot.describe(({"a": np.arange(12.0).reshape(3, 4)}, np.arange(3), np.empty((0, 2))))
    kept = keep(memory.slot(0).lend(description, lambda: back.append(0)))
    gc.collect()
    assert back == []
    del kept
    gc.collect()
    assert back == [0]


@pytest.mark.parametrize("tree", [None, {}, (), [None], np.empty(0), (np.empty((3, 0, 2)), None)], ids=str)
def test_a_batch_without_any_element_comes_and_goes(tree: Any) -> None:
    back: list[int] = []
    memory = SharedMemory()
    slot = memory.slot(0)
    description = slot.describe(tree)
    check_equal(slot.lend(description, lambda: back.append(0)), tree)
    check_equal(slot.copied(description), tree)
    gc.collect()
    assert back == [0]


def test_a_copied_batch_is_the_callers_own() -> None:
    memory = SharedMemory()
    slot = memory.slot(0)
    copied = slot.copied(slot.describe(np.arange(5)))
    slot.clear()
    slot.describe(np.zeros(5, np.int64))
    assert copied.tolist() == [0, 1, 2, 3, 4]
    assert copied.flags.owndata


def test_slots_do_not_touch_each_other() -> None:
    memory = SharedMemory()
    lent = [memory.slot(number).lend(memory.slot(number).describe(np.full(300_000, number)), nothing) for number in (0, 1, 2, 500)]
    for number, array in zip((0, 1, 2, 500), lent, strict=True):
        assert (array == number).all()


def test_memory_has_no_name_and_costs_what_was_written_to_it() -> None:
    memory = SharedMemory()
    assert os.readlink(f"/proc/self/fd/{memory.descriptor}").startswith("/memfd:")
    assert os.fstat(memory.descriptor).st_blocks == 0
    memory.slot(9).describe(np.ones(1 << 20, np.uint8))
    assert 1 << 20 <= os.fstat(memory.descriptor).st_blocks * 512 < 3 << 20


def test_memory_of_slots_is_given_back_and_can_be_written_anew() -> None:
    memory = SharedMemory()
    kept = memory.slot(1).lend(memory.slot(1).describe(np.full(1 << 20, 5, np.uint8)), nothing)
    memory.slot(2).describe(np.ones(5 << 20, np.uint8))
    memory.clear([0, 2, 77])
    assert os.fstat(memory.descriptor).st_blocks * 512 < 3 << 20
    assert (kept == 5).all()
    slot = memory.slot(2)
    slot.clear()
    assert (slot.copied(slot.describe(np.full(1 << 20, 3))) == 3).all()


def test_what_workers_have_begun_is_read_by_others() -> None:
    memory = SharedMemory()
    theirs = SharedMemory(os.dup(memory.descriptor))
    assert [memory.begun(worker) for worker in range(3)] == [0, 0, 0]
    theirs.note_begun(1, 7)
    theirs.note_begun(2, 1 << 40)
    assert [memory.begun(worker) for worker in range(3)] == [0, 7, 1 << 40]


def test_nothing_is_left_of_memory() -> None:
    before = traces()
    for _ in range(20):
        memory = SharedMemory()
        memory.slot(0).describe(np.ones(1 << 20))
        batch = memory.slot(0).lend(memory.slot(0).describe(np.ones(1 << 20)), nothing)
        del memory
        assert batch.all()
        del batch
    assert traces() == before


def test_a_system_without_memory_files_has_a_file_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    # A file system with room for sparse files of any size, as those of systems that have no memory files.
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    memory = SharedMemory()
    slot = memory.slot(0)
    check_same(slot.lend(slot.describe(np.arange(9)), nothing), np.arange(9))
    folder.rmdir()  # and there is nothing in it


@given(sizes=st.lists(st.integers(0, 1000), min_size=1, max_size=9))
def test_parts_lie_apart_and_aligned(sizes: list[int]) -> None:
    offsets = part_offsets(sizes)
    assert offsets[0] == 0
    assert all(offset % 64 == 0 for offset in offsets)
    assert all(offset + size <= after < offset + size + 64 for offset, size, after in zip(offsets, sizes, offsets[1:], strict=False))
    assert offsets[-1] < STRIDE
