"""`adopt`: a manifest for per-ID `.npy` files that exist already, where they lie and without a copy."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from manifests.atomic import TEMPORARY_PREFIX
from manifests.errors import ArrayFileError, ManifestError
from manifests.manifest import Manifest
from manifests.metadata import Metadata, common_array, write_metadata
from manifests.names import name_problem, resolve_inside
from manifests.npyfile import read_file_header
from manifests.schema import MANIFEST_NAME, METADATA_NAME, format_shape
from manifests.store import load_manifest, write_manifest
from manifests.verification import file_sha256
from prep.errors import OutputError, SourceError, UsageError
from prep.executors import default_workers
from prep.interrupts import held_off
from prep.labels import label_specs
from prep.records import Listing, Record
from prep.report import Reporter, StderrReporter
from prep.rows import assign_split_column
from prep.sources.files import FolderFiles, list_files, without_raw_suffix
from prep.sources.table import TableOptions, list_table
from prep.splits import SplitSpec
from prep.text import counted, printable

_ADOPTED = {"format": "adopted"}
"""The recipe of a dataset whose shards were not made here."""


@dataclass(frozen=True, kw_only=True)
class AdoptOptions:
    """How to adopt.

    Attributes:
        table: which columns of the labels' table mean what, and whether arrays may have no label.
        splits: shares of the splits; None keeps those that are there.
    """

    table: TableOptions = field(default_factory=TableOptions)
    splits: SplitSpec | None = None


def adopt(folder: str | Path, labels: str | Path, options: AdoptOptions | None = None, *, report: Reporter | None = None) -> Manifest:
    """Write `manifest.csv` and `dataset.json` beside arrays that exist already. Safe to repeat.

    Args:
        folder: with `<ID>.npy` files, in sub-folders too if need be.
        labels: a CSV, TSV or Parquet table of IDs and labels, or a JSON object from ID to label.
        options: how to adopt.
        report: where notes and progress go; stderr by default.

    Raises:
        UsageError: no such folder or table, or a manifest there that is not an adopted one.
        SourceError: arrays without a label or labels without an array, damaged or unsafe arrays; all are listed.
        OutputError: the folder cannot be written.
    """
    folder, labels, options, report = Path(folder), Path(labels), options or AdoptOptions(), report or StderrReporter()
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder of .npy files")
    if not labels.is_file():
        raise UsageError(f"{labels}: no such table of labels")
    old = _adopted_before(folder)
    files = list_files(folder)
    arrays = FolderFiles(arrays=[path for path in files.arrays if path.endswith(".npy")])
    if not arrays.arrays:
        raise SourceError(f"{folder}: no .npy files below it")
    if len(arrays.arrays) < len(files.arrays):
        report.note(
            f"left aside: {counted(len(files.arrays) - len(arrays.arrays), '.npz file')}; a shard is a .npy file (see prep build-shards)"
        )
    listing = list_table(labels, folder, arrays, _table_options(labels, options.table))
    for note in listing.notes:
        report.note(note)
    records = [*listing.records, *_unlabelled(listing, arrays.arrays, allow=options.table.allow_empty_labels)]
    frame = pd.DataFrame(_rows(folder, records, report), dtype=str).fillna("")
    splits = options.splits or (SplitSpec.from_dict(old.metadata.splits) if old else None)
    if splits is not None:
        assign_split_column(frame, splits, old, report)
    metadata = Metadata(
        array=common_array(list(frame["shape"].unique()), list(frame["dtype"].unique())),
        labels=label_specs(frame, listing.label_columns, old.metadata.labels if old else {}),
        recipe=_ADOPTED,
        splits=splits.as_dict() if splits else {},
    )
    _write(folder, frame, metadata)
    return load_manifest(folder)


def _write(folder: Path, frame: pd.DataFrame, metadata: Metadata) -> None:
    """Let both files take the old ones' place together: what takes room is written before, then there are only renames."""
    try:
        with TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=folder) as stage:
            write_metadata(metadata, Path(stage) / METADATA_NAME)
            write_manifest(frame, Path(stage) / MANIFEST_NAME)
            with held_off():
                for name in (METADATA_NAME, MANIFEST_NAME):
                    os.replace(Path(stage) / name, folder / name)
    except OSError as error:
        raise OutputError(f"{error.filename or folder}: cannot be written: {error.strerror or error}") from error


def _table_options(labels: Path, table: TableOptions) -> TableOptions:
    """Return which columns mean what: the IDs name the arrays, so there is nothing to find out once their column is known."""
    id_column = table.id_column or ("id" if labels.suffix.lower() == ".json" else None)
    return replace(table, id_column=id_column, path_column=table.path_column or id_column)


def _adopted_before(folder: Path) -> Manifest | None:
    if not (folder / MANIFEST_NAME).exists() and not (folder / METADATA_NAME).exists():
        return None
    try:
        manifest = load_manifest(folder)
    except ManifestError as error:
        raise UsageError(f"{folder}: holds a manifest that cannot be read; remove it to adopt anew: {error}") from error
    if manifest.metadata.recipe.get("format") != _ADOPTED["format"]:
        raise UsageError(f"{folder}: holds a manifest that adopt did not write; use it as it is, or remove it to adopt anew")
    return manifest


def _unlabelled(listing: Listing, paths: list[str], *, allow: bool) -> list[Record]:
    """Return records of the arrays that no row names, if they are wanted; refuse rows without an array.

    Raises:
        SourceError: there are any that are not allowed; all are listed.
    """
    if listing.failures:
        missing = [f"ID {failure.id!r}: {failure.error}" for failure in listing.failures]
        raise SourceError(f"{counted(len(missing), 'label')} without an array; remove their rows, or put the arrays there:", missing)
    named = {record.source for record in listing.records}
    left = [path for path in paths if path not in named]
    if left and not allow:
        problems = [printable(path) for path in left]
        raise SourceError(
            f"{counted(len(left), 'array')} without a label; add rows, or pass --allow-empty-labels to take them without one:", problems
        )
    ids = [without_raw_suffix(path) for path in left]
    unsafe = [f"ID {printable(id_)!r} {problem}" for id_ in ids if (problem := name_problem(id_))]
    if unsafe:
        raise SourceError("arrays whose names cannot be IDs; rename them:", unsafe)
    return [Record(id=id_, source=path) for id_, path in zip(ids, left, strict=True)]


def _rows(folder: Path, records: list[Record], report: Reporter) -> list[dict[str, str]]:
    """Read every array's header and checksum.

    Raises:
        SourceError: arrays that cannot be used; all are listed.
    """
    rows: list[dict[str, str]] = []
    problems: list[str] = []
    with ThreadPoolExecutor(default_workers()) as executor, report.progress(len(records), "adopt") as advance:
        for record, outcome in zip(records, executor.map(lambda record: _describe(folder, record), records), strict=True):
            advance(1)
            if isinstance(outcome, str):
                problems.append(outcome)
            else:
                rows.append({"id": record.id, "label": record.label, **record.columns, "path": record.source, **outcome})
    if problems:
        raise SourceError(f"{counted(len(problems), 'array')} cannot be used:", problems)
    return rows


def _describe(folder: Path, record: Record) -> dict[str, str] | str:
    """Return what the manifest says of an array, or what is wrong with it."""
    path = resolve_inside(folder, record.source)
    if path is None:
        return f"{record.source}: lies outside {folder} once symbolic links are followed; a dataset holds its own files"
    try:
        header = read_file_header(path)
        return {"shape": format_shape(header.shape), "dtype": header.dtype.name, "sha256": file_sha256(path)}
    except (ArrayFileError, OSError) as error:
        return printable(str(error))
