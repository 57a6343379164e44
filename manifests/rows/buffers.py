"""Arrow arrays from Python's strings and NumPy's arrays, and back.

`pyarrow.array`, `pyarrow.scalar` and `Array.to_numpy` import pandas, which takes a third of a second, as long as a small build; these do
without.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from manifests.rows import arrow

if TYPE_CHECKING:
    import pyarrow as pa

Positions = npt.NDArray[np.int64]
"""Of rows or items: int64, shape (n,)."""

_Number = TypeVar("_Number", bound=np.generic)


def string_array(values: Sequence[str]) -> pa.Array:
    """Return strings as a `large_string` array.

    Raises:
        UnicodeEncodeError: a string cannot be written as UTF-8.
    """
    encoded = [value.encode() for value in values]
    lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
    return array_of_bytes(lengths, b"".join(encoded))


def array_of_bytes(lengths: npt.NDArray[np.int64], data: Any) -> pa.Array:
    """Return strings whose UTF-8 stands end to end as a `large_string` array.

    Args:
        lengths: int64, shape (n,), in bytes.
        data: of all strings; a buffer, which the array looks into.
    """
    pa = arrow.pa
    ends = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=ends[1:])
    return pa.Array.from_buffers(pa.large_string(), len(lengths), [None, pa.py_buffer(ends), pa.py_buffer(data)])


@cache
def text(value: str) -> Any:
    """Return a string as a scalar."""
    return string_array([value])[0]


def integer_array(values: npt.NDArray[np.int32]) -> pa.Array:
    """Return int32 as an array, which looks into NumPy's memory."""
    return number_array(values)


def number_array(values: npt.NDArray[Any]) -> pa.Array:
    """Return integers or floats, shape (n,), as an array of their dtype, which looks into NumPy's memory."""
    pa = arrow.pa
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def numbers(column: pa.ChunkedArray | pa.Array, dtype: Any) -> npt.NDArray[Any]:
    """Return a column of numbers without nulls as NumPy has it: shape (n,); without a copy if it is in one piece.

    Args:
        column: of numbers.
        dtype: theirs.
    """
    chunks = column.chunks if isinstance(column, arrow.pa.ChunkedArray) else [column]
    parts = [view(chunk.buffers()[1], dtype)[chunk.offset : chunk.offset + len(chunk)] for chunk in chunks]
    return parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, dtype=dtype), *parts])


def position_array(positions: npt.NDArray[np.int64]) -> pa.Array:
    """Return positions, int64 of shape (n,), as an array for `take`, which has a null for each -1."""
    pa = arrow.pa
    there = mask_array(positions >= 0).buffers()[1]
    return pa.Array.from_buffers(pa.int64(), len(positions), [there, pa.py_buffer(np.ascontiguousarray(positions))])


def fixed_array(values: npt.NDArray[np.uint8]) -> pa.Array:
    """Return bytes, uint8 of shape (n, width), as an array of `binary(width)`, which looks into NumPy's memory."""
    pa = arrow.pa
    buffer = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(pa.binary(values.shape[1]), len(values), [None, buffer])


def fixed(column: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.uint8]:
    """Return a column of `binary(width)` without nulls as NumPy has it: uint8, shape (n, width)."""
    width = column.type.byte_width
    chunks = column.chunks if isinstance(column, arrow.pa.ChunkedArray) else [column]
    parts = [view(chunk.buffers()[1], np.uint8).reshape(-1, width)[chunk.offset : chunk.offset + len(chunk)] for chunk in chunks]
    return parts[0] if len(parts) == 1 else np.concatenate([np.zeros((0, width), dtype=np.uint8), *parts])


def positions_of(sought: pa.ChunkedArray | pa.Array, among: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.int64]:
    """Return where each value stands first among others: int64, shape (len(sought),); -1 where it does not.

    Args:
        sought: strings or bytes, or a dictionary of them.
        among: likewise.
    """
    sought, among = _plain(sought), _plain(among)
    among = among.cast(sought.type)
    step = arrow.ROWS_AT_ONCE
    if len(among) < 2 * step or not (ascends(sought) and ascends(among)):
        return _found(sought, among)
    # The hash table of all takes a hundred bytes for each; of sorted columns, what may match some lies between two places.
    found, low = np.empty(len(sought), dtype=np.int64), 0
    for start in range(0, len(sought), step):
        some = sought.slice(start, step)
        high = bisect_right(among, some[len(some) - 1].as_py(), low, len(among), key=lambda scalar: scalar.as_py())
        at = _found(some, among.slice(low, high - low))
        found[start : start + len(some)] = np.where(at >= 0, at + low, -1)
        low = high
    return found


