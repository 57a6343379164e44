"""CSV as the contract has it: RFC 4180, UTF-8, line ends of one byte, every value a string, every malformed row named."""

from __future__ import annotations

import csv
import gc
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from manifests.atomic import replacing
from manifests.errors import InvalidManifestError, Problem

if TYPE_CHECKING:
    import pandas as pd

_CHUNK_ROWS = 65_536
_LONGEST_FIELD = 1 << 24
_BUFFER_BYTES = 1 << 20
# A byte order mark is quoted so that the first name of a header cannot be taken for the file's own.
_NEED_QUOTES = ('"', ",", "\r", "\n", "\ufeff")

_NAME_IT = "give it one, or leave it out (pandas writes its index so, unless told to_csv(..., index=False))"


@dataclass(frozen=True)
class CsvTable:
    """What a CSV file holds.

    Attributes:
        frame: one string column per header field; a RangeIndex.
        lines: int64, shape (rows,): the file's line at which each row starts, the header being line 1.
    """

    frame: pd.DataFrame
    lines: npt.NDArray[np.int64]


@dataclass(frozen=True)
class CsvBlock:
    """Rows that follow each other in a CSV file.

    Attributes:
        columns: header field -> values.
        lines: int64, shape (rows,), as in `CsvTable`.
    """

    columns: dict[str, list[str]]
    lines: npt.NDArray[np.int64]


def read_csv(path: Path, *, delimiter: str = ",") -> CsvTable:
    """Read a CSV file without interpreting any value; blank lines are passed over.

    Raises:
        InvalidManifestError: as for `csv_blocks`.
        OSError: the file cannot be read.
    """
    import pandas as pd  # noqa: PLC0415  # slow to import, and manifests are read without

    with open(path, "rb", buffering=0) as file:
        blocks = [(pd.DataFrame(block.columns, dtype=str), block.lines) for block in csv_blocks(file, path, delimiter=delimiter)]
    frames, lines = [frame for frame, _ in blocks if len(frame)], [lines for _, lines in blocks]
    return CsvTable(frame=pd.concat(frames, ignore_index=True) if frames else blocks[0][0], lines=np.concatenate(lines))


