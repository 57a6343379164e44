"""The files below a folder, sorted into images, arrays, tables and others."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from prep.errors import SourceError

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
ARRAY_SUFFIXES = frozenset({".npy", ".npz"})
TABLE_SUFFIXES = frozenset({".csv", ".parquet", ".pq", ".tsv"})
RAW_SUFFIXES = IMAGE_SUFFIXES | ARRAY_SUFFIXES


@dataclass(frozen=True)
class FolderFiles:
    """What a folder holds, each list sorted; paths are relative to the folder, with `/`.

    Attributes:
        images: files with the ending of an image.
        arrays: `.npy` and `.npz` files.
        tables: CSV and Parquet files at the top of the folder.
        ignored: other files' endings and how many files have each; hidden files and folders count as `hidden`.
    """

    images: list[str] = field(default_factory=list)
    arrays: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)


def list_files(root: Path) -> FolderFiles:
    """List a folder's files, links to folders followed once each.

    Raises:
        SourceError: a folder cannot be read.
    """
    files = FolderFiles()
    seen: set[str] = set()

    def refuse(error: OSError) -> None:
        raise SourceError(f"{error.filename}: the folder cannot be read: {error.strerror}") from error

    for folder, names, leaves in os.walk(root, followlinks=True, onerror=refuse):
        real = os.path.realpath(folder)
        if real in seen:
            files.ignored["folder linked twice"] += 1
            names.clear()
            continue
        seen.add(real)
        hidden = [name for name in names if name.startswith(".")]
        files.ignored["hidden"] += len(hidden)
        # Links last, so that a folder's files go by its own name rather than that of a link beside it.
        names[:] = sorted(set(names).difference(hidden), key=lambda name: (os.path.islink(os.path.join(folder, name)), name))
        relative = os.path.relpath(folder, root)
        prefix = "" if relative == os.curdir else relative.replace(os.sep, "/") + "/"
        for name in leaves:
            _sort_in(files, prefix, name)
    for group in (files.images, files.arrays, files.tables):
        group.sort()
    return files


def without_raw_suffix(path: str) -> str:
    """Return a path without the ending of an image or array; any other ending is part of the name."""
    stem, suffix = os.path.splitext(path)
    return stem if suffix.lower() in RAW_SUFFIXES else path


def suffix_of(path: str) -> str:
    """Return a path's ending in lower case, with its dot."""
    return PurePosixPath(path).suffix.lower()


def _sort_in(files: FolderFiles, prefix: str, name: str) -> None:
    suffix = os.path.splitext(name)[1].lower()
    if name.startswith("."):
        files.ignored["hidden"] += 1
    elif suffix in IMAGE_SUFFIXES:
        files.images.append(prefix + name)
    elif suffix in ARRAY_SUFFIXES:
        files.arrays.append(prefix + name)
    elif suffix in TABLE_SUFFIXES and not prefix:
        files.tables.append(name)
    else:
        files.ignored[suffix or "no ending"] += 1
