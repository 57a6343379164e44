"""Columns of strings as NumPy arrays, which worker processes share without importing pyarrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from manifests.rows import arrow
from manifests.rows.buffers import integers, view
from manifests.rows.table import in_one_piece, is_dictionary

if TYPE_CHECKING:
    import pyarrow as pa

_Value = TypeVar("_Value", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Strings:
    """Many strings in two arrays.

    Attributes:
        ends: int64, shape (n + 1,): string i is data[ends[i]:ends[i + 1]], in UTF-8.
        data: uint8.
        prefix: put before each string when it is taken.
        suffix: put behind it.
    """

    ends: npt.NDArray[np.int64]
    data: npt.NDArray[np.uint8]
    prefix: bytes = b""
    suffix: bytes = b""

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, position: int) -> str:
        """Return one string; the position is from 0."""
        return self.take(np.array([position]))[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self.take(np.arange(len(self))))

    def take(self, positions: npt.NDArray[np.int64]) -> list[str]:
        """Return the strings at these positions (int64, shape (k,), each from 0)."""
        return [item.decode() for item in self.take_bytes(positions)]

    def take_bytes(self, positions: npt.NDArray[np.int64]) -> list[bytes]:
        """Return the same as `take`, in UTF-8."""
        data = memoryview(self.data)  # type: ignore[arg-type]  # an array has the buffer protocol
        pairs = zip(self.ends[positions].tolist(), self.ends[positions + 1].tolist(), strict=True)
        prefix, suffix = self.prefix, self.suffix
        if prefix or suffix:
            return [prefix + data[start:end].tobytes() + suffix for start, end in pairs]
        return [data[start:end].tobytes() for start, end in pairs]


@dataclass(frozen=True, eq=False)
class Coded:
    """A column of few distinct values.

    Attributes:
        codes: int32, shape (n,): each row's value, by its position in `distinct`.
        distinct: the values, each of which has a row, in the order in which they first appear.
    """

    codes: npt.NDArray[np.int32]
    distinct: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, position: int) -> str:
        """Return one row's value."""
        return self.distinct[int(self.codes[position])]

    def spread(self, values: npt.NDArray[_Value]) -> npt.NDArray[_Value]:
        """Return for each row the value that stands for its distinct value.

        Args:
            values: shape (len(distinct),).

        Returns:
            shape (n,).
        """
        return _at(values, self.codes)

    def counts(self) -> npt.NDArray[np.int64]:
        """Return the number of rows of each distinct value: int64, shape (len(distinct),)."""
        return np.bincount(self.codes, minlength=len(self.distinct))


def strings(values: Sequence[str] | pa.ChunkedArray) -> Strings:
    """Return strings as arrays, which look into Arrow's memory if they come from there.

    Args:
        values: a sequence, or an Arrow column of `large_string`.
    """
    if isinstance(values, Sequence):
        encoded = [value.encode() for value in values]
        ends = np.zeros(len(encoded) + 1, dtype=np.int64)
        np.cumsum(np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded)), out=ends[1:])
        return Strings(ends, np.frombuffer(b"".join(encoded), dtype=np.uint8))
    array = in_one_piece(values)
    _, offsets, data = array.buffers()
    ends = view(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    return Strings(ends if len(ends) else np.zeros(1, dtype=np.int64), view(data, np.uint8))


def coded(values: Sequence[str] | pa.ChunkedArray) -> Coded:
    """Return strings by their distinct values.

    Args:
        values: a sequence, or an Arrow column of strings or of a dictionary of them.
    """
    if isinstance(values, Sequence):
        numbers: dict[str, int] = {}
        codes = np.fromiter((numbers.setdefault(value, len(numbers)) for value in values), dtype=np.int32, count=len(values))
        return Coded(codes, tuple(numbers))
    array = in_one_piece((values if is_dictionary(values) else values.dictionary_encode()).unify_dictionaries())
    there = arrow.pc.unique(array.indices)
    codes, used, distinct = integers(array.indices), integers(there), tuple(array.dictionary.take(there).to_pylist())
    if np.array_equal(used, np.arange(len(array.dictionary))):
        return Coded(codes, distinct)
    number = np.zeros(len(array.dictionary), dtype=np.int32)
    number[used] = np.arange(len(used), dtype=np.int32)
    return Coded(_at(number, codes), distinct)


def column_of(values: pa.ChunkedArray) -> Strings | Coded:
    """Return an Arrow column by its distinct values if it is a dictionary, else as strings."""
    return coded(values) if is_dictionary(values) else strings(values)


def _at(values: npt.NDArray[_Value], codes: npt.NDArray[np.int32]) -> npt.NDArray[_Value]:
    found = np.empty(len(codes), dtype=values.dtype)
    step = arrow.ROWS_AT_ONCE
    for start in range(0, len(codes), step):  # NumPy would copy all codes to int64 at once
        found[start : start + step] = values[codes[start : start + step]]
    return found
