"""A column of a manifest in compact arrays, whatever its values are like."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from manifests.joining import same_each
from manifests.strings import Names, PackedStrings, Positions

_FEW = 65_536
"""Distinct values up to which a column is held by codes, however few rows it has."""

_CHUNK = 65_536

_Value = TypeVar("_Value", bound=np.generic)


@dataclass(frozen=True)
class Coded:
    """A column of few distinct values.

    Attributes:
        codes: unsigned, shape (n,): each row's value, by its position in `distinct`.
        distinct: the values; some may be of no row, once rows were selected.
    """

    codes: npt.NDArray[np.unsignedinteger]
    distinct: PackedStrings

    def __len__(self) -> int:
        return len(self.codes)

    def select(self, positions: Positions) -> Coded:
        """Return the rows at these positions (int64, shape (k,))."""
        return Coded(codes=self.codes[positions], distinct=self.distinct)

    def spread(self, values: npt.NDArray[_Value]) -> npt.NDArray[_Value]:
        """Return each row's own of what there is one of for each distinct value: shape (n,)."""
        spread = np.empty(len(self), dtype=values.dtype)
        for start in range(0, len(self), _CHUNK):  # NumPy would make an int64 of every code at once
            spread[start : start + _CHUNK] = values[self.codes[start : start + _CHUNK]]
        return spread

    def counts(self) -> npt.NDArray[np.int64]:
        """Return the number of rows of each value: int64, shape (len(distinct),)."""
        counts = np.zeros(len(self.distinct), dtype=np.int64)
        step = max(_CHUNK, len(counts))
        for start in range(0, len(self), step):
            counts += np.bincount(self.codes[start : start + step], minlength=len(counts))
        return counts


Column = PackedStrings | Coded


class ColumnBuilder:
    """Makes a column of strings that come in blocks, without holding them.

    It begins with codes and turns to packed strings when there are more distinct values than codes save room for.
    """

    def __init__(self, *, few: int | None = _FEW) -> None:
        """Begin an empty column.

        Args:
            few: distinct values up to which codes are kept whatever the number of rows; None for always, 0 for never.
        """
        self._few = few
        self._numbers: defaultdict[str, int] | None = None if few == 0 else _numbering()
        self._codes: list[npt.NDArray[np.uint32]] = []
        self._texts: list[tuple[npt.NDArray[np.int64], bytes]] = []
        self._rows = 0

    def add(self, strings: Collection[str]) -> None:
        """Append rows."""
        self._rows += len(strings)
        if self._numbers is None:
            self._add_texts(strings)
            return
        self._codes.append(np.fromiter(map(self._numbers.__getitem__, strings), dtype=np.uint32, count=len(strings)))
        if self._few is not None and len(self._numbers) > max(self._few, self._rows // 8):
            values = list(self._numbers)
            for codes in self._codes:
                self._add_texts([values[code] for code in codes.tolist()])
            self._numbers, self._codes = None, []

    def column(self) -> Column:
        """Return the column of all rows."""
        return self.strings() if self._numbers is None else self.coded()

    def strings(self) -> PackedStrings:
        """Return the column of all rows as packed strings, which it must have turned to."""
        lengths = np.concatenate([np.zeros(0, dtype=np.int64), *(lengths for lengths, _ in self._texts)])
        data = np.frombuffer(b"".join(data for _, data in self._texts), dtype=np.uint8)
        return PackedStrings.of_bytes(lengths, data)

    def coded(self) -> Coded:
        """Return the column of all rows by codes, which it must have kept."""
        values = list(self._numbers or ())
        smallest = np.min_scalar_type(max(len(values) - 1, 0))
        codes = np.concatenate([np.zeros(0, dtype=smallest), *(block.astype(smallest) for block in self._codes)])
        return Coded(codes=codes, distinct=PackedStrings(values))

    def add_bytes(self, encoded: Sequence[bytes]) -> None:
        """Append rows that are bytes, UTF-8 or not, to a column that keeps no codes."""
        self._rows += len(encoded)
        self._add_encoded(encoded)

    def _add_texts(self, strings: Iterable[str]) -> None:
        self._add_encoded([string.encode() for string in strings])

    def _add_encoded(self, encoded: Sequence[bytes]) -> None:
        self._texts.append((np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded)), b"".join(encoded)))


def _numbering() -> defaultdict[str, int]:
    """Return a mapping that gives each new key the next number."""
    numbers: defaultdict[str, int] = defaultdict()
    numbers.default_factory = numbers.__len__
    return numbers


def packed_column(strings: Iterable[str]) -> Column:
    """Pack a column whose strings are there already."""
    builder = ColumnBuilder()
    builder.add(list(strings))
    return builder.column()


def blank_column(rows: int) -> Coded:
    """Return a column of empty strings."""
    return Coded(codes=np.zeros(rows, dtype=np.uint8), distinct=PackedStrings([""]))


