"""Holding a dataset against the disk: what is missing, extra, damaged or changed."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from manifests.errors import ArrayFileError
from manifests.manifest import Manifest
from manifests.metadata import ArraySpec
from manifests.names import SHARD_FOLDER
from manifests.npyfile import NpyHeader, check_row, read_file_header
from manifests.schema import STATE_FOLDER, format_shape, parse_shape

_CHUNK_ROWS = 4096


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One way in which the disk is not what the manifest says.

    Attributes:
        kind: `missing`, `damaged`, `shape`, `dtype`, `sha256`, `outside` or `extra`.
        path: of the file, relative to the manifest.
        id: of the sample; None for a file that belongs to none.
        message: what was expected and what was found.
    """

    kind: str
    path: str
    id: str | None
    message: str

    def __str__(self) -> str:
        owner = "" if self.id is None else f"ID {self.id!r}, "
        return f"{self.kind}: {owner}{self.path}: {self.message}"


def verify(manifest: Manifest, *, deep: bool = True, threads: int = 2, advance: Callable[[int], object] = lambda _: None) -> list[Finding]:
    """Hold every shard against its row, and look for files that no row names.

    Args:
        manifest: the whole dataset's; of a filtered one the other rows' files count as extra.
        deep: read every file and compare its SHA-256 where the row has one; else only existence, header and size.
        threads: that read files; hashing runs outside the interpreter lock.
        advance: called with the number of rows done since the last call.

    Returns:
        What was found, rows in their order first, then extra files by path.

    Raises:
        OSError: a folder cannot be listed.
    """
    findings: list[Finding] = []
    columns = {name: list(manifest.frame[name]) for name in ("row", "shape", "dtype", "sha256") if name in manifest.frame.columns}
    paths = list(manifest.paths)

    ids = manifest.ids
    # The rows of a pack share a file, which is read once.
    pack_sha256 = functools.cache(file_sha256)

    def check(position: int) -> list[Finding]:
        row = {name: values[position] for name, values in columns.items()}
        sha256_of = None if not deep else pack_sha256 if row.get("row") else file_sha256
        return list(_check_row(manifest, ids[position], paths[position], row, sha256_of))

    with ThreadPoolExecutor(threads) as executor:
        # In chunks, so that neither memory nor the wait after Ctrl-C grows with the dataset.
        for start in range(0, len(paths), _CHUNK_ROWS):
            for found in executor.map(check, range(start, min(start + _CHUNK_ROWS, len(paths)))):
                findings += found
                advance(1)
    findings += _extra_files(manifest.root, set(paths))
    return findings


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_row(
    manifest: Manifest, id_: str, relative: str, row: dict[str, str], sha256_of: Callable[[Path], str] | None
) -> Iterator[Finding]:
    def finding(kind: str, message: str) -> Finding:
        return Finding(kind=kind, path=relative, id=id_, message=message)

    try:
        path = manifest.path_of(id_)
    except ArrayFileError as error:
        yield finding("outside", str(error))
        return
    if not path.is_file():
        yield finding("missing", "no such file")
        return
    try:
        header = read_file_header(path)
        if row.get("row"):
            check_row(header, int(row["row"]), str(path))
        sha256 = sha256_of(path) if sha256_of and row.get("sha256") else ""
    except (ArrayFileError, OSError) as error:
        yield finding("damaged", str(error).removeprefix(f"{path}: "))
        return
    shape = header.shape[1:] if row.get("row") else header.shape
    yield from _check_header(finding, header, shape, row, manifest.metadata.array)
    if sha256 and sha256 != row["sha256"]:
        yield finding("sha256", f"expected {row['sha256']}, found {sha256}; the bytes have changed since the build")


def _check_header(
    finding: Callable[[str, str], Finding], header: NpyHeader, shape: tuple[int, ...], row: dict[str, str], spec: ArraySpec | None
) -> Iterator[Finding]:
    """Compare with the row, and with dataset.json where the row is silent."""
    if row.get("shape"):
        if shape != parse_shape(row["shape"]):
            yield finding("shape", f"expected {row['shape']}, found {format_shape(shape)}")
    elif spec is not None and spec.shape is not None and not _fits(shape, spec.shape):
        yield finding("shape", f"expected {spec}, found {format_shape(shape)}")
    dtype = row.get("dtype") or (spec.dtype if spec is not None else None)
    if dtype and header.dtype.name != dtype:
        yield finding("dtype", f"expected {dtype}, found {header.dtype.name}")


def _fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    return len(shape) == len(expected) and all(b is None or a == b for a, b in zip(shape, expected, strict=True))


def _extra_files(root: Path, known: set[str]) -> Iterator[Finding]:
    """Yield files below `shards/` and arrays anywhere else in the dataset that no row names, by path.

    A file that a row reaches through a symbolic link is named by it too.
    """
    extra = list(_unnamed_files(root, known))
    real = {os.path.realpath(root / path) for path in known} if extra else set()
    for path in extra:
        if os.path.realpath(root / path) not in real:
            yield Finding(kind="extra", path=path, id=None, message="no row of the manifest names it")


def _unnamed_files(root: Path, known: set[str]) -> Iterator[str]:
    def fail(error: OSError) -> None:
        raise error

    for folder, names, files in os.walk(root, onerror=fail):
        names[:] = sorted(name for name in names if not (folder == str(root) and name == STATE_FOLDER))
        relative = Path(folder).relative_to(root)
        for name in sorted(files):
            path = (relative / name).as_posix()
            if path not in known and (relative.parts[:1] == (SHARD_FOLDER,) or name.endswith(".npy")):
                yield path
