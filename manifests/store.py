"""Loading a manifest from its file, and writing one."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from manifests import cache
from manifests.atomic import replacing
from manifests.cache import StampedFile, cached_table, keep_table
from manifests.commitlog import finish_if_begun
from manifests.csvfile import csv_blocks, header_problems, write_blocks, write_csv
from manifests.errors import InvalidManifestError, NoManifestError
from manifests.linecopy import LinesGoneError, OldRows, copyable_lines, write_lines
from manifests.manifest import Manifest
from manifests.metadata import Metadata, read_metadata
from manifests.schema import COLUMN_NAMES, MANIFEST_NAME, METADATA_NAME
from manifests.table import Table, TableBuilder
from manifests.validation import are_sound_beside, encoding_problems, labels_are_known, missing_ids, validate

if TYPE_CHECKING:
    import pandas as pd


def load_manifest(path: str | Path) -> Manifest:
    """Load a dataset's manifest.

    Args:
        path: the dataset's folder, or the CSV file itself. `dataset.json` beside it is read too if it is there.

    Raises:
        NoManifestError: there is no such file or folder, or no manifest in it.
        InvalidManifestError: the manifest or dataset.json breaks the contract; every problem is listed.
        UnfinishedCommitError: the dataset was left amid a changeover, and this process cannot finish it.
        OSError: a file cannot be read.
    """
    path = Path(path)
    finish_if_begun(path if path.is_dir() else path.parent)
    file = path / MANIFEST_NAME if path.is_dir() else path
    if not file.is_file():
        raise NoManifestError(f"{file}: no manifest there; expected a dataset folder with {MANIFEST_NAME}, or a CSV file")
    root = file.parent
    metadata_file = root / METADATA_NAME
    metadata = read_metadata(metadata_file) if metadata_file.is_file() else Metadata()
    table = cached_table(file)
    if table is None or not labels_are_known(table, metadata):
        table = _read_table(file, metadata)
    return Manifest(table, root, metadata)


def write_manifest(frame: pd.DataFrame, path: str | Path) -> None:
    """Write rows as a manifest, replacing `path` at once: sorted by ID, the contract's columns first.

    Args:
        frame: columns with at least `id`; missing values are written as empty, others as `str` has them.
        path: the dataset's folder, or the CSV file itself.

    Raises:
        InvalidManifestError: the rows break the contract; row numbers are those of the file that was not written.
        OSError: the file cannot be written; `path` is then as it was.
    """
    import pandas as pd  # noqa: PLC0415  # slow to import, and loading does without

    path = Path(path)
    file = path / MANIFEST_NAME if path.is_dir() else path
    names = list(map(str, frame.columns))
    problems = header_problems(names, 1)
    if problems:
        raise InvalidManifestError(str(file), problems)
    order = _ordered(names)
    ordered = pd.DataFrame({name: _texts(frame.iloc[:, names.index(name)]) for name in order}, dtype=object)
    if "id" in ordered.columns:
        # By code point: the order must not depend on the language settings.
        ordered = ordered.iloc[sorted(range(len(ordered)), key=list(ordered["id"]).__getitem__)].reset_index(drop=True)
    lines = np.arange(2, len(ordered) + 2, dtype=np.int64)
    problems = [*encoding_problems(ordered, lines), *validate(ordered, lines, Metadata())]
    if problems:
        raise InvalidManifestError(str(file), sorted(problems, key=lambda problem: problem.row or 0))
    write_csv(ordered, file)


def write_table(table: Table, file: Path, before: OldRows | None = None) -> None:
    """Write the rows of a table, which stand in the order of their IDs, as `write_manifest` does.

    Args:
        table: of all rows.
        file: the CSV file.
        before: a manifest that has many of these rows; its lines are copied where they are the same.

    Raises:
        InvalidManifestError: the rows break the contract.
        OSError: the file cannot be written; it is then as it was.
    """
    names = _ordered(list(table.columns))
    with copyable_lines(table, names, before) as lines:
        if lines is None or not are_sound_beside(table, lines.changed, ids_are_old=lines.ids_are_old):
            problems = header_problems(names, 1) or validate(table, np.arange(2, len(table) + 2, dtype=np.int64), Metadata())
            if problems:
                raise InvalidManifestError(str(file), problems)
        if lines is not None:
            with contextlib.suppress(LinesGoneError), replacing(file) as target:
                write_lines(table, names, lines, target)
                return
    write_blocks(names, table.blocks(names), file)


def keep_rows(table: Table, file: Path, sha256: str) -> None:
    """Keep the rows of a manifest that `write_table` has written, so that whoever loads it next need not parse it.

    Where they cannot be kept, nothing is; a few rows are not worth it.

    Args:
        table: of all rows.
        file: the manifest.
        sha256: of what was written to it, in hex.
    """
    if len(table) >= cache.WRITTEN_ROWS:
        columns = {name: table.columns[name] for name in _ordered(list(table.columns))}
        cache.keep_written(replace(table, columns=columns), file, sha256)


def _ordered(names: list[str]) -> list[str]:
    """Return columns in the order of a file: the contract's first."""
    return [name for name in COLUMN_NAMES if name in names] + [name for name in names if name not in COLUMN_NAMES]


def _read_table(path: Path, metadata: Metadata) -> Table:
    """Read a manifest's file and check it; if it is big, keep what was read for the next time.

    Raises:
        InvalidManifestError: the manifest breaks the contract; every problem is listed.
        OSError: the file cannot be read.
    """
    with StampedFile(path) as file:
        blocks = csv_blocks(file, path)
        header = next(blocks)
        builder, lines = TableBuilder(list(header.columns)), [header.lines]
        for block in blocks:
            lines.append(block.lines)
            if "id" in block.columns:
                builder.add(block.columns)
    if "id" not in header.columns:
        raise InvalidManifestError(str(path), [missing_ids(list(header.columns))])
    rows = builder.table()
    problems = validate(rows, np.concatenate(lines), metadata)
    if problems:
        raise InvalidManifestError(str(path), problems)
    if len(rows) >= cache.CACHED_ROWS:
        keep_table(rows, path, file.stamp())
    return rows


def _texts(values: pd.Series[Any]) -> list[str]:
    """Return a column's values as the manifest writes them."""
    return ["" if missing else str(value) for value, missing in zip(values.astype(object), values.isna(), strict=True)]
