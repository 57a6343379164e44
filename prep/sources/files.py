"""The files below a folder, sorted into images, arrays, tables and others."""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from prep.errors import SourceError

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
ARRAY_SUFFIXES = frozenset({".npy", ".npz"})
TABLE_SUFFIXES = frozenset({".csv", ".parquet", ".pq", ".tsv"})
_KINDS = {**dict.fromkeys(IMAGE_SUFFIXES, "images"), **dict.fromkeys(ARRAY_SUFFIXES, "arrays")}

Stats = npt.NDArray[np.int64]

RAW_SUFFIXES = IMAGE_SUFFIXES | ARRAY_SUFFIXES


@dataclass(frozen=True)
class FolderFiles:
    """What a folder holds, each list sorted; paths are relative to the folder, with `/`.

    Attributes:
        images: files with the ending of an image.
        arrays: `.npy` and `.npz` files.
        tables: CSV and Parquet files at the top of the folder.
        stats: of the images and of the arrays, by those names: size in bytes and time of change in ns, int64, shape (n, 2);
            -1 where a file cannot be looked at.
        ignored: other files' endings and how many files have each; hidden files and folders count as `hidden`.
    """

    images: list[str] = field(default_factory=list)
    arrays: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    stats: dict[str, Stats] = field(default_factory=dict, compare=False)


def list_files(root: Path) -> FolderFiles:
    """List a folder's files, links to folders followed once each.

    Raises:
        SourceError: a folder cannot be read.
    """
    files = FolderFiles()
    found = {"images": files.images, "arrays": files.arrays}
    stats = {kind: array("q") for kind in found}
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
    for kind, paths in found.items():
        order = sorted(range(len(paths)), key=paths.__getitem__)
        paths[:] = [paths[position] for position in order]
        files.stats[kind] = np.frombuffer(stats[kind], dtype=np.int64).reshape(-1, 2)[order]  # (n * 2,) -> (n, 2)
    return files


def without_raw_suffix(path: str) -> str:
    """Return a path without the ending of an image or array; any other ending is part of the name."""
    stem, suffix = os.path.splitext(path)
    return stem if suffix.lower() in RAW_SUFFIXES else path


def suffix_of(path: str) -> str:
    """Return a path's ending in lower case, with its dot."""
    return PurePosixPath(path).suffix.lower()


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
        found: kind of raw file -> paths.
        stats: kind -> size and time of change of each.
    """
    others = []
    adding = {kind: (found[kind].append, stats[kind].append) for kind in found}
    for entry in entries:
        name = entry.name
        ending = name[name.rfind(".") :]  # the last letter of a name without one, which is no ending of a raw file
        kind = _KINDS.get(ending) or _KINDS.get(ending.lower())
        if kind is None or name[0] == "." or _is_folder(entry):
            others.append(entry)
            continue
        add_path, add_number = adding[kind]
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
