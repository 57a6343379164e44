"""`adopt`: write a manifest for per-ID `.npy` files that exist already, without moving or copying them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from manifests.errors import ArrayFileError, ManifestError
from manifests.format.metadata import Metadata, common_array
from manifests.format.names import name_problem, resolve_inside
from manifests.format.npyfile import read_file_header
from manifests.format.schema import MANIFEST_NAME, METADATA_NAME, format_shape
from manifests.manifest import Manifest
from manifests.rows import arrow
from manifests.rows.buffers import positions_of, string_array
from manifests.rows.table import blank, distinct, rows_of, strings
from manifests.storage.commitlog import finish_if_begun
from manifests.storage.store import load_manifest
from manifests.verification.verify import file_sha256
from prep.build.commit.array_files import array_specs
from prep.build.plan.labels import check_labels, label_kind, label_specs
from prep.build.plan.row_owners import owners_of
from prep.build.recipe.options import filled_splits
from prep.build.stage.stage import work_area
from prep.datasets.adopted_arrays import Described, further_columns, further_paths
from prep.errors import SourceError, UsageError
from prep.parallel.executors import default_workers
from prep.progress.report import Reporter, StderrReporter
from prep.readers.arrays import ArrayReader
from prep.sources.files import FolderFiles, column_of_paths, list_files, without_raw_suffix
from prep.sources.items import COLUMN, column_names, items_table, sorted_by_id
from prep.sources.listing import Listing
from prep.sources.table import list_table
from prep.sources.table_options import TableOptions
from prep.splits.columns import assign_split_columns, check_given, remembered
from prep.splits.spec import SplitSpec
from prep.text import counted, printable

if TYPE_CHECKING:
    import pyarrow as pa

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
        folder: with `<ID>.npy` files, in sub-folders too if need be; `arrays/<name>/<ID>.npy` are further arrays of these samples.
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
        raise UsageError(f"{folder}: no such folder")
    if not labels.is_file():
        raise UsageError(f"{labels}: no such table of labels")
    finish_if_begun(folder)
    old = _adopted_before(folder)
    splits = filled_splits(options.splits, old.metadata.splits if old else {})
    files = list_files(folder)
    found, stats = files.raw[ArrayReader.name], files.stats[ArrayReader.name]
    npy = [path for path in found if path.endswith(".npy")]
    further = further_paths(npy)
    main = set(npy).difference(further)
    kept = [position for position, path in enumerate(found) if path in main]
    paths = [found[position] for position in kept]
    arrays = FolderFiles(raw={ArrayReader.name: paths}, stats={ArrayReader.name: stats[kept]})
    if not paths:
        raise SourceError(f"{folder}: no .npy files below it")
    if len(npy) < len(found):
        report.note(f"ignored: {counted(len(found) - len(npy), '.npz file')}; a shard is a .npy file (see prep build-shards)")
    listing = list_table(
        labels, folder, arrays, _table_options(labels, replace(options.table, other_columns=splits.columns if splits else ()))
    )
    unlabelled = _unlabelled(listing, paths, allow=bool(options.table.allow_empty_labels))
    for note in listing.notes:
        report.note(note)
    if unlabelled:
        report.note(f"without a label: {counted(len(unlabelled), 'array')} that no row names")
    items = _together(listing.items, unlabelled)
    check_given(items, splits)
    known = old.metadata.labels if old else {}
    for note in check_labels(listing, known):
        report.note(note)
    rows = sorted_by_id(_rows(folder, items, further, report))
    if splits is not None:
        stratify = label_kind(rows["label"], known.get("label"), listing.label_kinds.get("label")) == "class"
        rows = assign_split_columns(rows, splits, old, report, items, owners_of(rows, items), stratify=stratify)
    metadata = Metadata(
        array=common_array(distinct(rows["shape"]), distinct(rows["dtype"])),
        arrays=array_specs(rows),
        labels=label_specs(rows, listing, known),
        recipe=_ADOPTED,
        splits=remembered(splits, rows, old, []) if splits else {},
    )
    with work_area(folder, keeps_parts=False) as area:
        area.commit(rows, metadata, None, [], [])
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
        raise UsageError(f"{folder}: has a manifest that cannot be read; remove it to adopt again: {error}") from error
    if manifest.metadata.recipe.get("format") != _ADOPTED["format"]:
        raise UsageError(f"{folder}: has a manifest that adopt did not write; use it as it is, or remove it to adopt again")
    return manifest


def _unlabelled(listing: Listing, paths: list[str], *, allow: bool) -> list[str]:
    """Return the arrays that no row names, if they are wanted; refuse rows without an array.

    Raises:
        SourceError: there are any that are not allowed; all are listed.
    """
    if listing.failures:
        missing = [f"ID {failure.id!r}: {failure.error}" for failure in listing.failures]
        raise SourceError(f"{counted(len(missing), 'label')} without an array; remove their rows, or add the arrays:", missing)
    is_named = positions_of(column_of_paths(paths), listing.items["source"]) >= 0
    left = [paths[position] for position in np.flatnonzero(~is_named).tolist()]
    if left and not allow:
        problems = [printable(path) for path in left]
        raise SourceError(
            f"{counted(len(left), 'array')} without a label; add rows, or pass --allow-empty-labels to accept them without one:", problems
        )
    unsafe = [f"ID {printable(id_)!r} {problem}" for id_ in map(without_raw_suffix, left) if (problem := name_problem(id_))]
    if unsafe:
        raise SourceError("arrays whose names cannot be IDs; rename them:", unsafe)
    return left


def _together(items: pa.Table, unlabelled: list[str]) -> pa.Table:
    """Return the items that have a label and those that have none."""
    if not unlabelled:
        return items
    ids = list(map(without_raw_suffix, unlabelled))
    others = items_table(ids, unlabelled, columns={name: blank(len(ids)) for name in column_names(items)})
    return arrow.pa.concat_tables([items, others.cast(items.schema)])


def _rows(folder: Path, items: pa.Table, further: Sequence[str], report: Reporter) -> pa.Table:
    """Read every array's header and checksum, and return the rows of the manifest.

    Args:
        folder: of the arrays.
        items: the samples.
        further: paths of their further arrays.
        report: shows the bar.

    Raises:
        SourceError: arrays that cannot be used; all are listed.
    """
    found: dict[str, list[pa.Array]] = {"shape": [], "dtype": [], "sha256": []}
    problems: list[str] = []
    with ThreadPoolExecutor(default_workers()) as executor, report.progress(len(items), "adopt") as advance:
        for start in range(0, len(items), arrow.ROWS_AT_ONCE):
            described: list[Described] = []
            for outcome in executor.map(partial(_describe, folder), strings(items["source"].slice(start, arrow.ROWS_AT_ONCE))):
                advance(1)
                if isinstance(outcome, str):
                    problems.append(outcome)
                else:
                    described.append(outcome)
            for blocks, values in zip(found.values(), zip(*described, strict=True), strict=False):
                blocks.append(string_array(values))
        more = further_columns(items["id"], further, partial(_describe, folder), executor) if further and not problems else {}
    if problems:
        raise SourceError(f"{counted(len(problems), 'array')} cannot be used:", problems)
    columns = {name: items[COLUMN + name] for name in column_names(items)}
    described_columns = {name: arrow.pa.chunked_array(blocks) for name, blocks in found.items()}
    return rows_of({"id": items["id"], "label": items["label"], **columns, "path": items["source"], **described_columns, **more})


def _describe(folder: Path, source: str) -> Described | str:
    """Return shape, dtype and checksum of an array, or what is wrong with it."""
    path = resolve_inside(folder, source)
    if path is None:
        return f"{source}: is outside {folder} once symbolic links are followed; a dataset must contain its own files"
    try:
        header = read_file_header(path)
        return format_shape(header.shape), header.dtype.name, file_sha256(path)
    except (ArrayFileError, OSError) as error:
        return printable(str(error))
