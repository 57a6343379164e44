"""`adopt`: a manifest for per-ID `.npy` files that exist already, where they lie and without a copy."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from manifests.columns import coded
from manifests.commitlog import finish_if_begun
from manifests.errors import ArrayFileError, ManifestError
from manifests.manifest import Manifest
from manifests.metadata import Metadata, common_array
from manifests.names import name_problem, resolve_inside
from manifests.npyfile import read_file_header
from manifests.schema import MANIFEST_NAME, METADATA_NAME, format_shape
from manifests.store import load_manifest
from manifests.table import table_of_frame
from manifests.verification import file_sha256
from prep.errors import SourceError, UsageError
from prep.executors import default_workers
from prep.labels import label_specs
from prep.options import filled_splits
from prep.records import Listing, Record
from prep.report import Reporter, StderrReporter
from prep.sources.files import FolderFiles, list_files, without_raw_suffix
from prep.sources.table import TableOptions, list_table
from prep.splitcolumns import assign_split_columns, check_given, remembered
from prep.splits import SplitSpec
from prep.text import counted, printable
from prep.workarea import work_area

_ADOPTED = {"format": "adopted"}
"""The recipe of a dataset whose shards were not made here."""


@dataclass(frozen=True, kw_only=True)
class AdoptOptions:
    """How to adopt.

    Attributes:
        table: which columns of the labels' table mean what, and whether arrays may have no label.
        splits: splits, groups and folds; what is left out is as it was.
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
    finish_if_begun(folder)
    old = _adopted_before(folder)
    splits = filled_splits(options.splits, old.metadata.splits if old else {})
    files = list_files(folder)
    kept = [position for position, path in enumerate(files.arrays) if path.endswith(".npy")]
    arrays = FolderFiles(arrays=[files.arrays[position] for position in kept], stats={"arrays": files.stats["arrays"][kept]})
    if not arrays.arrays:
        raise SourceError(f"{folder}: no .npy files below it")
    if len(arrays.arrays) < len(files.arrays):
        report.note(
            f"left aside: {counted(len(files.arrays) - len(arrays.arrays), '.npz file')}; a shard is a .npy file (see prep build-shards)"
        )
    listing = list_table(
        labels, folder, arrays, _table_options(labels, replace(options.table, other_columns=splits.columns if splits else ()))
    )
    unlabelled = _unlabelled(listing, arrays.arrays, allow=options.table.allow_empty_labels)
    for note in listing.notes:
        if unlabelled and note.startswith("left aside: "):  # said of files that no row names, which here are taken
            report.note(f"taken without a label: {counted(len(unlabelled), 'array')} that no row names")
        else:
            report.note(note)
    records = [*listing.records, *unlabelled]
    check_given(records, splits)
    rows = sorted(_rows(folder, records, report), key=lambda row: row["id"])
    table = table_of_frame(pd.DataFrame(rows, dtype=str).fillna(""))
    if splits is not None:
        table = assign_split_columns(table, splits, old, report, records)
    metadata = Metadata(
        array=common_array(list(coded(table.column("shape")).distinct), list(coded(table.column("dtype")).distinct)),
        labels=label_specs({name: table.column(name) for name in listing.label_columns}, old.metadata.labels if old else {}),
        recipe=_ADOPTED,
        splits=remembered(splits, table, old, []) if splits else {},
    )
    with work_area(folder, keeps_parts=False) as area:
        area.commit(table, metadata, None, [], [])
    return load_manifest(folder)


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
