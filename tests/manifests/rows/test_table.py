"""Values are taken, compared and mapped as lists would be, whatever a column is held as and however many pieces it is in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.rows import arrow
from manifests.rows.buffers import string_array
from manifests.rows.table import blank, equal_at, frame_of, mapped, rows_of, string_column, strings, taken, with_column, with_rows

if TYPE_CHECKING:
    import pyarrow as pa

texts = st.sampled_from(["", "a", "b", "été", "a-0000"])
pieces = st.lists(st.lists(texts, max_size=5), max_size=3)
"""Of a column."""


def column_of(pieces: Sequence[Sequence[str]], *, few: bool) -> pa.ChunkedArray:
    pa = arrow.pa
    column = pa.chunked_array([string_array(piece) for piece in pieces], type=pa.large_string())
    return column.dictionary_encode().cast(pa.dictionary(pa.int32(), pa.string())) if few else column


@pytest.mark.parametrize("at_once", [1, 4, 7, 8, 65_536])
@pytest.mark.parametrize("values", [["a"] * 7, ["a", "b"] * 4, ["", ""], []])
def test_a_frame_has_each_value(monkeypatch: pytest.MonkeyPatch, values: list[str], at_once: int) -> None:
    monkeypatch.setattr(arrow, "ROWS_AT_ONCE", at_once)
    rows = arrow.pa.table({"few": column_of([values[:3], values[3:]], few=True), "many": column_of([values], few=False)})
    frame = frame_of(rows)
    assert [list(frame["few"]), list(frame["many"]), strings(rows["few"])] == [values] * 3
    assert set(map(str, frame.dtypes)) == {"str"}


def test_one_value_in_all_rows_is_held_once() -> None:
    column = rows_of({"shape": ["32x32x3"] * 500_000})["shape"]
    before = arrow.pa.total_allocated_bytes()
    text = string_column(column)
    assert arrow.pa.total_allocated_bytes() - before < 3_000_000
    assert len(text) == 500_000


@given(pieces, st.booleans(), st.data())
def test_values_at_positions(pieces: list[list[str]], few: bool, data: st.DataObject) -> None:
    values = [value for piece in pieces for value in piece]
    at = data.draw(st.lists(st.integers(-1, len(values) - 1), max_size=8))
    found = taken(column_of(pieces, few=few), np.array(at, dtype=np.int64))
    assert strings(found) == ["" if position < 0 else values[position] for position in at]


@given(pieces, st.lists(st.tuples(texts, st.integers(-1, 20)), max_size=10), st.integers(1, 4))
def test_values_that_are_equal_at_positions(pieces: list[list[str]], pairs: list[tuple[str, int]], at_once: int) -> None:
    values = [value for piece in pieces for value in piece]
    pairs = [(text, position) for text, position in pairs if position < len(values)]
    at = np.array([position for _, position in pairs], dtype=np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrow, "ROWS_AT_ONCE", at_once)
        found = equal_at(column_of([[text for text, _ in pairs]], few=False), column_of(pieces, few=False), at)
    assert found.tolist() == [position >= 0 and values[position] == text for text, position in pairs]


@given(pieces, st.booleans())
def test_a_function_of_each_value(pieces: list[list[str]], few: bool) -> None:
    found = mapped(column_of(pieces, few=few), lambda text: text[:1])
    assert strings(found) == [value[:1] for piece in pieces for value in piece]


def test_rows_that_come_behind_keep_the_types_of_columns() -> None:
    rows = rows_of({"id": ["b", "a"], "split": ["train", "val"]})
    more = with_rows(rows, {"id": ["c"], "split": ["test"]})
    assert more.schema == rows.schema
    assert more.to_pydict() == {"id": ["b", "a", "c"], "split": ["train", "val", "test"]}
    assert with_rows(rows, {"id": [], "split": []}).equals(rows)


def test_a_column_takes_the_place_of_one_of_its_name() -> None:
    rows = rows_of({"id": ["b", "a"], "split": ["train", "val"], "label": ["x", "y"]})
    assert with_column(rows, "split", blank(2)).to_pydict() == {"id": ["b", "a"], "split": ["", ""], "label": ["x", "y"]}
    assert with_column(rows, "fold", ["0", "1"]).column_names == ["id", "split", "label", "fold"]