def joined_column(columns: Sequence[Column], order: Positions | None = None) -> Column:
    """Return the rows of several columns, one behind the other, or in an order.

    Args:
        columns: of n rows in all.
        order: which of them, counted through all columns, each place has: int64, shape (n,).
    """
    columns = [column for column in columns if len(column)] or list(columns[:1])
    if len(columns) > 1 and not all(isinstance(column, Coded) for column in columns):
        return PackedStrings.joined(list(map(as_packed, columns)), order)
    joined = columns[0] if len(columns) == 1 else joined_codes([column for column in columns if isinstance(column, Coded)])
    return joined if order is None else joined.select(order)


def joined_codes(columns: Sequence[Coded]) -> Coded:
    """Return the rows of several columns, one behind the other, by codes."""
    number = _numbering()
    tables = [np.fromiter(map(number.__getitem__, column.distinct), dtype=np.uint32, count=len(column.distinct)) for column in columns]
    smallest = np.min_scalar_type(max(len(number) - 1, 0))
    codes = np.concatenate([column.spread(table.astype(smallest)) for column, table in zip(columns, tables, strict=True)])
    return Coded(codes=codes, distinct=PackedStrings(number))


def coded(column: Column) -> Coded:
    """Return a column by codes, however many distinct values it has, each of which has a row."""
    if isinstance(column, PackedStrings):
        builder = ColumnBuilder(few=None)
        for start in range(0, len(column), _CHUNK):
            builder.add(column.take(np.arange(start, min(start + _CHUNK, len(column)))))
        return builder.coded()
    there = np.zeros(len(column.distinct), dtype=np.bool_)
    for start in range(0, len(column), _CHUNK):
        there[column.codes[start : start + _CHUNK]] = True
        if len(there) <= _CHUNK and there.all():
            return column
    if there.all():
        return column
    used = np.flatnonzero(there)
    number = np.zeros(len(there), dtype=np.min_scalar_type(max(len(used) - 1, 0)))
    number[used] = np.arange(len(used))
    return Coded(codes=column.spread(number), distinct=column.distinct.select(used))


def value_counts(column: Column) -> dict[str, int]:
    """Return how many rows each value has."""
    column = coded(column)
    return dict(zip(column.distinct, column.counts().tolist(), strict=True))


def is_in(column: Column, wanted: Collection[str]) -> npt.NDArray[np.bool_]:
    """Return whether each row has one of these values: bool, shape (n,)."""
    if isinstance(column, Coded):
        return column.spread(is_in(column.distinct, wanted))
    # A lone surrogate, which UTF-8 cannot write, is in no manifest.
    sought = {value.encode(errors="surrogatepass") for value in wanted}
    found = np.zeros(len(column), dtype=np.bool_)
    for start in range(0, len(column) if sought else 0, _CHUNK):
        items = column.take_bytes(np.arange(start, min(start + _CHUNK, len(column))))
        found[start : start + _CHUNK] = np.fromiter(map(sought.__contains__, items), dtype=np.bool_, count=len(items))
    return found


def mapped_column(column: Column, function: Callable[[str], str]) -> Column:
    """Return what a function makes of each value; of rows of one value it is asked once where the column is by codes."""
    if isinstance(column, Coded):
        builder = ColumnBuilder(few=None)
        builder.add(list(map(function, column.distinct)))
        made = builder.coded()
        return Coded(codes=column.spread(made.codes), distinct=made.distinct)
    builder = ColumnBuilder()
    for start in range(0, len(column), _CHUNK):
        builder.add(list(map(function, column.take(np.arange(start, min(start + _CHUNK, len(column)))))))
    return builder.column()


def same_values(one: Column, other: Column) -> npt.NDArray[np.bool_]:
    """Return of each row whether both columns, of n rows each, have the same value: bool, shape (n,)."""
    if isinstance(one, Coded) and isinstance(other, Coded):
        numbers = {value: number for number, value in enumerate(other.distinct)}
        theirs = np.array([numbers.get(value, -1) for value in one.distinct], dtype=np.int64)
        same = np.empty(len(one), dtype=np.bool_)
        for start in range(0, len(one), _CHUNK):
            block = slice(start, start + _CHUNK)
            same[block] = theirs[one.codes[block]] == other.codes[block]
        return same
    return same_each(as_packed(one), as_packed(other))


def as_packed(column: Column) -> PackedStrings:
    """Return a column as packed strings."""
    return column if isinstance(column, PackedStrings) else column.distinct.select(column.codes.astype(np.int64))


def values_of(column: Column) -> list[str]:
    """Return each row's value; rows of one value share its string where the column is by codes."""
    if isinstance(column, PackedStrings):
        return column.take(np.arange(len(column))) if len(column) <= _CHUNK else list(column)
    if len(column) < len(column.distinct):
        return column.distinct.take(column.codes.astype(np.int64))
    texts = list(column.distinct)
    return [texts[code] for code in column.codes.tolist()]


def names_in(column: Column) -> Names:
    """Return each row's value, packed where they are many."""
    return column if isinstance(column, PackedStrings) else values_of(column)
