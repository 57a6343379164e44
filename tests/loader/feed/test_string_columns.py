"""Columns as NumPy arrays hold the strings that they were made of, from a list or from Arrow."""

from __future__ import annotations

import pickle
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.feed.columns import Coded, coded, column_of, strings
from manifests.rows.table import rows_of

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=3) | st.sampled_from(["", "a", "é", "a\0"]), max_size=12)


def in_pieces(name: str, values: list[str], pieces: int) -> Any:
    """A column of an Arrow table that is not in one piece, and does not begin where its memory does."""
    cuts = [len(values) * piece // pieces for piece in range(pieces + 1)]
    parts = [rows_of({name: ["before", *values[start:stop]]}).slice(1) for start, stop in pairwise(cuts)]
    return pa.concat_tables(parts)[name]


@given(TEXTS, st.integers(0, 3), st.data())
def test_strings_come_back(values: list[str], pieces: int, data: st.DataObject) -> None:
    found = strings(in_pieces("id", values, pieces) if pieces else values)
    assert (len(found), list(found)) == (len(values), values)
    wanted = data.draw(st.lists(st.integers(0, len(values) - 1))) if values else []
    positions = np.array(wanted, dtype=np.int64)
    assert found.take(positions) == [values[i] for i in wanted]
    assert found.take_bytes(positions) == [values[i].encode() for i in wanted]
    affixed = replace(found, prefix="é/".encode(), suffix=b".npy")
    assert affixed.take(positions) == [f"é/{values[i]}.npy" for i in wanted]
    assert [affixed[i] for i in wanted] == affixed.take(positions)


@given(TEXTS, st.sampled_from(["", "id", "label"]), st.integers(1, 3), st.sets(st.integers(0, 11)))
def test_distinct_values_are_those_of_the_rows_in_their_order(values: list[str], name: str, pieces: int, left_out: set[int]) -> None:
    keep = [position not in left_out for position in range(len(values))]
    kept = [value for value, stays in zip(values, keep, strict=True) if stays]
    found = coded(in_pieces(name, values, pieces).filter(pa.array(keep, pa.bool_())) if name else kept)
    assert [found[row] for row in range(len(found))] == kept
    assert found.distinct == tuple(dict.fromkeys(kept))
    assert found.counts().tolist() == [kept.count(value) for value in found.distinct]
    assert found.spread(np.arange(len(found.distinct)) * 10).tolist() == [found.distinct.index(value) * 10 for value in kept]


def test_values_are_spread_in_blocks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manifests.rows.arrow.ROWS_AT_ONCE", 2)
    assert coded(list("abcab")).spread(np.array([3, 1, 2])).tolist() == [3, 1, 2, 3, 1]


@pytest.mark.parametrize("name", ["id", "label"])
def test_arrays_look_into_arrows_memory(name: str) -> None:
    rows = rows_of({"id": [f"{n:05}" for n in range(1000)], "label": ["a", "b"] * 500})
    column = column_of(rows[name])
    arrays = [column.codes] if isinstance(column, Coded) else [column.ends, column.data]
    for array in arrays:
        assert not array.flags.owndata
        assert not array.flags.writeable


def test_what_grows_with_the_strings_is_in_arrays() -> None:
    buffers: list[pickle.PickleBuffer] = []
    ids = strings([str(i) for i in range(10_000)])
    pickled = pickle.dumps((ids, replace(ids, suffix=b".npy")), protocol=5, buffer_callback=buffers.append)
    assert len(pickled) < 1000
    assert len(buffers) == 2  # both look into the same
