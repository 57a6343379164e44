"""Finding out what a source is, and listing its records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from prep.errors import SourceError, UsageError
from prep.records import Listing, SourceFormat
from prep.sources.files import TABLE_SUFFIXES, FolderFiles, Stats, list_files
from prep.sources.folder import list_folder
from prep.sources.table import TableOptions, list_table
from prep.text import counted, shown

FormatChoice = Literal["auto", "images", "arrays", "table"]


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """How to take a source.

    Attributes:
        format: what the source is; `auto` finds out.
        labels: a table with the labels of a folder's files.
        table: which of a table's columns mean what.
        split_folders: top folders of the source that are splits and no classes; files elsewhere are left aside.
    """

    format: FormatChoice = "auto"
    labels: Path | None = None
    table: TableOptions = field(default_factory=TableOptions)
    split_folders: tuple[str, ...] = ()


def list_source(source: Path, options: SourceOptions) -> Listing:
    """List a source's records; what was detected is told in `Listing.notes`.

    Raises:
        UsageError: no such source, or options that do not fit it.
        SourceError: the source is empty or as a whole unusable.
    """
    if not source.exists():
        raise UsageError(f"{source}: no such source; expected a folder of images or arrays, or a CSV or Parquet table")
    table = _table_of(source, options)
    root = source if source.is_dir() else source.parent
    files = list_files(root)
    if table is not None:
        return _with_ignored(list_table(table, root, _chosen(files, options.format), options.table), files.ignored)
    if options.table.id_column or options.table.path_column or options.table.label_columns:
        raise UsageError(
            f"{source}: --id-column, --path-column and --label name columns of a table, but there is no table; pass --labels TABLE"
        )
    if options.table.other_columns:
        raise UsageError(
            f"{source}: --group-by and --split-column name columns of a table, but there is no table; pass --labels TABLE, "
            "or take groups from the paths with --group-regex"
        )
    format_ = _folder_format(source, files, options.format)
    paths = files.images if format_ == "images" else files.arrays
    paths, stats, elsewhere = _in_split_folders(source, paths, files.stats[format_], options.split_folders)
    listing = list_folder(
        root,
        paths,
        format_,
        allow_empty_labels=options.table.allow_empty_labels,
        split_folders=options.split_folders,
        stats=stats,
    )
    note = f"source: folder of {format_}, {counted(len(paths), 'file')}"
    other = {"arrays": len(files.arrays)} if format_ == "images" else {"images": len(files.images)}
    return _with_ignored(replace(listing, notes=[note, *elsewhere, *listing.notes]), {**files.ignored, **other})


def _table_of(source: Path, options: SourceOptions) -> Path | None:
    """Return the table that names the records, if there is one."""
    if source.is_dir():
        if options.format == "table" and options.labels is None:
            raise UsageError(f"{source}: is a folder; for --format table pass the table itself as SOURCE, or as --labels")
        if options.labels is not None and not options.labels.is_file():
            raise UsageError(f"{options.labels}: no such table of labels")
        return options.labels
    if options.labels is not None:
        raise UsageError(f"--labels goes with a folder as SOURCE; {source} is a file")
    if source.suffix.lower() not in TABLE_SUFFIXES and options.format != "table":
        raise UsageError(f"{source}: is neither a folder nor a table ({', '.join(sorted(TABLE_SUFFIXES))})")
    if options.format in {"images", "arrays"}:
        raise UsageError(f"{source}: is a file; --format {options.format} takes a folder")
    return source


def _chosen(files: FolderFiles, choice: FormatChoice) -> FolderFiles:
    """Return the files without those of the other kind, if a kind was chosen."""
    if choice == "images":
        return replace(files, arrays=[])
    return replace(files, images=[]) if choice == "arrays" else files


def _folder_format(source: Path, files: FolderFiles, choice: FormatChoice) -> SourceFormat:
    if choice == "images" and not files.images:
        raise SourceError(f"{source}: no images below it; looked for {_endings()}")
    if choice == "arrays" and not files.arrays:
        raise SourceError(f"{source}: no .npy or .npz files below it")
    if choice in {"images", "arrays"}:
        return "images" if choice == "images" else "arrays"
    if not files.images and not files.arrays:
        raise SourceError(f"{source}: empty: no images ({_endings()}) and no .npy or .npz files below it")
    if files.tables:
        table = source / files.tables[0]
        raise UsageError(
            f"{source}: holds the table {files.tables[0]!r}; for its labels pass {table} as SOURCE (or --labels {table}), "
            "for classes from folder names pass --format images or --format arrays"
        )
    if files.images and files.arrays:
        raise UsageError(
            f"{source}: holds {counted(len(files.images), 'image')} and {counted(len(files.arrays), 'array')}; "
            "choose with --format images or --format arrays"
        )
    return "images" if files.images else "arrays"


def _in_split_folders(source: Path, paths: list[str], stats: Stats, split_folders: tuple[str, ...]) -> tuple[list[str], Stats, list[str]]:
    """Return the paths below the folders that are splits, all of them if none is named, with their stats, and a note of the others.

    Raises:
        SourceError: a folder that is named holds nothing.
    """
    if not split_folders:
        return paths, stats, []
    tops = Counter(path.partition("/")[0] if "/" in path else "" for path in paths)
    empty = [name for name in split_folders if not tops[name]]
    if empty:
        found = shown(sorted(name for name in tops if name), 10) or "none"
        raise SourceError(f"{source}: no raw items in the folders {shown(empty)} that are to be splits; the folders are {found}")
    others = [
        f"{name!r} {count:,}" if name else f"no folder {count:,}" for name, count in sorted(tops.items()) if name not in split_folders
    ]
    below = [position for position, path in enumerate(paths) if "/" in path and path.partition("/")[0] in split_folders]
    kept = [paths[position] for position in below]
    note = f"left aside: {counted(len(paths) - len(kept), 'raw item')} outside the folders {'/'.join(split_folders)}: {', '.join(others)}"
    return kept, stats[below], [note] if others else []


def _with_ignored(listing: Listing, ignored: Mapping[str, int]) -> Listing:
    """Add a note of the files that are no raw items."""
    found = [f"{name} {count:,}" for name, count in sorted(ignored.items()) if count]
    note = [f"left aside, being no raw items: {', '.join(found)}"] if found else []
    return replace(listing, notes=[*listing.notes, *note])


def _endings() -> str:
    return shown([".png", ".jpg", ".bmp", ".gif", ".tif", ".webp"], 6).replace("'", "")
