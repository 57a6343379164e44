"""The rows of a manifest as an Arrow table: how columns are typed, and what is asked of them.

A column of few values is a dictionary of strings (`dictionary<int32, string>`), any other is `large_string`; none has nulls.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from manifests.errors import Problem
from manifests.format.schema import is_array_column
from manifests.rows import arrow
from manifests.rows.buffers import coded_array, codes_of, integers, mask, mask_array, position_array, string_array, text

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

FEW_VALUED = ("label", "split", "fold", "row", "shape", "dtype")
"""Columns of the contract that have few distinct values."""

MANY_VALUED = ("id", "path", "sha256", "source", "member", "fingerprint")
"""Columns of the contract in which hardly any value appears twice."""

_FEW = 0.1
"""Distinct values a row, below which a column is a dictionary."""

_LOOKED_AT = 65_536
"""Rows at the beginning of a column that say whether its values are few."""


def rows_of(columns: Mapping[str, Any]) -> pa.Table:
    """Return rows as an Arrow table, each column typed as it should be.

    Args:
        columns: name -> Arrow array of strings or of a dictionary of them, or list of strings.

    Raises:
        UnicodeEncodeError: a string cannot be written as UTF-8.
    """
    return arrow.pa.table({name: _typed(name, column) for name, column in columns.items()})


def rows_of_frame(frame: pd.DataFrame) -> pa.Table:
    """Return the rows of a frame of strings."""
    return rows_of({str(name): list(frame[name]) for name in frame.columns})


def rows_of_any(table: pa.Table) -> pa.Table:
    """Return the rows of any Arrow table as text, a missing value as an empty string; `type_problems` must have found none."""
    return rows_of({name: _texts(table[name]) for name in table.column_names})


def are_rows(table: pa.Table) -> bool:
    """Return whether an Arrow table is as `rows_of` makes them: typed as text, and nothing missing."""
    pa = arrow.pa
    for column in table.columns:
        if column.null_count or column.type not in (pa.large_string(), pa.dictionary(pa.int32(), pa.string())):  # no hash
            return False
        for chunk in column.chunks if is_dictionary(column) else ():
            if chunk.dictionary.null_count:
                return False
    return True


def type_problems(table: pa.Table) -> list[Problem]:
    """Return a problem for each column that holds neither text nor numbers."""
    return [
        Problem(kind="type", column=name, message=f"has values of type {table[name].type}; expected text or numbers")
        for name in table.column_names
        if not _is_text_or_number(table[name].type)
    ]


def frame_of(rows: pa.Table) -> pd.DataFrame:
    """Return rows as pandas has them: string columns, a RangeIndex."""
    frame: pd.DataFrame = arrow.pa.table({name: _plain(rows[name]) for name in rows.column_names}).to_pandas()
    return frame


def strings(column: pa.ChunkedArray) -> list[str]:
    """Return each row's value."""
    values: list[str] = _plain(column).to_pylist()
    return values


def string_column(values: Any) -> pa.ChunkedArray:
    """Return strings as a column of `large_string`.

    Args:
        values: an Arrow array of strings or of a dictionary of them, or an iterable of strings, which are not all held as objects.

    Raises:
        UnicodeEncodeError: a string cannot be written as UTF-8.
    """
    pa = arrow.pa
    if isinstance(values, pa.Array | pa.ChunkedArray):
        column = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])
        return _plain(column)
    left = iter(values)
    chunks = []
    while block := list(islice(left, arrow.ROWS_AT_ONCE)):
        chunks.append(string_array(block))
    return pa.chunked_array(chunks, type=pa.large_string())


def string_blocks(column: pa.ChunkedArray | pa.Array) -> Iterator[list[str]]:
    """Yield each row's value, `arrow.ROWS_AT_ONCE` rows at a time."""
    for start in range(0, len(column), arrow.ROWS_AT_ONCE):
        yield column.slice(start, arrow.ROWS_AT_ONCE).to_pylist()


def distinct(column: pa.ChunkedArray) -> list[str]:
    """Return the values that rows have, each once, in the order in which they first appear."""
    values: list[str] = arrow.pc.unique(column).to_pylist()
    return values


