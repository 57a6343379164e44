"""Reading a table of labels: CSV, TSV, Parquet or JSON, every value as the text that the user wrote."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from manifests.columns import Column, ColumnBuilder, packed_column
from manifests.csvfile import csv_blocks, header_problems
from manifests.errors import InvalidManifestError
from prep.errors import SourceError

_BLOCK = 65_536


@dataclass(frozen=True)
class RawTable:
    """What a table holds, all of it text.

    Attributes:
        columns: header field -> column; all of one length.
        lines: int64, shape (rows,): the file's line at which each row starts, the header being line 1.
    """

    columns: Mapping[str, Column]
    lines: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lines)


def read_table(path: Path) -> RawTable:
    """Read a table whose values are all kept as text; missing values become empty.

    Rows are numbered as the file's lines; those of Parquet and JSON, which have none, as if a header were line 1.

    Raises:
        SourceError: the file is missing, cannot be parsed, has no rows, or is Parquet and pyarrow is not installed.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".json":
            table = _read_json(path)
        elif suffix in {".parquet", ".pq"}:
            table = _read_parquet(path)
        else:
            table = _read_csv(path, delimiter="\t" if suffix == ".tsv" else ",")
    except InvalidManifestError as error:
        raise SourceError(str(error)) from error
    except OSError as error:
        raise SourceError(f"{path}: the table cannot be read: {error.strerror or error}") from error
    only = next(iter(table.columns)) if len(table.columns) == 1 else ""
    if ";" in only or "\t" in only:
        raise SourceError(f"{path}: its header {only!r} is one field; save the table with commas, or with tabs as .tsv")
    if not len(table):
        raise SourceError(f"{path}: the table has no rows")
    return table


def _read_csv(path: Path, *, delimiter: str) -> RawTable:
    with open(path, "rb", buffering=0) as file:
        blocks = csv_blocks(file, path, delimiter=delimiter)
        first = next(blocks)
        builders, lines = {name: ColumnBuilder() for name in first.columns}, [first.lines]
        for block in blocks:
            lines.append(block.lines)
            for name, builder in builders.items():
                builder.add(block.columns[name])
    return RawTable({name: builder.column() for name, builder in builders.items()}, np.concatenate(lines))


def _read_parquet(path: Path) -> RawTable:
    try:
        import pyarrow  # noqa: ICN001, PLC0415  # an extra, and slow to import
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise SourceError(f"{path}: reading Parquet needs pyarrow: pip install 'shardfeed[parquet]'") from error
    try:
        # Given open, as from its path Arrow would take folders such as `label=cat` above it for columns.
        with open(path, "rb") as file:
            table = parquet.ParquetFile(file).read()
        if problems := header_problems(table.column_names, 1):
            raise InvalidManifestError(str(path), problems)
        columns = {name: _column_of(table.column(name).cast(pyarrow.string()).fill_null("")) for name in table.column_names}
    except pyarrow.ArrowNotImplementedError as error:
        raise SourceError(f"{path}: a column holds lists or records; expected plain values: {_first_line(error)}") from error
    except pyarrow.ArrowException as error:
        raise SourceError(f"{path}: cannot be read as Parquet: {_first_line(error)}") from error
    return _numbered(columns)


def _column_of(values: Any) -> Column:
    """Return an Arrow column of strings, taken some at a time."""
    builder = ColumnBuilder()
    for start in range(0, len(values), _BLOCK):
        builder.add(values.slice(start, _BLOCK).to_pylist())
    return builder.column()


def _first_line(error: Exception) -> str:
    """Return what an error says; Arrow's next lines list schemas."""
    return str(error).partition("\n")[0]


def _read_json(path: Path) -> RawTable:
    """Read a JSON object from ID to label, as the tutorial's `labels` dictionary is saved."""
    try:
        raw = json.loads(path.read_bytes(), object_pairs_hook=_no_repeats, parse_float=str, parse_int=str)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(raw, dict) or not all(isinstance(label, str) for label in raw.values()):
        raise SourceError(f'{path}: expected one JSON object from ID to label, such as {{"id-1": 0, "id-2": 1}}')
    try:
        "".join([*raw, *raw.values()]).encode()
    except UnicodeEncodeError as error:
        raise SourceError(f"{path}: has text that UTF-8 cannot encode: {error.object[error.start : error.end]!r}") from error
    return _numbered({"id": packed_column(raw), "label": packed_column(raw.values())})


def _no_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        repeated = sorted(key for key, count in counts.items() if count > 1)
        raise ValueError(f"names an ID twice: {', '.join(map(repr, repeated))}")
    return found


def _numbered(columns: Mapping[str, Column]) -> RawTable:
    rows = max(map(len, columns.values()), default=0)
    return RawTable(columns, np.arange(2, rows + 2, dtype=np.int64))
