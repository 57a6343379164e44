"""CSV to an Arrow table and back, by pyarrow.

pyarrow reads sound files 20 times as fast as Python's `csv`, but does not name what is wrong with others: it gives up at the first row of
another width, and reads `"a"b` as `ab`. So a file that it refuses, in which a quote is not where RFC 4180 has it, or a value has a line
end, is left to `strict_csv.csv_blocks`, which names every row.
"""

from __future__ import annotations

import csv as python_csv
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from manifests.format.strict_csv import header_line, header_problems, quoted
from manifests.rows import arrow
from manifests.rows.buffers import string_array, text
from manifests.rows.table import FEW_VALUED, is_dictionary, rows_of

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK_BYTES = 1 << 20
_ROWS_AT_ONCE = 1 << 14
_LONGEST_HEADER = 1 << 20
_LINE_END = re.compile(rb"\r\n|\n|\r|\Z")
_QUOTE, _NEWLINE, _RETURN = b'"\n\r'

_NEEDS_QUOTES = r'["\,\r\n\x{FEFF}]'
_BOM = b"\xef\xbb\xbf"


class UnsureError(Exception):
    """The file is not one that pyarrow can be trusted with."""


def read_rows(file: io.RawIOBase, *, delimiter: str = ",") -> pa.Table:
    """Read a CSV file of UTF-8 without interpreting any value; blank lines are skipped.

    Args:
        file: the bytes, from their beginning; it is closed at the end.
        delimiter: between fields.

    Raises:
        UnsureError: the file may be malformed: `strict_csv.csv_blocks` tells.
        OSError: the file cannot be read.
    """
    source = _Checked(file, delimiter)
    try:
        names = source.header()
        rows = _parsed(source, names, delimiter)
    finally:
        source.close()
    if source.is_odd:
        raise UnsureError
    return rows


