"""Reading a table of labels: CSV, TSV, Parquet or JSON, every value as the text that the user wrote."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from manifests.csvfile import CsvTable, header_problems, read_csv
from manifests.errors import InvalidManifestError
from prep.errors import SourceError

if TYPE_CHECKING:
    import pandas as pd


def read_table(path: Path) -> CsvTable:
    """Read a table whose values are all kept as text; missing values become empty.

    Rows are numbered as the file's lines; those of Parquet and JSON, which have none, as if a header were line 1.

    Raises:
        SourceError: the file is missing, cannot be parsed, has no rows, or is Parquet and pyarrow is not installed.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".json":
            table = _numbered(_read_json(path))
        elif suffix in {".parquet", ".pq"}:
            table = _numbered(_read_parquet(path))
        else:
            table = read_csv(path, delimiter="\t" if suffix == ".tsv" else ",")
    except InvalidManifestError as error:
        raise SourceError(str(error)) from error
    except OSError as error:
        raise SourceError(f"{path}: the table cannot be read: {error.strerror or error}") from error
    only = str(table.frame.columns[0]) if len(table.frame.columns) == 1 else ""
    if ";" in only or "\t" in only:
        raise SourceError(f"{path}: its header {only!r} is one field; save the table with commas, or with tabs as .tsv")
    if not len(table.frame):
        raise SourceError(f"{path}: the table has no rows")
    return table


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        import pandas as pd  # noqa: PLC0415  # slow to import, as is the other
        import pyarrow  # noqa: ICN001, PLC0415  # an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise SourceError(f"{path}: reading Parquet needs pyarrow: pip install 'shardfeed[parquet]'") from error
    try:
        # Given open, as from its path Arrow would take folders such as `label=cat` above it for columns.
        with open(path, "rb") as file:
            table = parquet.ParquetFile(file).read()
        if problems := header_problems(table.column_names, 1):
            raise InvalidManifestError(str(path), problems)
        columns = {name: table.column(name).cast(pyarrow.string()).fill_null("").to_pylist() for name in table.column_names}
    except pyarrow.ArrowNotImplementedError as error:
        raise SourceError(f"{path}: a column holds lists or records; expected plain values: {_first_line(error)}") from error
    except pyarrow.ArrowException as error:
        raise SourceError(f"{path}: cannot be read as Parquet: {_first_line(error)}") from error
    return pd.DataFrame(columns, dtype=str)


def _first_line(error: Exception) -> str:
    """Return what an error says; Arrow's next lines list schemas."""
    return str(error).partition("\n")[0]


def _read_json(path: Path) -> pd.DataFrame:
    """Read a JSON object from ID to label, as the tutorial's `labels` dictionary is saved."""
    import pandas as pd  # noqa: PLC0415  # slow to import

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
    return pd.DataFrame({"id": list(raw), "label": list(raw.values())}, dtype=str)


def _no_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        repeated = sorted(key for key, count in counts.items() if count > 1)
        raise ValueError(f"names an ID twice: {', '.join(map(repr, repeated))}")
    return found


def _numbered(frame: pd.DataFrame) -> CsvTable:
    return CsvTable(frame=frame, lines=np.arange(2, len(frame) + 2, dtype=np.int64))
