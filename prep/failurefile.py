"""failures.csv as a dataset has it: what could not be used, item by item."""

from __future__ import annotations

from pathlib import Path

from manifests.csvfile import read_csv
from manifests.errors import InvalidManifestError, Problem
from prep.records import Failure

_COLUMNS = ("id", "source", "stage", "error")
_TYPE_COLUMN = "type"  # which older releases did not write


def read_failures(path: Path) -> list[Failure]:
    """Return the rows of a failures.csv, in its order; none where there is no such file.

    Raises:
        InvalidManifestError: it is no CSV, or lacks a column.
        OSError: it cannot be read.
    """
    if not path.is_file():
        return []
    frame = read_csv(path).frame
    missing = [column for column in _COLUMNS if column not in frame.columns]
    if missing:
        text = "is missing; build again to write the file anew, or remove it"
        raise InvalidManifestError(str(path), [Problem(kind=f"no-{column}-column", column=column, message=text) for column in missing])
    columns = [*_COLUMNS, *([_TYPE_COLUMN] if _TYPE_COLUMN in frame.columns else [])]
    return [Failure(**dict(zip(columns, row, strict=True))) for row in zip(*(frame[c] for c in columns), strict=True)]
