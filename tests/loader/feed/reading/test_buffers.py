"""Lent memory comes back when the last array that looks into it is gone, and never before."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from loader.feed.reading.buffers import BufferPool

ROWS, SHAPE = 3, (2, 5)


@pytest.fixture
def pool() -> BufferPool:
    return BufferPool(ROWS, SHAPE, np.dtype(np.float32), 16)


def lent(pool: BufferPool, value: float = 0) -> np.ndarray[Any, Any]:
    buffer = pool.take()
    buffer.rows[...] = value
    return pool.lend(buffer, ROWS)


def address(array: np.ndarray[Any, Any]) -> int:
    return int(array.__array_interface__["data"][0])


def test_a_loan_is_an_ordinary_writable_array(pool: BufferPool) -> None:
    array = pool.lend(pool.take(), 2)
    assert array.shape == (2, *SHAPE)
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert address(array) % 64 == 0


def test_memory_is_used_again_once_the_array_is_gone(pool: BufferPool) -> None:
    first = lent(pool)
    place = address(first)
    del first
    assert address(lent(pool)) == place


@pytest.mark.parametrize(
    "look",
    [
        lambda array: array,
        lambda array: array[1:],
        lambda array: array[1:].reshape(-1)[::2],
        lambda array: array.T.view(np.uint32),
        memoryview,
        lambda array: iter(array[0]),
        lambda array: np.frombuffer(array.data, np.uint8),
        lambda array: [{"deep": array[0]}],
    ],
)
def test_whatever_looks_into_the_memory_keeps_it(pool: BufferPool, look: Callable[[np.ndarray[Any, Any]], object]) -> None:
    held = look(lent(pool, 7))
    others = [lent(pool, value) for value in range(20)]
    assert len({address(other) for other in others}) == 20
    for value, other in enumerate(others):
        assert (other == value).all()
    assert held is not None


def test_a_copy_keeps_nothing(pool: BufferPool) -> None:
    first = lent(pool, 7)
    place, copy = address(first), first.copy()
    del first
    assert address(lent(pool, 8)) == place
    assert (copy == 7).all()


def test_few_buffers_wait_however_many_were_lent(pool: BufferPool) -> None:
    loans = [lent(pool) for _ in range(50)]
    loans.clear()
    gc.collect()
    assert 0 < len(pool._free) < 10


def test_a_loan_outlives_its_pool() -> None:
    pool = BufferPool(ROWS, SHAPE, np.dtype(np.float32), 0)
    array = lent(pool, 3)
    del pool
    gc.collect()
    assert (array == 3).all()


@pytest.mark.parametrize(("rows", "header", "fits"), [(3, 16, True), (1, 16, True), (4, 16, False), (3, 17, False)])
def test_a_pool_says_what_fits(pool: BufferPool, rows: int, header: int, fits: bool) -> None:
    assert pool.fits(rows, header) is fits


def test_the_views_of_a_row_are_its_header_and_itself_and_one_byte_more(pool: BufferPool) -> None:
    buffer = pool.take()
    for row, (header, elements) in enumerate(buffer.parts):
        header[:] = bytes([row]) * 16
        elements[:] = np.full(SHAPE, row, np.float32).tobytes() + b"\xff"
    assert buffer.headers == b"".join(bytes([row]) * 16 for row in range(ROWS))
    assert [np.unique(row).tolist() for row in buffer.rows] == [[0], [1], [2]]