def csv_blocks(file: io.RawIOBase, path: Path, *, delimiter: str = ",") -> Iterator[CsvBlock]:
    """Yield the rows of a CSV file in blocks, the first of which has none and tells the header.

    Python's own reader does the parsing because it reports every row as it is: the fast ones fill up rows that are
    too short and stop at the first that is too long.

    Args:
        file: the bytes, from their beginning; it is closed at the end.
        path: where they came from.
        delimiter: between fields.

    Raises:
        InvalidManifestError: no header, a header with a repeated or empty name, lines that are not UTF-8, rows with
            another number of fields than the header (every such row is listed), or a quote that is not closed or
            closed too early (the first such row is, since nothing behind it can be told apart).
        OSError: the file cannot be read.
    """
    problems: list[Problem] = []
    # The limit is the process's; it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_FIELD))
    try:
        with io.TextIOWrapper(io.BufferedReader(file, _BUFFER_BYTES), encoding="utf-8-sig", newline="") as text, _collector_paused():
            rows = _rows_with_lines(csv.reader(text, delimiter=delimiter, strict=True), problems)
            header_line, header = next(rows, (1, []))
            problems += [] if problems else header_problems(header, header_line)
            if problems:
                raise InvalidManifestError(str(path), problems)
            yield CsvBlock({name: [] for name in header}, np.zeros(0, dtype=np.int64))
            while chunk := list(islice(rows, _CHUNK_ROWS)):
                problems += [_width_problem(line, len(row), len(header)) for line, row in chunk if len(row) != len(header)]
                if not problems:
                    columns = map(list, zip(*(row for _, row in chunk), strict=True))
                    yield CsvBlock(dict(zip(header, columns, strict=True)), np.array([line for line, _ in chunk], dtype=np.int64))
    except UnicodeDecodeError as error:
        raise InvalidManifestError(str(path), list(_encoding_problems(path))) from error
    if problems:
        raise InvalidManifestError(str(path), sorted(problems, key=lambda problem: problem.row or 0))


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame of strings as CSV, replacing `path` at once; equal frames give equal bytes.

    Raises:
        OSError: the file cannot be written; `path` is then as it was.
    """
    blocks = (frame.iloc[start : start + _CHUNK_ROWS] for start in range(0, len(frame), _CHUNK_ROWS))
    write_blocks(
        list(map(str, frame.columns)), ({name: list(block[name].astype(object)) for name in block.columns} for block in blocks), path
    )


def write_blocks(names: Sequence[str], blocks: Iterable[Mapping[str, Sequence[str]]], path: Path) -> None:
    """Write rows of strings that come some at a time, as `write_csv` does.

    Args:
        names: of the columns, in order.
        blocks: name -> values, of equal length within a block.
        path: of the file.

    Raises:
        OSError: the file cannot be written; `path` is then as it was.
    """
    with replacing(path) as file:
        file.write(header_line(names))
        for block in blocks:
            file.write("".join(lines_of(names, block)).encode())


def header_line(names: Sequence[str]) -> bytes:
    """Return the line that `write_blocks` begins a file with."""
    return (",".join(map(_quoted, names)) + "\n").encode()


def lines_of(names: Sequence[str], block: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield the line that `write_blocks` writes for each row of a block."""
    columns = [_all_quoted(block[name]) for name in names]
    if len(columns) == 1:
        # An empty value alone would be a blank line, which readers pass over.
        columns = [[value or '""' for value in columns[0]]]
    return (line + "\n" for line in map(",".join, zip(*columns, strict=True)))


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Let Python's cycle collector rest: millions of short strings hold no cycles, and looking takes half the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _all_quoted(values: Sequence[str]) -> Sequence[str]:
    """Quote what needs it; hardly ever any of a whole column does, which one look at all of it tells."""
    return list(map(_quoted, values)) if _needs_quotes("".join(values)) else values


def _needs_quotes(text: str) -> bool:
    return any(map(text.__contains__, _NEED_QUOTES))  # ten times as fast as a pattern on a long text


def _quoted(value: str) -> str:
    return '"' + value.replace('"', '""') + '"' if _needs_quotes(value) else value


def _rows_with_lines(reader: Iterator[list[str]], problems: list[Problem]) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not blank with the line at which it starts; the first that is no CSV ends it as a problem."""
    line = 1
    try:
        for row in reader:
            if row:
                yield line, row
            line = reader.line_num + 1  # type: ignore[attr-defined]  # csv's reader type has no public name
    except csv.Error as error:
        problems.append(Problem(kind="csv", row=line, message=f"cannot be parsed as CSV: {error}"))


def _encoding_problems(path: Path) -> Iterator[Problem]:
    """Yield a problem for each line that is not UTF-8; no character of UTF-8 reaches over a line's end."""
    with open(path, "rb") as file:
        for line, raw in enumerate(file, start=1):
            try:
                raw.decode()
            except UnicodeDecodeError as error:
                message = f"is not UTF-8 text (byte {raw[error.start]:#04x}); save the file as UTF-8"
                yield Problem(kind="encoding", row=line, message=message)


def header_problems(header: Sequence[str], line: int) -> list[Problem]:
    """Return what is wrong with a header row that starts at this line: it is empty, or has an empty or a repeated name."""
    if not header:
        return [Problem(kind="no-header", message="is empty; expected a header row")]
    problems = [
        Problem(kind="header", row=line, message=f"field {position} of the header has no name; {_NAME_IT}")
        for position, name in enumerate(header, start=1)
        if not name
    ]
    repeated = sorted({name for name in header if name and header.count(name) > 1})
    return problems + [Problem(kind="header", row=line, column=name, message="stands more than once in the header") for name in repeated]


def _width_problem(line: int, found: int, expected: int) -> Problem:
    return Problem(kind="width", row=line, message=f"has {found} fields, the header {expected}")
