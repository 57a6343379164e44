"""Whole files as arrays: read as NumPy reads them, or not at all."""

from __future__ import annotations

import io
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.lib import format as npy_format

from loader.feed.reading import layouts
from loader.feed.reading.layouts import Layouts
from manifests.format.npyfile import read_header


def saved(array: np.ndarray, version: tuple[int, int] | None = None) -> np.ndarray:
    """Return the bytes of an array's file, at an address that is no multiple of anything."""
    file = io.BytesIO()
    npy_format.write_array(file, array, version=version)
    memory = np.empty(len(file.getvalue()) + 1, np.uint8)[1:]
    memory[:] = np.frombuffer(file.getvalue(), np.uint8)
    return memory


@given(
    dtype=st.sampled_from(["bool", "uint8", "<i2", ">i4", "float32", ">f8", "complex64"]),
    shapes=st.lists(npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4), min_size=1, max_size=4),
    order=st.sampled_from("CF"),
    version=st.sampled_from([(1, 0), (2, 0), (3, 0), None]),
)
def test_files_are_read_as_numpy_reads_them(dtype: str, shapes: list[tuple[int, ...]], order: Any, version: Any) -> None:
    reader = Layouts(np.dtype(dtype).newbyteorder("="))
    for shape in shapes * 2:
        array = np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
        found = reader.array(saved(np.asarray(array, order=order), version))
        assert found is not None
        assert found.dtype == np.dtype(dtype).newbyteorder("=")
        assert found.shape == shape
        assert found.flags.c_contiguous
        assert found.flags.aligned
        assert found.flags.writeable
        assert np.array_equal(found, array)


SOUND = saved(np.arange(6, dtype=np.float32).reshape(2, 3))

UNSOUND = {
    "nothing": SOUND[:0],
    "a few bytes": SOUND[:7],
    "no more than the length of the header": SOUND[:10],
    "a part of the header": SOUND[:60],
    "the header alone": SOUND[:128],
    "one byte less": SOUND[:-1],
    "one byte more": np.append(SOUND, np.uint8(0)),
    "zeros": np.zeros_like(SOUND),
    "all ones": np.full_like(SOUND, 255),
    "another dtype": saved(np.arange(6, dtype=np.int32).reshape(2, 3)),
    "text": saved(np.array(["a"])),
    "objects": saved(np.array([None])),
    "an unknown version": np.concatenate([SOUND[:6], np.array([9, 0], np.uint8), SOUND[8:]]),
}


@pytest.mark.parametrize("file", UNSOUND.values(), ids=UNSOUND)
@pytest.mark.parametrize("knows", [False, True])
def test_anything_else_is_nothing(file: np.ndarray, knows: bool) -> None:
    reader = Layouts(np.dtype(np.float32))
    if knows:
        assert reader.array(SOUND) is not None
    for _ in range(2):
        assert reader.array(file) is None


@given(st.data())
def test_no_bytes_are_too_strange(data: st.DataObject) -> None:
    file = SOUND.copy()
    for place in data.draw(st.lists(st.integers(0, len(file) - 1), min_size=1, max_size=4)):
        file[place] = data.draw(st.integers(0, 255))
    found = Layouts(np.dtype(np.float32)).array(file[: data.draw(st.integers(0, len(file)))])
    assert found is None or found.nbytes == 24


def test_a_native_array_looks_into_the_file() -> None:
    file = np.frombuffer(bytearray(SOUND.tobytes()), np.uint8)
    found = Layouts(np.dtype(np.float32)).array(file)
    assert found is not None
    assert np.shares_memory(found, file) or not found.flags.owndata


def test_a_header_is_parsed_once_and_only_so_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts, "_MOST_KEPT", 3)
    reader = Layouts(np.dtype(np.float64))
    files = [saved(np.zeros(i)) for i in range(5)]
    with mock.patch("loader.feed.reading.layouts.read_header", wraps=read_header) as parse:
        for _ in range(4):
            assert reader.array(files[0]) is not None
        assert parse.call_count == 1
        for file in files * 3:
            assert reader.array(file) is not None
            assert len(reader._headers) <= 3