def _found(sought: pa.ChunkedArray, among: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    found = arrow.pc.index_in(sought, value_set=among)
    parts = [np.zeros(0, dtype=np.int64)]
    for chunk in found.chunks:
        at = view(chunk.buffers()[1], np.int32)[chunk.offset : chunk.offset + len(chunk)].astype(np.int64)
        at[mask(arrow.pa.chunked_array([chunk.is_null()]))] = -1
        parts.append(at)
    return np.concatenate(parts)


def ascends(column: pa.ChunkedArray) -> bool:
    """Return whether each value comes after the one before it, as IDs in a manifest that we wrote: then no two are equal."""
    return len(column) < 2 or bool(arrow.pc.all(arrow.pc.less(column.slice(0, len(column) - 1), column.slice(1))).as_py())


def _plain(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray:
    column = column if isinstance(column, arrow.pa.ChunkedArray) else arrow.pa.chunked_array([column])
    return column.cast(column.type.value_type) if arrow.pa.types.is_dictionary(column.type) else column


def few_valued(values: Sequence[str]) -> pa.Array:
    """Return strings of which few are distinct as `dictionary<int32, string>`, those in the order in which they first appear."""
    number: dict[str, int] = {}
    codes = np.fromiter((number.setdefault(value, len(number)) for value in values), dtype=np.int32, count=len(values))
    return coded_array(codes, list(number))


def coded_array(codes: npt.NDArray[Any], texts: Sequence[str]) -> pa.Array:
    """Return strings as `dictionary<int32, string>`.

    Args:
        codes: integers, shape (n,): which of the texts each is.
        texts: distinct strings.
    """
    pa = arrow.pa
    return pa.DictionaryArray.from_arrays(number_array(codes.astype(np.int32)), string_array(texts).cast(pa.string()))


def codes_of(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int32], list[str]]:
    """Return a column of few values as NumPy has it: which of the distinct texts each row has, int32 of shape (n,), and these."""
    chunks = column.unify_dictionaries().chunks
    parts = [integers(chunk.indices) for chunk in chunks]
    codes = parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, dtype=np.int32), *parts])
    return codes, chunks[0].dictionary.to_pylist() if chunks else []


def mask_array(mask: npt.NDArray[np.bool_]) -> pa.Array:
    """Return booleans as an array, which has a bit for each."""
    pa = arrow.pa
    return pa.Array.from_buffers(pa.bool_(), len(mask), [None, pa.py_buffer(np.packbits(mask, bitorder="little"))])


def integers(array: pa.Array) -> npt.NDArray[np.int32]:
    """Return an array of int32 without nulls as NumPy has it, without a copy."""
    return view(array.buffers()[1], np.int32)[array.offset : array.offset + len(array)]


def view(buffer: pa.Buffer | None, dtype: type[_Number]) -> npt.NDArray[_Number]:
    """Return what a buffer holds as NumPy has it: read-only, for others look into it too."""
    array = np.frombuffer(buffer or b"", dtype=dtype)
    array.flags.writeable = False
    return array


def floats(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Return float64 without nulls as NumPy has them: shape (n,)."""
    parts = [np.frombuffer(chunk.buffers()[1] or b"", dtype=np.float64)[chunk.offset :][: len(chunk)] for chunk in column.chunks]
    return np.concatenate([np.zeros(0), *parts])


def mask(column: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Return booleans without nulls as NumPy has them: shape (n,)."""
    parts = [np.zeros(0, dtype=np.bool_)]
    for chunk in column.chunks:
        bits = np.frombuffer(chunk.buffers()[1] or b"", dtype=np.uint8)
        parts.append(np.unpackbits(bits, bitorder="little")[chunk.offset : chunk.offset + len(chunk)].view(np.bool_))
    return np.concatenate(parts)
