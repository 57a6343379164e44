"""A manifest as a Parquet file: the same columns, of strings or of numbers, which are taken as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

from manifests.errors import InvalidManifestError, Problem
from manifests.format.strict_csv import header_problems
from manifests.rows import arrow
from manifests.rows.table import rows_of_any, type_problems

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".parquet", ".pq")


def read_rows(file: BinaryIO, path: str) -> pa.Table:
    """Read a Parquet file; a missing value is an empty string.

    Args:
        file: the bytes; it is closed at the end.
        path: where they came from.

    Raises:
        InvalidManifestError: it is no Parquet file, or has a column that is neither text nor numbers.
        OSError: the file cannot be read.
    """
    pa = arrow.pa
    try:
        with file:
            table = arrow.parquet.ParquetFile(file).read()  # from its path Arrow would take folders such as `label=cat` for columns
    except (pa.ArrowException, OSError) as error:  # Arrow's OSErrors are of what the file holds
        raise InvalidManifestError(path, [Problem(kind="parquet", message=f"cannot be read as Parquet: {error}")]) from error
    problems = header_problems(table.column_names, 1) or type_problems(table)
    if problems:
        raise InvalidManifestError(path, problems)
    return rows_of_any(table)


def write_rows(rows: pa.Table, file: Any) -> None:
    """Write rows as a Parquet file of strings."""
    arrow.parquet.write_table(rows, file)