def _parsed(source: _Checked, names: Sequence[str], delimiter: str) -> pa.Table:
    pa, csv = arrow.pa, arrow.csv
    few = pa.dictionary(pa.int32(), pa.string())
    try:
        table = csv.read_csv(
            source,
            read_options=csv.ReadOptions(block_size=_BLOCK_BYTES, column_names=names),
            parse_options=csv.ParseOptions(delimiter=delimiter),
            convert_options=csv.ConvertOptions(
                column_types={name: few if name in FEW_VALUED else pa.large_string() for name in names}, strings_can_be_null=False
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise UnsureError from error
    return rows_of({name: table[name] for name in names})


def write_rows(rows: pa.Table, file: BinaryIO) -> None:
    """Write rows as CSV, with quotes only where a value needs them; equal rows give equal bytes.

    Raises:
        OSError: the file cannot be written.
    """
    file.write(header_line(rows.column_names))
    pc = arrow.pc
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        columns = [_quoted(rows[name].slice(start, _ROWS_AT_ONCE)) for name in rows.column_names]
        if len(columns) == 1:  # an empty value alone would be a blank line, which readers skip
            columns = [pc.if_else(pc.equal(columns[0], text("")), text('""'), columns[0])]
        lines = pc.binary_join_element_wise(*columns, text(",")) if len(columns) > 1 else columns[0]
        file.writelines(map(_bytes_of, pc.binary_join_element_wise(lines, text(""), text("\n")).chunks))


def _bytes_of(strings: pa.Array) -> memoryview:
    """Return the bytes of all strings of an array, which stand end to end."""
    _, offsets, data = strings.buffers()
    ends = np.frombuffer(offsets, dtype=np.int64)
    return memoryview(data)[ends[strings.offset] : ends[strings.offset + len(strings)]]


def _quoted(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as it stands in the file."""
    pa, pc = arrow.pa, arrow.pc
    if is_dictionary(column):
        return pa.chunked_array([_with_quotes(chunk) for chunk in column.chunks], type=pa.large_string())
    needs = pc.match_substring_regex(column, _NEEDS_QUOTES)
    if not pc.any(needs).as_py():
        return column
    doubled = pc.replace_substring(column, '"', '""')
    return pc.if_else(needs, pc.binary_join_element_wise(text('"'), doubled, text('"'), text("")), column)


def _with_quotes(chunk: Any) -> pa.Array:
    values = string_array([quoted(value) for value in chunk.dictionary.to_pylist()])
    return values.take(chunk.indices)


class _Checked(io.RawIOBase):
    """A CSV file that is read from its beginning to its end, of which the place of each quote is checked on the way.

    Attributes:
        is_odd: whether a quote was found where RFC 4180 has none.
    """

    def __init__(self, file: io.RawIOBase, delimiter: str) -> None:
        self._file = file
        self._delimiter = delimiter
        # What may stand before a quote that begins a value, and behind one that ends it; a pair of quotes within a value is both at once.
        self._beside_quotes = f'"{delimiter}\n\r'.encode()
        self._head = b""
        self._last = b"\n"  # the byte before those that are read next
        self._is_quoted = False  # they begin within a quoted value
        self._is_closed = False  # the last byte is the quote that ends one
        self.is_odd = False

    def readable(self) -> bool:
        return True

    def header(self) -> list[str]:
        """Return the names of the columns; what is read next are the rows.

        Raises:
            UnsureError: they are not in the first block, or there is something wrong with them.
        """
        block = b""
        while len(block) < _BLOCK_BYTES and (piece := self._file.read(_BLOCK_BYTES)):
            block += piece
        block = block.removeprefix(_BOM)
        for line in _LINE_END.finditer(block, 0, _LONGEST_HEADER):
            try:
                (names,) = python_csv.reader(io.StringIO(block[: line.end()].decode(), newline=""), delimiter=self._delimiter, strict=True)
            except (UnicodeDecodeError, ValueError, python_csv.Error):  # a line end within quotes, or no CSV
                continue
            self._head = block[line.end() :]
            if header_problems(names, 1) or self._head.startswith(_BOM):  # which pyarrow would skip
                break
            return names
        raise UnsureError

    def read(self, size: int = -1) -> bytes:
        data = self._head[:size] if self._head else self._file.read(size) or b""
        self._head = self._head[len(data) :]
        self._check(data)
        return data

    def close(self) -> None:
        self._file.close()
        super().close()

    def _check(self, data: bytes) -> None:
        """See that quotes stand at the beginning and the end of values, or in pairs within them."""
        if not data:
            self.is_odd |= self._is_quoted
            return
        if self._is_closed:
            self.is_odd |= data[0] not in self._beside_quotes
            self._is_closed = False
        if self._is_quoted or _QUOTE in data:
            self._check_quotes(np.frombuffer(self._last + data, dtype=np.uint8))
        self._last = data[-1:]

    def _check_quotes(self, joined: npt.NDArray[np.uint8]) -> None:
        """Check some bytes, behind the one before them."""
        marks = np.flatnonzero(joined[1:] == _QUOTE) + 1
        is_opening = (np.arange(len(marks)) % 2 == 0) != self._is_quoted
        closing = marks[~is_opening]
        beside = np.concatenate([joined[marks[is_opening] - 1], joined[closing[closing + 1 < len(joined)] + 1]])
        self.is_odd |= not np.isin(beside, np.frombuffer(self._beside_quotes, dtype=np.uint8)).all()
        # Each line end among them must lie outside of quotes: pyarrow cuts the file there.
        ends = np.flatnonzero((joined[1:] == _NEWLINE) | (joined[1:] == _RETURN)) + 1
        self.is_odd |= bool(((np.searchsorted(marks, ends) % 2 == 1) != self._is_quoted).any())
        self._is_quoted ^= len(marks) % 2 == 1
        self._is_closed = joined[-1] == _QUOTE and not self._is_quoted
