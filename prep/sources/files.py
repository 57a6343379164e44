"""The files below a folder, sorted by the readers that take them, into tables and others."""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from manifests.rows import arrow
from manifests.rows.buffers import string_array
from prep.errors import SourceError
from prep.readers.registry import names, names_by_suffix
from prep.text import is_text

if TYPE_CHECKING:
    import pyarrow as pa

TABLE_SUFFIXES = frozenset({".csv", ".parquet", ".pq", ".tsv"})

Stats = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FolderFiles:
    """What a folder holds, each list sorted; paths are relative to the folder, with `/`.

    Attributes:
        raw: the raw files by the name of the reader that takes them; of every reader, in the order of the registry.
        tables: CSV and Parquet files at the top of the folder.
        stats: of the raw files, by the same names: size in bytes and time of change in ns, int64, shape (n, 2);
            -1 where a file cannot be looked at.
        ignored: other files' endings and how many files have each; hidden files and folders count as `hidden`.
    """

    raw: dict[str, list[str]] = field(default_factory=dict)
    tables: list[str] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    stats: dict[str, Stats] = field(default_factory=dict, compare=False)

    @property
    def formats(self) -> list[str]:
        """The names of the readers that take any of the files."""
        return [name for name, paths in self.raw.items() if paths]

    def only(self, format_: str) -> FolderFiles:
        """Return the same without the raw files of other readers."""
        return replace(self, raw={format_: self.raw[format_]}, stats={format_: self.stats[format_]})


def list_files(root: Path) -> FolderFiles:
    """List a folder's files, links to folders followed once each.

    Raises:
        SourceError: a folder cannot be read.
    """
    files = FolderFiles(raw={name: [] for name in names()})
    found = files.raw
    stats = {name: array("q") for name in found}
    seen: set[str] = set()
    waiting = [os.fspath(root)]
    while waiting:
        folder = waiting.pop()
        real = os.path.realpath(folder)
        if real in seen:
            files.ignored["folder linked twice"] += 1
            continue
        seen.add(real)
        relative = os.path.relpath(folder, root)
        prefix = "" if relative == os.curdir else relative.replace(os.sep, "/") + "/"
        try:
            with os.scandir(folder) as entries:
                others = _take_raw_files(entries, prefix, found, stats)
                folders = [entry for entry in others if _is_folder(entry)]
                _set_aside(files, prefix, [entry.name for entry in others if not _is_folder(entry)])
        except OSError as error:
            raise SourceError(f"{error.filename}: the folder cannot be read: {error.strerror}") from error
        shown = [(entry.is_symlink(), entry.name) for entry in folders if not entry.name.startswith(".")]
        files.ignored["hidden"] += len(folders) - len(shown)
        # Links last, so that a folder's files go by its own name rather than that of a link beside it.
        waiting += [os.path.join(folder, name) for _, name in sorted(shown, reverse=True)]
    files.tables.sort()
    for reader, paths in found.items():
        order = sorted(range(len(paths)), key=paths.__getitem__)
        paths[:] = [paths[position] for position in order]
        files.stats[reader] = np.frombuffer(stats[reader], dtype=np.int64).reshape(-1, 2)[order]  # (n * 2,) -> (n, 2)
    return files


def without_raw_suffix(path: str) -> str:
    """Return a path without the ending of a raw file; any other ending is part of the name."""
    stem, dot, ending = path.rpartition(".")
    is_raw = dot and f".{ending.lower()}" in names_by_suffix() and stem.rpartition("/")[2].strip(".")
    return stem if is_raw else path


def column_of_paths(paths: Iterable[str]) -> pa.ChunkedArray:
    """Return paths as an Arrow column; an empty string stands for one that is no UTF-8."""
    left, blocks = iter(paths), []
    while block := list(islice(left, arrow.ROWS_AT_ONCE)):
        try:
            blocks.append(string_array(block))
        except UnicodeEncodeError:
            blocks.append(string_array([path if is_text(path) else "" for path in block]))
    return arrow.pa.chunked_array(blocks, type=arrow.pa.large_string())


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere or around in a circle
        return False


def _take_raw_files(
    entries: Iterable[os.DirEntry[str]], prefix: str, found: Mapping[str, list[str]], stats: Mapping[str, array[int]]
) -> list[os.DirEntry[str]]:
    """Add a folder's raw files to what was found, and return all else; of millions of files, so no more calls than needed.

    Args:
        entries: of the folder.
        prefix: of the files' paths.
        found: name of a reader -> paths.
        stats: name -> size and time of change of each.
    """
    others = []
    taken_by = names_by_suffix()
    adding = {reader: (found[reader].append, stats[reader].append) for reader in found}
    for entry in entries:
        name = entry.name
        ending = name[name.rfind(".") :]  # the last letter of a name without one, which is no ending of a raw file
        reader = taken_by.get(ending) or taken_by.get(ending.lower())
        if reader is None or name[0] == "." or _is_folder(entry):
            others.append(entry)
            continue
        add_path, add_number = adding[reader]
        add_path(prefix + name)
        try:
            status = entry.stat()
        except OSError:  # told when it is read
            add_number(-1)
            add_number(-1)
        else:
            add_number(status.st_size)
            add_number(status.st_mtime_ns)
    return others


def _set_aside(files: FolderFiles, prefix: str, names: Iterable[str]) -> None:
    """Note files that are no raw ones."""
    for name in names:
        suffix = name[name.rfind(".") :].lower() if "." in name else ""
        if name.startswith("."):
            files.ignored["hidden"] += 1
        elif suffix in TABLE_SUFFIXES and not prefix:
            files.tables.append(name)
        else:
            files.ignored[suffix or "no ending"] += 1
