"""Finding out what a source is, and listing its records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from prep.errors import SourceError, UsageError
from prep.readers.registry import names, reader_of, readers
from prep.sources.files import TABLE_SUFFIXES, FolderFiles, Stats, list_files
from prep.sources.folder import LabelFrom, list_folder
from prep.sources.listing import Listing
from prep.sources.table import TableOptions, list_table
from prep.text import counted, shown


def format_choices() -> tuple[str, ...]:
    """Return what `SourceOptions.format` may be: `auto`, the name of a reader, or `table`."""
    return ("auto", *names(), "table")


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """How to take a source.

    Attributes:
        format: what the source is, of `format_choices`; `auto` finds out, and so does None where no build has before.
        labels: a table with the labels of a folder's files.
        table: which of a table's columns mean what.
        label_from: which folder of a file is its class: the parent, or the top one below SOURCE or below a folder that is a split;
            None takes the parent, and tells where that makes a difference.
        split_folders: top folders of the source that are splits and no classes; files elsewhere are left aside.
    """

    format: str | None = None
    labels: Path | None = None
    table: TableOptions = field(default_factory=TableOptions)
    label_from: LabelFrom | None = None
    split_folders: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.format is not None and self.format not in format_choices():
            raise UsageError(f"format must be {', '.join(format_choices()[:-1])} or {format_choices()[-1]}, got {self.format!r}")


def list_source(source: Path, options: SourceOptions) -> Listing:
    """List a source's records; what was detected is told in `Listing.notes`.

    Raises:
        UsageError: no such source, or options that do not fit it.
        SourceError: the source is empty or as a whole unusable.
    """
    if not source.exists():
        raise UsageError(f"{source}: no such source; expected a folder of {' or '.join(names())}, or a CSV or Parquet table")
    table = _table_of(source, options)
    root = source if source.is_dir() else source.parent
    files = list_files(root)
    if table is not None and options.label_from is not None:
        raise UsageError(f"--label-from takes classes from folders, but labels come from the table {table}; leave it out")
    if table is not None:
        listing = list_table(table, root, _chosen(files, options.format or "auto"), options.table)
        is_odd = not source.is_dir() and source.suffix.lower() not in TABLE_SUFFIXES
        unnamed = [f"ignored: {counted(listing.unnamed, 'file')} that no row names"] if listing.unnamed else []
        listing = replace(listing, notes=[*listing.notes, *unnamed], is_ambiguous=is_odd or len(files.formats) > 1)
        return _with_ignored(listing, files.ignored)
    if options.table.id_column or options.table.path_column or options.table.label_columns:
        raise UsageError(
            f"{source}: --id-column, --path-column and --label name columns of a table, but there is no table; pass --labels TABLE"
        )
    if options.table.other_columns:
        raise UsageError(
            f"{source}: --group-by and --split-column name columns of a table, but there is no table; pass --labels TABLE, "
            "or take groups from the paths with --group-regex"
        )
    format_ = _folder_format(source, files, options.format or "auto")
    paths, stats, elsewhere = _in_split_folders(source, files.raw[format_], files.stats[format_], options.split_folders)
    listing = list_folder(
        root,
        paths,
        format_,
        allow_empty_labels=bool(options.table.allow_empty_labels),
        label_from=options.label_from,
        split_folders=options.split_folders,
        stats=stats,
    )
    label_kinds = options.table.kinds_of({name: name for name in listing.label_columns})
    note = f"source: folder of {format_}, {counted(len(paths), 'file')}"
    other = {name: len(found) for name, found in files.raw.items() if name != format_} | {"tables": len(files.tables)}
    is_ambiguous = bool(files.tables) or len(files.formats) > 1
    listing = replace(listing, label_kinds=label_kinds, notes=[note, *elsewhere, *listing.notes], is_ambiguous=is_ambiguous)
    return _with_ignored(listing, {**files.ignored, **other})


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
    if options.format in names():
        raise UsageError(f"{source}: is a file; --format {options.format} takes a folder")
    return source


def _chosen(files: FolderFiles, choice: str) -> FolderFiles:
    """Return the files without those of other readers, if a reader was chosen."""
    return files.only(choice) if choice in files.raw else files


def _folder_format(source: Path, files: FolderFiles, choice: str) -> str:
    """Return the name of the reader of a folder's files."""
    found = files.formats
    if choice != "auto":
        if choice not in found:
            reader = reader_of(choice)
            held = " and ".join(f"{_count(files, name)}, which --format {name} takes" for name in found)
            looked_for = f"; looked for {reader.looked_for}" if reader.looked_for else ""
            raise SourceError(f"{source}: no {reader.files} below it{looked_for}{f'; it holds {held}' if held else ''}")
        return choice
    if not found:
        nothing = [f"no {reader.files}{f' ({reader.looked_for})' if reader.looked_for else ''}" for reader in readers()]
        raise SourceError(f"{source}: empty: {' and '.join(nothing)} below it")
    if files.tables:
        table = source / files.tables[0]
        raise UsageError(
            f"{source}: holds the table {files.tables[0]!r}; for its labels pass {table} as SOURCE (or --labels {table}), "
            f"for classes from folder names pass {_options(names())}"
        )
    if len(found) > 1:
        raise UsageError(f"{source}: holds {' and '.join(_count(files, name) for name in found)}; choose with {_options(found)}")
    return found[0]


def _count(files: FolderFiles, format_: str) -> str:
    return counted(len(files.raw[format_]), reader_of(format_).singular)


def _options(formats: Iterable[str]) -> str:
    return " or ".join(f"--format {name}" for name in formats)


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
    note = f"ignored: {counted(len(paths) - len(kept), 'raw item')} outside the folders {'/'.join(split_folders)}: {', '.join(others)}"
    return kept, stats[below], [note] if others else []


def _with_ignored(listing: Listing, ignored: Mapping[str, int]) -> Listing:
    """Add a note of the files that are no raw items."""
    found = [f"{name} {count:,}" for name, count in sorted(ignored.items()) if count]
    note = [f"ignored files: {', '.join(found)}"] if found else []
    return replace(listing, notes=[*listing.notes, *note])
