"""What is asked of columns is the same whether they are dictionaries, and however they are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.rows import arrow
from manifests.rows.buffers import ascends, string_array
from manifests.rows.table import arrays, mapped, strings


def column(values: list[str], size: int, *, is_dictionary: bool) -> arrow.pa.ChunkedArray:
    blocks = [string_array(values[start : start + size]) for start in range(0, len(values), size)]
    whole = arrow.pa.chunked_array(blocks, type=arrow.pa.large_string())
    return whole.cast(arrow.pa.string()).dictionary_encode() if is_dictionary else whole


@given(st.lists(st.sampled_from(["", "a", "A", "b", "é"])), st.integers(1, 4), st.booleans())
def test_columns_however_they_are_held(values: list[str], size: int, is_dictionary: bool) -> None:
    rows = column(values, size, is_dictionary=is_dictionary)
    made = mapped(rows, str.upper)
    assert strings(made) == [value.upper() for value in values]
    assert made.type == rows.type
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrow, "ROWS_AT_ONCE", 3)
        blocks = list(arrays(rows))
    assert [value for _, block in blocks for value in block.to_pylist()] == values
    assert all(values[start : start + len(block)] == block.to_pylist() and len(block) <= 3 for start, block in blocks)


@pytest.mark.parametrize(("values", "is_so"), [([], True), (["a", "b", "é"], True), (["a", "a"], False), (["b", "a"], False)])
def test_values_that_ascend(values: list[str], is_so: bool) -> None:
    assert ascends(column(values, 2, is_dictionary=False)) == is_so
