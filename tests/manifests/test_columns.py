"""Columns of strings in compact arrays: by codes or packed, they hold the same values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.columns import (
    Coded,
    Column,
    ColumnBuilder,
    blank_column,
    coded,
    is_in,
    joined_column,
    mapped_column,
    packed_column,
    value_counts,
    values_of,
)
from manifests.strings import PackedStrings

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)


def built(blocks: list[list[str]], few: int | None) -> Column:
    builder = ColumnBuilder(few=few)
    for block in blocks:
        builder.add(block)
    return builder.column()


def check_column(column: Column, values: list[str]) -> None:
    assert len(column) == len(values)
    assert values_of(column) == values
    assert value_counts(column) == {value: values.count(value) for value in values}
    by_codes = coded(column)
    assert values_of(by_codes) == values
    assert sorted(by_codes.distinct) == sorted(set(values))
    for wanted in ([], values[:1], ["no such value", *values[-1:]]):
        assert is_in(column, wanted).tolist() == [value in wanted for value in values]


@given(st.lists(st.lists(TEXT, max_size=5), max_size=5), st.sampled_from([None, 0, 2]), st.data())
def test_a_column_holds_what_was_added(blocks: list[list[str]], few: int | None, data: st.DataObject) -> None:
    values = [value for block in blocks for value in block]
    column = built(blocks, few)
    assert few is not None or isinstance(column, Coded)
    assert few != 0 or isinstance(column, PackedStrings)
    check_column(column, values)
    wanted = data.draw(st.lists(st.integers(0, len(values) - 1)) if values else st.just([]))
    check_column(column.select(np.array(wanted, dtype=np.int64)), [values[i] for i in wanted])


def test_a_column_turns_to_packed_strings_when_codes_save_nothing() -> None:
    check_column(built([["a", "b", "a"], ["c", "d", "a"]], 2), ["a", "b", "a", "c", "d", "a"])
    assert isinstance(built([["a", "b", "a"], ["c", "d", "a"]], 2), PackedStrings)
    assert isinstance(built([["a", "b", "a"], ["a", "b", "a"]], 2), Coded)
    assert isinstance(built([["a", "b", "c", "d"] * 8], 2), Coded)  # an eighth of the rows is few, too


@pytest.mark.parametrize(("distinct", "dtype"), [(0, "u1"), (1, "u1"), (256, "u1"), (257, "u2"), (65_536, "u2"), (65_537, "u4")])
def test_codes_are_as_narrow_as_they_can_be(distinct: int, dtype: str) -> None:
    column = built([list(map(str, range(distinct)))], None)
    assert isinstance(column, Coded)
    assert column.codes.dtype == dtype


def test_values_without_a_row_are_left_out() -> None:
    column = packed_column("abcabc").select(np.array([2, 0, 5]))
    assert list(coded(column).distinct) == ["a", "c"]
    assert value_counts(column) == {"a": 1, "c": 2}


def test_a_value_that_no_manifest_can_hold_is_in_no_row() -> None:
    assert not is_in(packed_column(["a", ""]), ["\ud800"]).any()


@given(st.lists(st.tuples(st.lists(TEXT, max_size=5), st.sampled_from([None, 0])), min_size=1, max_size=4))
def test_columns_of_any_kind_are_joined(parts: list[tuple[list[str], int | None]]) -> None:
    check_column(joined_column([built([values], few) for values, few in parts]), [value for values, _ in parts for value in values])


def test_columns_by_codes_stay_so_when_they_are_joined() -> None:
    column = joined_column([built([["a", "b"]], None), blank_column(2), built([["b", "c"]], None)])
    assert isinstance(column, Coded)
    check_column(column, ["a", "b", "", "", "b", "c"])


def test_few_rows_of_a_column_of_many_values_take_only_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    column = packed_column([str(number) for number in range(1000)])
    assert isinstance(column, Coded)
    monkeypatch.setattr(PackedStrings, "__iter__", lambda _: pytest.fail("all of them are taken"))
    assert values_of(column.select(np.array([7, 3, 7]))) == ["7", "3", "7"]


@given(st.lists(TEXT), st.sampled_from([None, 0, 3]))
def test_a_function_is_of_each_value(values: list[str], few: int | None) -> None:
    column = built([values], few)
    check_column(mapped_column(column, lambda value: value[:1].strip()), [value[:1].strip() for value in values])
