"""Loading a manifest from its file, and writing one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from manifests.errors import InvalidManifestError, NoManifestError, Problem
from manifests.files.atomic import replacing
from manifests.files.filestate import FileState
from manifests.files.regularfile import open_regular
from manifests.format.metadata import Metadata, read_metadata
from manifests.format.schema import MANIFEST_NAME, METADATA_NAME, PARQUET_NAME, ordered_columns
from manifests.format.strict_csv import csv_blocks, header_problems
from manifests.format.validation import encoding_problems, validate, value_checks
from manifests.manifest import Manifest
from manifests.rows import arrow, arrow_csv, arrow_parquet
from manifests.rows.buffers import ascends
from manifests.rows.checks import is_sound, labels_are_known
from manifests.rows.table import are_rows, columns_of, rows_of, rows_of_any, type_problems
from manifests.storage import cache
from manifests.storage.cache import StampedFile, cached_rows, keep_table
from manifests.storage.commitlog import finish_if_begun

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def load_manifest(path: str | Path) -> Manifest:
    """Load a dataset's manifest.

    Args:
        path: the dataset's folder, or the file itself: CSV, or Parquet, which is also read from a folder without
            `manifest.csv` as `manifest.parquet`. `dataset.json` beside it is read too if it is there.

    Raises:
        NoManifestError: there is no such file or folder, or no manifest in it.
        InvalidManifestError: the manifest or dataset.json breaks the contract; every problem is listed.
        UnfinishedCommitError: the dataset was left amid a changeover, and this process cannot finish it.
        OSError: a file cannot be read.
    """
    path = Path(path)
    finish_if_begun(path if path.is_dir() else path.parent)
    file = path / MANIFEST_NAME if path.is_dir() else path
    if path.is_dir() and not file.is_file() and (path / PARQUET_NAME).is_file():
        file = path / PARQUET_NAME
    if not file.is_file():
        raise NoManifestError(f"{file}: no manifest there; expected a dataset folder with {MANIFEST_NAME}, or a CSV or Parquet file")
    root, source = file.parent, FileState.of(file)
    metadata_file = root / METADATA_NAME
    metadata = read_metadata(metadata_file) if metadata_file.is_file() else Metadata()
    if file.suffix in arrow_parquet.SUFFIXES:
        return Manifest(_read_parquet(file, metadata), root, metadata, source=source)
    kept = cached_rows(file, lambda: _read(file, metadata))
    if kept is None or not labels_are_known(kept, kept.schema.names, metadata):
        kept = _read(file, metadata)
    return Manifest(kept, root, metadata, source=source)


def write_manifest(rows: pd.DataFrame | pa.Table, path: str | Path) -> None:
    """Write rows as a manifest, replacing `path` at once: sorted by ID, the contract's columns first.

    Args:
        rows: a frame or an Arrow table with a column `id`. Missing values are written as empty; others as `str` has them, those of a
            table, which must be text or numbers, as Arrow casts them to strings.
        path: the dataset's folder, or the file itself: CSV, or Parquet if it is called so.

    Raises:
        InvalidManifestError: the rows break the contract; row numbers are those of the file that was not written.
        OSError: the file cannot be written; `path` is then as it was.
    """
    path = Path(path)
    file = path / MANIFEST_NAME if path.is_dir() else path
    if not isinstance(rows, arrow.pa.Table):
        rows = _rows_of_frame(rows, file)
    _refuse(file, header_problems(rows.column_names, 1))
    if not are_rows(rows):
        _refuse(file, type_problems(rows))
        rows = rows_of_any(rows)
    rows = rows.select(ordered_columns(rows.column_names))
    if "id" in rows.column_names and not ascends(rows["id"]):
        rows = rows.take(arrow.pc.sort_indices(rows["id"]))  # in UTF-8, which is by code point: not by the language settings
    if "id" not in rows.column_names or not is_sound(rows, Metadata(), value_checks(rows.column_names)):
        _refuse(file, validate(columns_of(rows, rows.column_names), _lines(len(rows)), Metadata()))
    with replacing(file) as target:
        (arrow_parquet if file.suffix in arrow_parquet.SUFFIXES else arrow_csv).write_rows(rows, target)


def _rows_of_frame(frame: pd.DataFrame, file: Path) -> pa.Table:
    """Return a frame's rows as text.

    Raises:
        InvalidManifestError: values cannot be written as UTF-8, or there are columns without a name or of one name.
    """
    names = list(map(str, frame.columns))
    _refuse(file, header_problems(names, 1))
    columns = {name: _texts(frame.iloc[:, position]) for position, name in enumerate(names)}
    try:
        return rows_of(columns)
    except UnicodeEncodeError:
        ids = columns.get("id", [""] * len(frame))
        order = sorted(range(len(frame)), key=ids.__getitem__)
        columns = {name: [values[position] for position in order] for name, values in columns.items()}
        lines = _lines(len(frame))
        _refuse(file, [*encoding_problems(columns, lines), *validate(columns, lines, Metadata())])
        raise


def _refuse(file: Path, problems: Sequence[Problem]) -> None:
    if problems:
        raise InvalidManifestError(str(file), sorted(problems, key=lambda problem: problem.row or 0))


def _lines(count: int) -> npt.NDArray[np.int64]:
    return np.arange(2, count + 2, dtype=np.int64)


def keep_rows(rows: pa.Table, file: Path, sha256: str) -> None:
    """Keep the rows of a manifest that `write_manifest` has written, so that whoever loads it next need not parse it.

    Where they cannot be kept, nothing is; a few rows are not worth it.

    Args:
        rows: all of them.
        file: the manifest.
        sha256: of what was written to it, in hex.
    """
    if len(rows) >= cache.WRITTEN_ROWS:
        cache.keep_written(rows.select(ordered_columns(rows.column_names)), file, sha256)


def _read(path: Path, metadata: Metadata) -> pa.Table:
    """Read a manifest's file and check it; if it is big, keep what was read for the next time.

    Raises:
        InvalidManifestError: the manifest breaks the contract; every problem is listed.
        OSError: the file cannot be read.
    """
    file = StampedFile(path)
    try:
        rows = arrow_csv.read_rows(file)
        is_good = "id" in rows.column_names and is_sound(rows, metadata, value_checks(rows.column_names))
    except arrow_csv.UnsureError:
        is_good = False
    if not is_good:
        file = StampedFile(path)
        rows = _read_slowly(file, path, metadata)
    if len(rows) >= cache.CACHED_ROWS:
        keep_table(rows, path, file.stamp())
    return rows


def _read_parquet(path: Path, metadata: Metadata) -> pa.Table:
    rows = arrow_parquet.read_rows(open_regular(path), str(path))
    if "id" not in rows.column_names or not is_sound(rows, metadata, value_checks(rows.column_names)):
        problems = validate(columns_of(rows, rows.column_names), np.arange(1, len(rows) + 1, dtype=np.int64), metadata)
        if problems:
            raise InvalidManifestError(str(path), problems)
    return rows


def _read_slowly(file: StampedFile, path: Path, metadata: Metadata) -> pa.Table:
    """Read a manifest's file row by row, so that each problem is named with its line."""
    blocks = csv_blocks(file, path)
    columns, lines = next(blocks).columns, [np.zeros(0, dtype=np.int64)]
    for block in blocks:
        lines.append(block.lines)
        for name, values in block.columns.items():
            columns[name] += values
    problems = validate(columns, np.concatenate(lines), metadata)
    if problems:
        raise InvalidManifestError(str(path), problems)
    return rows_of(columns)


def _texts(values: pd.Series[Any]) -> list[str]:
    """Return a column's values as the manifest writes them."""
    return ["" if missing else str(value) for value, missing in zip(values.astype(object), values.isna(), strict=True)]
