"""Reading and writing CSV by RFC 4180: UTF-8, LF line ends, every value a string. Errors name every malformed row."""

from __future__ import annotations

import csv
import gc
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from manifests.errors import InvalidManifestError, Problem
from manifests.files.atomic import replacing

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
    """The content of a CSV file.

    Attributes:
        frame: one string column per header field; a RangeIndex.
        lines: int64, shape (rows,): the line of the file where each row starts; the header is line 1.
    """

    frame: pd.DataFrame
    lines: npt.NDArray[np.int64]


@dataclass(frozen=True)
class CsvBlock:
    """Consecutive rows of a CSV file.

    Attributes:
        columns: header field -> values.
        lines: int64, shape (rows,), as in `CsvTable`.
    """

    columns: dict[str, list[str]]
    lines: npt.NDArray[np.int64]


def read_csv(path: Path, *, delimiter: str = ",") -> CsvTable:
    """Read a CSV file without interpreting any value; blank lines are skipped.

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
    """Yield the rows of a CSV file in blocks. The first block has only the header and no rows.

    Python's `csv` parses the file because it returns every row unchanged: faster readers fill up rows that are too short
    and stop at the first one that is too long.

    Args:
        file: a binary file at its start; it is closed at the end.
        path: of the file, for messages.
        delimiter: between fields.

    Raises:
        InvalidManifestError: there is no header, a name in it is repeated or empty, lines are not UTF-8, or rows have
            more or fewer fields than the header (all of these are listed); or a quote is not closed, or closed too early
            (the first one is listed, since the rows after it cannot be told apart).
        OSError: the file cannot be read.
    """
    problems: list[Problem] = []
    # The limit holds for the whole process, so it is raised and never lowered.
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
    """Write a frame of strings as CSV, replacing `path` atomically; equal frames give equal bytes.

    Raises:
        OSError: the file cannot be written; `path` is then as it was.
    """
    blocks = (frame.iloc[start : start + _CHUNK_ROWS] for start in range(0, len(frame), _CHUNK_ROWS))
    write_blocks(
        list(map(str, frame.columns)), ({name: list(block[name].astype(object)) for name in block.columns} for block in blocks), path
    )


def write_blocks(names: Sequence[str], blocks: Iterable[Mapping[str, Sequence[str]]], path: Path) -> None:
    """Write rows of strings that are passed in blocks, as `write_csv` does.

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
    """Return the header row that `write_blocks` writes."""
    return (",".join(map(quoted, names)) + "\n").encode()


def lines_of(names: Sequence[str], block: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield the line that `write_blocks` writes for each row of a block."""
    columns = [_all_quoted(block[name]) for name in names]
    if len(columns) == 1:
        # An empty value alone would be a blank line, which readers skip.
        columns = [[value or '""' for value in columns[0]]]
    return (line + "\n" for line in map(",".join, zip(*columns, strict=True)))


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause Python's cyclic garbage collector: strings have no cycles, and looking for them takes half the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _all_quoted(values: Sequence[str]) -> Sequence[str]:
    """Quote the values that need it. In most columns none does, and one test of the joined values shows it."""
    return list(map(quoted, values)) if _needs_quotes("".join(values)) else values


def _needs_quotes(text: str) -> bool:
    return any(map(text.__contains__, _NEED_QUOTES))  # ten times as fast as a pattern on a long text


def quoted(value: str) -> str:
    """Return a value as it is written to a file, with quotes if it needs them."""
    return '"' + value.replace('"', '""') + '"' if _needs_quotes(value) else value


def _rows_with_lines(reader: Iterator[list[str]], problems: list[Problem]) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not blank, and the line where it starts; stop at the first row that cannot be parsed, and add a problem."""
    line = 1
    try:
        for row in reader:
            if row:
                yield line, row
            line = reader.line_num + 1  # type: ignore[attr-defined]  # csv's reader type has no public name
    except csv.Error as error:
        problems.append(Problem(kind="csv", row=line, message=f"cannot be parsed as CSV: {error}"))


def _encoding_problems(path: Path) -> Iterator[Problem]:
    """Yield a problem for each line that is not UTF-8."""
    with open(path, "rb") as file:
        for line, raw in enumerate(file, start=1):
            try:
                raw.decode()
            except UnicodeDecodeError as error:
                message = f"is not UTF-8 text (byte {raw[error.start]:#04x}); save the file as UTF-8"
                yield Problem(kind="encoding", row=line, message=message)


def header_problems(header: Sequence[str], line: int) -> list[Problem]:
    """Return the problems of a header row that starts at this line: it is empty, or a name in it is empty or repeated."""
    if not header:
        return [Problem(kind="no-header", message="is empty; expected a header row")]
    problems = [
        Problem(kind="header", row=line, message=f"field {position} of the header has no name; {_NAME_IT}")
        for position, name in enumerate(header, start=1)
        if not name
    ]
    repeated = sorted(name for name, count in Counter(header).items() if name and count > 1)
    return problems + [Problem(kind="header", row=line, column=name, message="appears more than once in the header") for name in repeated]


def _width_problem(line: int, found: int, expected: int) -> Problem:
    return Problem(kind="width", row=line, message=f"has {found} fields, the header {expected}")
