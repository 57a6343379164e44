"""Shard files against their rows: a chunk of rows in, what was found out; nothing here needs pandas, and all of it can be pickled."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from manifests.errors import ArrayFileError
from manifests.format.metadata import ArraySpec
from manifests.format.npyfile import check_row
from manifests.format.schema import format_shape, parse_shape
from manifests.format.shardfacts import ShardFacts, read_shard
from manifests.storage.open_ahead import Opened, Wrong, opened_ahead


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One way in which the disk is not what the manifest says.

    Attributes:
        kind: `missing`, `damaged`, `shape`, `dtype`, `sha256`, `outside`, `duplicate`, `extra`, `statistics`, `label` or `linked`.
        path: of the file, relative to the manifest.
        id: of the sample; None for a file that belongs to none.
        message: what was expected and what was found.
    """

    kind: str
    path: str
    id: str | None
    message: str

    @property
    def is_problem(self) -> bool:
        """Whether the dataset is not as it should be; a hard link from elsewhere, or another's bytes, are only good to know."""
        return self.kind not in {"linked", "label"}

    def __str__(self) -> str:
        owner = "" if self.id is None else f"ID {self.id!r}, "
        return f"{self.kind}: {owner}{self.path}: {self.message}"


@dataclass(frozen=True, kw_only=True)
class CheckTask:
    """Rows to check; those of one file stand together. The columns are equally long.

    Attributes:
        root: the manifest's folder.
        array: what `dataset.json` says of all shards, if it does.
        deep: read every byte and compare the SHA-256, not only the header and the size.
        positions: of the rows in the manifest.
        ids, paths, rows, shapes, dtypes, sha256s: as in the manifest; empty strings where there is no value.
    """

    root: str
    array: ArraySpec | None
    deep: bool
    positions: Sequence[int]
    ids: Sequence[str]
    paths: Sequence[str]
    rows: Sequence[str]
    shapes: Sequence[str]
    dtypes: Sequence[str]
    sha256s: Sequence[str]


@dataclass(frozen=True)
class Alias:
    """A file that has, or may have, another name.

    Attributes:
        position: of a row that names it.
        real: its path in the dataset once symbolic links are followed.
        inode: (device, number).
        names: how many hard links it has, itself included.
    """

    position: int
    real: str
    inode: tuple[int, int]
    names: int


@dataclass(frozen=True)
class Checked:
    """What became of a task.

    Attributes:
        count: of its rows.
        findings: (position, finding), in the order of the task.
        aliases: files with other names.
    """

    count: int
    findings: list[tuple[int, Finding]]
    aliases: list[Alias]


def check_rows(task: CheckTask) -> Checked:
    """Hold the files of a task's rows against the rows, each file read once."""
    checked = Checked(len(task.ids), [], [])
    for opened in opened_ahead(task.root, task.paths):
        findings = _check_file(task, opened, checked.aliases)
        checked.findings.extend((task.positions[row], finding) for row, finding in findings)
    return checked


def _check_file(task: CheckTask, opened: Opened, aliases: list[Alias]) -> Iterator[tuple[int, Finding]]:
    """Yield (row of the task, finding)."""
    relative = task.paths[opened.rows[0]]

    def finding(row: int, kind: str, message: str) -> tuple[int, Finding]:
        return row, Finding(kind=kind, path=relative, id=task.ids[row], message=message)

    if isinstance(opened.file, Wrong) or opened.status is None:
        wrong = opened.file if isinstance(opened.file, Wrong) else Wrong("missing", "no such file")
        yield from (finding(row, wrong.kind, wrong.message) for row in opened.rows)
        return
    status = opened.status
    if status.st_nlink > 1 or opened.real != relative:
        aliases.append(Alias(task.positions[opened.rows[0]], opened.real, (status.st_dev, status.st_ino), status.st_nlink))
    try:
        facts = read_shard(opened.file, status.st_size, deep=task.deep)
    except (ArrayFileError, OSError) as error:
        text = error.strerror if isinstance(error, OSError) else None
        message = f"cannot be read: {text}" if text else str(error).removeprefix(": ")
        yield from (finding(row, "damaged", message) for row in opened.rows)
        return
    for row in opened.rows:
        yield from _check_row(task, row, facts, finding)


def _check_row(
    task: CheckTask, row: int, facts: ShardFacts, finding: Callable[[int, str, str], tuple[int, Finding]]
) -> Iterator[tuple[int, Finding]]:
    header, shape = facts.header, facts.header.shape
    if task.rows[row]:
        try:
            check_row(header, int(task.rows[row]), "")
        except ArrayFileError as error:
            yield finding(row, "damaged", str(error).removeprefix(": "))
            return
        shape = shape[1:]
    for kind, message in _shape_and_dtype(shape, facts.dtype, task.shapes[row], task.dtypes[row], task.array):
        yield finding(row, kind, message)
    expected = task.sha256s[row]
    if expected and facts.sha256 and facts.sha256 != expected:
        yield finding(row, "sha256", f"expected {expected}, found {facts.sha256}; the bytes have changed since the build")


def _shape_and_dtype(
    shape: tuple[int, ...], dtype: str, row_shape: str, row_dtype: str, spec: ArraySpec | None
) -> Iterator[tuple[str, str]]:
    """Compare with the row, and with dataset.json where the row is silent."""
    if row_shape:
        if shape != _parse_shape(row_shape):
            yield "shape", f"expected {row_shape}, found {format_shape(shape)}"
    elif spec is not None and spec.shape is not None and not _fits(shape, spec.shape):
        yield "shape", f"expected {spec}, found {format_shape(shape)}"
    expected = row_dtype or (spec.dtype if spec is not None else None)
    if expected and dtype != expected:
        yield "dtype", f"expected {expected}, found {dtype}"


_parse_shape = functools.lru_cache(maxsize=1024)(parse_shape)


def _fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    return len(shape) == len(expected) and all(b is None or a == b for a, b in zip(shape, expected, strict=True))
