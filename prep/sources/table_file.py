"""Reading a table of labels: CSV, TSV, Parquet or JSON, every value as the text that the user wrote."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from manifests.errors import InvalidManifestError
from manifests.format.strict_csv import csv_blocks, header_problems
from manifests.rows import arrow, arrow_csv
from manifests.rows.buffers import string_array, text
from manifests.rows.table import rows_of
from prep.errors import SourceError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class RawTable:
    """What a table holds, all of it text.

    Attributes:
        path: of the file.
        rows: header field -> column, as in `manifests.rows.table`.
        delimiter: between the fields of a row, if it is a CSV file.
    """

    path: Path
    rows: pa.Table
    delimiter: str = ""

    @cached_property
    def lines(self) -> npt.NDArray[np.int64]:
        """The file's line at which each row starts, the header being line 1: int64, shape (rows,).

        Only messages say them, so that the file is read again for them. Parquet and JSON have no lines; as if a header were line 1.
        """
        if not self.delimiter:
            return np.arange(2, len(self.rows) + 2, dtype=np.int64)
        with open(self.path, "rb", buffering=0) as file:
            return np.concatenate([block.lines for block in csv_blocks(file, self.path, delimiter=self.delimiter)])


def read_table(path: Path) -> RawTable:
    """Read a table whose values are all kept as text; missing values become empty.

    Raises:
        SourceError: the file is missing, cannot be parsed, or has no rows.
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
    names = table.rows.column_names
    only = names[0] if len(names) == 1 else ""
    if ";" in only or "\t" in only:
        raise SourceError(f"{path}: its header {only!r} is one field; save the table with commas, or with tabs as .tsv")
    if not len(table.rows):
        raise SourceError(f"{path}: the table has no rows")
    return table


def _read_csv(path: Path, *, delimiter: str) -> RawTable:
    try:
        rows = arrow_csv.read_rows(open(path, "rb", buffering=0), delimiter=delimiter)  # noqa: SIM115  # it closes the file
    except arrow_csv.UnsureError:
        with open(path, "rb", buffering=0) as file:
            blocks = csv_blocks(file, path, delimiter=delimiter)
            columns: dict[str, list[pa.Array]] = {name: [] for name in next(blocks).columns}
            for block in blocks:
                for name, values in block.columns.items():
                    columns[name].append(string_array(values))
        rows = rows_of({name: arrow.pa.chunked_array(blocks, type=arrow.pa.large_string()) for name, blocks in columns.items()})
    return RawTable(path=path, rows=rows, delimiter=delimiter)


def _read_parquet(path: Path) -> RawTable:
    pyarrow = arrow.pa
    try:
        # Given open, as from its path Arrow would take folders such as `label=cat` above it for columns.
        with open(path, "rb") as file:
            table = arrow.parquet.ParquetFile(file).read()
        if problems := header_problems(table.column_names, 1):
            raise InvalidManifestError(str(path), problems)
        texts = [arrow.pc.fill_null(column.cast(pyarrow.string()), text("").cast(pyarrow.string())) for column in table.columns]
    except pyarrow.ArrowNotImplementedError as error:
        raise SourceError(f"{path}: a column holds lists or records; expected plain values: {_first_line(error)}") from error
    except pyarrow.ArrowException as error:
        raise SourceError(f"{path}: cannot be read as Parquet: {_first_line(error)}") from error
    return RawTable(path=path, rows=rows_of(dict(zip(table.column_names, texts, strict=True))))


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
    return RawTable(path=path, rows=rows_of({"id": list(raw), "label": list(raw.values())}))


def _no_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        repeated = sorted(key for key, count in counts.items() if count > 1)
        raise ValueError(f"names an ID twice: {', '.join(map(repr, repeated))}")
    return found
