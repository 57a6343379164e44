"""The IDs of several samples of one raw item."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.rows.table import as_column
from prep.sources.numbered_samples import ambiguous_ids, record_id_of, record_ids_of, sample_ids


def test_ids_are_numbered_from_0() -> None:
    assert sample_ids("cats/7", 2) == ["cats/7-0000", "cats/7-0001"]


@pytest.mark.parametrize("count", [1, 9999, 10_000, 10_001])
def test_ids_sort_as_the_samples_do(count: int) -> None:
    ids = sample_ids("a", count)
    assert ids == sorted(ids)
    assert len(set(ids)) == count


@given(st.text(min_size=1), st.integers(1, 30))
def test_the_way_back(record_id: str, count: int) -> None:
    assert {record_id_of(id_) for id_ in sample_ids(record_id, count)} == {record_id}


@pytest.mark.parametrize(
    ("row", "record"), [("a-0000", "a"), ("a-12345", "a"), ("a-001", "a-001"), ("a", "a"), ("x/a-0000-0001", "x/a-0000")]
)
def test_the_record_of_a_row(row: str, record: str) -> None:
    assert record_id_of(row) == record


@given(st.lists(st.text() | st.from_regex(r"(?s).*-[0-9]{3,6}\n?")))
def test_the_records_of_many_rows(rows: list[str]) -> None:
    assert record_ids_of(as_column(rows)).to_pylist() == list(map(record_id_of, rows))


@pytest.mark.parametrize(
    ("ids", "ambiguous"),
    [([], []), (["a", "b-0000"], []), (["a", "a-0000", "a-12345"], ["a-0000", "a-12345"]), (["a", "a-000"], []), (["a", "a-0000x"], [])],
)
def test_ids_that_could_be_a_samples_of_another_item(ids: list[str], ambiguous: list[str]) -> None:
    assert ambiguous_ids(pa.chunked_array([ids], type=pa.large_string())) == ambiguous