def value_counts(column: pa.ChunkedArray) -> dict[str, int]:
    """Return how many rows each value has."""
    counts = arrow.pc.value_counts(column)
    return dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True))


def is_in(column: pa.ChunkedArray, wanted: Collection[str]) -> npt.NDArray[np.bool_]:
    """Return whether each row has one of these values: bool, shape (n,)."""
    sought = {value for value in wanted if _is_text(value)}  # a lone surrogate, which UTF-8 cannot write, is in no manifest
    if not is_dictionary(column):
        return mask(arrow.pc.is_in(column, string_array(list(sought))))
    parts = [np.zeros(0, dtype=np.bool_)]
    for chunk in column.chunks:
        is_sought = np.array([value in sought for value in chunk.dictionary.to_pylist()], dtype=np.bool_)
        parts.append(is_sought[integers(chunk.indices)])
    return np.concatenate(parts)


def arrays(column: pa.ChunkedArray) -> Iterator[tuple[int, pa.Array]]:
    """Yield the rows some at a time, each time with the position of the first."""
    begin = 0
    for chunk in column.chunks:
        for start in range(0, len(chunk), arrow.ROWS_AT_ONCE):
            yield begin + start, chunk.slice(start, arrow.ROWS_AT_ONCE)
        begin += len(chunk)


def is_dictionary(column: pa.ChunkedArray) -> bool:
    """Return whether a column is held as a dictionary of its values."""
    return bool(arrow.pa.types.is_dictionary(column.type))


