"""failures.csv, written and read: what could not be used, item by item."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from manifests.errors import InvalidManifestError, Problem
from manifests.format.strict_csv import read_csv, write_blocks
from prep.sources.listing import Failure

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


def write_failures(failures: Sequence[Failure], path: Path) -> None:
    """Write failures.csv, sorted by ID.

    Raises:
        OSError: the file cannot be written.
    """
    names = ["id", "source", "stage", "type", "error"]
    rows = sorted((failure.id, failure.source, failure.stage, failure.type, failure.error) for failure in failures)
    write_blocks(names, [dict(zip(names, zip(*rows, strict=True), strict=True))] if rows else [], path)