def in_one_piece(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array; without a copy if it is one already."""
    if column.num_chunks == 1:
        return column.chunk(0)
    array = column.combine_chunks()
    return array if isinstance(array, arrow.pa.Array) else array.chunk(0)


def value(rows: pa.Table, name: str, row: int) -> str:
    """Return one value of a column that is there."""
    found: str = rows[name][row].as_py()
    return found


def select(rows: pa.Table, keep: npt.NDArray[np.bool_]) -> pa.Table:
    """Return the rows of a mask (bool, shape (n,))."""
    return rows.filter(mask_array(keep))


def blank(count: int) -> pa.ChunkedArray:
    """Return a column of empty strings."""
    return arrow.pa.chunked_array([coded_array(np.zeros(count, dtype=np.int32), [""])])


def taken(column: pa.ChunkedArray, positions: npt.NDArray[np.int64]) -> pa.ChunkedArray:
    """Return the values at some positions (int64, shape (k,)), empty where the position is -1."""
    pa = arrow.pa
    if is_dictionary(column):
        codes, texts = codes_of(column)
        texts = texts if "" in texts else [*texts, ""]
        return pa.chunked_array([coded_array(np.append(codes, texts.index(""))[positions], texts)])
    return pa.chunked_array([arrow.pc.fill_null(in_one_piece(column).take(position_array(positions)), text(""))])


def equal_at(column: pa.ChunkedArray, others: pa.ChunkedArray, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return whether each string is the one that stands at its position among others: bool, shape (len(column),).

    Args:
        column: strings.
        others: likewise.
        positions: int64, shape (len(column),); no string is that at -1.
    """
    pa, others = arrow.pa, in_one_piece(others)
    parts = [np.zeros(0, dtype=np.bool_)]
    for start in range(0, len(column), arrow.ROWS_AT_ONCE):
        some = positions[start : start + arrow.ROWS_AT_ONCE]
        found = pa.chunked_array([others.take(position_array(some))])
        parts.append(mask(arrow.pc.equal(column.slice(start, len(some)), found)) & (some >= 0))
    return np.concatenate(parts)


def mapped(column: pa.ChunkedArray, function: Callable[[str], str]) -> pa.ChunkedArray:
    """Return what a function makes of each value; it is asked once for all rows of one value where these are a dictionary."""
    pa = arrow.pa
    if is_dictionary(column):
        codes, texts = codes_of(column)
        number: dict[str, int] = {}
        made = np.array([number.setdefault(function(value), len(number)) for value in texts], dtype=np.int32)
        return pa.chunked_array([coded_array(made[codes], list(number))])
    starts = range(0, len(column), arrow.ROWS_AT_ONCE)
    parts = [string_array(list(map(function, strings(column.slice(start, arrow.ROWS_AT_ONCE))))) for start in starts]
    return pa.chunked_array(parts, type=pa.large_string())


def as_column(values: pa.ChunkedArray | pa.Array | Sequence[str]) -> pa.ChunkedArray:
    """Return strings as a column."""
    pa = arrow.pa
    if isinstance(values, pa.ChunkedArray):
        return values
    array = values if isinstance(values, pa.Array) else string_array(values)
    return pa.chunked_array([array])


def with_column(rows: pa.Table, name: str, column: Any) -> pa.Table:
    """Return rows with a further column, or another in the place of that of the same name, typed as by `rows_of`."""
    typed = _typed(name, column)
    return rows.set_column(rows.column_names.index(name), name, typed) if name in rows.column_names else rows.append_column(name, typed)


def with_rows(rows: pa.Table, more: Mapping[str, Sequence[str]]) -> pa.Table:
    """Return rows with further ones behind them, of which each column is given."""
    pa, columns = arrow.pa, {}
    for name in rows.column_names:
        added = string_array(more[name])
        added = added.dictionary_encode().cast(rows[name].type) if is_dictionary(rows[name]) else added
        columns[name] = pa.chunked_array([*rows[name].chunks, added])
    return pa.table(columns)


def _typed(name: str, column: Any) -> pa.ChunkedArray:
    pa = arrow.pa
    column = as_column(column)
    name = name.rpartition(".")[2] if is_array_column(name) else name
    if is_dictionary(column) and name not in MANY_VALUED:
        return pa.chunked_array([in_one_piece(column.unify_dictionaries())])
    column = column if column.type == pa.large_string() else column.cast(pa.large_string())
    few = name in FEW_VALUED or (name not in MANY_VALUED and _has_few(column))
    return pa.chunked_array([_encoded(column)]) if few else column


def _has_few(column: pa.ChunkedArray) -> bool:
    head = column.slice(0, _LOOKED_AT)
    return bool(len(head)) and int(arrow.pc.count_distinct(head).as_py()) <= max(1, _FEW * len(head))


def _encoded(column: pa.ChunkedArray) -> pa.Array:
    pa = arrow.pa
    encoded = column.cast(pa.large_string()).dictionary_encode().unify_dictionaries()
    return in_one_piece(encoded).cast(pa.dictionary(pa.int32(), pa.string()))


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    plain = arrow.pa.large_string()
    if not is_dictionary(column):
        return column.cast(plain)
    # By `take`, in a third of the time of a cast of the column.
    return arrow.pa.chunked_array([part for chunk in column.chunks for part in _decoded(chunk)], type=plain)


def _decoded(chunk: pa.DictionaryArray) -> list[pa.Array]:
    """Return a dictionary's rows as strings; where all are one value, as shape and dtype often, in pieces that share their memory."""
    values, step = chunk.dictionary.cast(arrow.pa.large_string()), arrow.ROWS_AT_ONCE
    if len(values) > 1 or len(chunk) <= step:
        return [values.take(chunk.indices)]
    piece = values.take(chunk.indices.slice(0, step))
    return [piece] * (len(chunk) // step) + [piece.slice(0, len(chunk) % step)]


def _is_text_or_number(kind: Any) -> bool:
    types = arrow.pa.types
    kind = kind.value_type if types.is_dictionary(kind) else kind
    return any(test(kind) for test in (types.is_string, types.is_large_string, types.is_integer, types.is_floating, types.is_null))


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    column = column.cast(column.type.value_type) if is_dictionary(column) else column
    return arrow.pc.fill_null(column.cast(arrow.pa.large_string()), text(""))


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def columns_of(rows: pa.Table, names: Iterable[str]) -> dict[str, Sequence[str]]:
    """Return each row's value of some columns, those that are there."""
    return {name: strings(rows[name]) for name in names if name in rows.column_names}
