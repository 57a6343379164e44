"""Copying shards into another dataset: each is read once more as it lies there, so that its row is true."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from manifests.errors import ArrayFileError
from manifests.files.regularfile import open_regular
from manifests.format.names import array_folder, default_path, resolve_inside
from manifests.format.npyfile import read_row
from manifests.format.schema import ARRAY_FIELDS, format_shape
from manifests.format.shardfacts import read_shard
from manifests.rows.named_arrays import array_rows, rows_with_array
from manifests.rows.table import strings
from prep.build.execute.shards import WrittenShard, path_problem, write_shard
from prep.errors import OutputError

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class CopyItem:
    """A shard to copy.

    Attributes:
        id: that it gets.
        path: relative to the dataset that it lies in.
        row: within a pack; empty for a file of its own.
        shape, dtype, sha256: as its row says; empty where it does not.
        array: name of a further array; empty for the main one.
    """

    id: str
    path: str
    row: str
    shape: str
    dtype: str
    sha256: str
    array: str = ""


@dataclass(frozen=True, kw_only=True)
class CopyTask:
    """Shards of one dataset to copy.

    Attributes:
        root: the folder of the dataset that they lie in.
        target: the folder to write below, laid out as a dataset.
        items: what to copy: of each sample the main array, and then its further ones.
    """

    root: Path
    target: Path
    items: Sequence[CopyItem]


def copy_shards(task: CopyTask) -> list[tuple[str, WrittenShard | str]]:
    """Copy a task's shards; for each sample its ID, and what the manifest says of it or what is wrong with one of its arrays.

    A row of a pack becomes a file of its own.

    Raises:
        OutputError: a copy cannot be written: no shard's fault.
    """
    return [(id_, _copy_sample(task, list(items))) for id_, items in groupby(task.items, lambda item: item.id)]


def _copy_sample(task: CopyTask, items: Sequence[CopyItem]) -> WrittenShard | str:
    copied: dict[str, WrittenShard] = {}
    for item in items:
        outcome = _copy(task, item)
        if isinstance(outcome, str):
            return outcome
        copied[item.array] = outcome
    main = copied.pop("")
    return replace(main, arrays=copied) if copied else main


def _copy(task: CopyTask, item: CopyItem) -> WrittenShard | str:
    source = resolve_inside(task.root, item.path)
    if source is None:
        return "lies outside the dataset once symbolic links are followed"
    folder = array_folder(item.array)
    target = task.target / default_path(item.id, folder=folder)
    problem = path_problem(task.target, item.id, folder)
    if problem is not None:
        return problem
    try:
        shard = _unpack(item, source, target) if item.row else _copy_file(item.id, source, target)
    except ArrayFileError as error:
        return str(error)
    except OSError as error:
        if error.filename is not None and os.fspath(error.filename) == os.fspath(source):
            return f"{source}: cannot be read: {error.strerror}"
        raise OutputError(f"{target}: the shard of ID {item.id!r} cannot be written: {error.strerror or error}") from error
    for what in ("shape", "dtype", "sha256") if not item.row else ("shape", "dtype"):
        expected, found = getattr(item, what), getattr(shard, what)
        if expected and expected != found:
            return f"{source}: {what}: expected {expected}, found {found}"
    return shard


def _copy_file(id_: str, source: Path, target: Path) -> WrittenShard:
    """Copy a shard; without its moments, as a union has no statistics."""
    with open_regular(source) as file:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, "x+b", buffering=0) as copy:
            _copy_bytes(file.fileno(), copy.fileno(), source)
            copy.seek(0)
            facts = read_shard(copy.fileno(), os.fstat(copy.fileno()).st_size, deep=True, name=str(source))
    return WrittenShard(id=id_, shape=format_shape(facts.header.shape), dtype=facts.dtype, sha256=facts.sha256, moments=b"")


def _copy_bytes(source: int, target: int, name: Path) -> None:
    """Copy a file to its end, within the system where that can: some file systems then share the blocks until one is changed."""
    # Not on every system, nor between any two disks; of other errors the plain way says whose they are. Both go on where
    # the files' positions stand.
    with contextlib.suppress(OSError, AttributeError):
        while os.copy_file_range(source, target, 1 << 30):
            pass
    while block := _read(source, name):
        view = memoryview(block)
        while view.nbytes:
            view = view[os.write(target, view) :]


def _read(source: int, name: Path) -> bytes:
    try:
        return os.read(source, _BLOCK_BYTES)
    except OSError as error:
        error.filename = os.fspath(name)
        raise


def _unpack(item: CopyItem, source: Path, target: Path) -> WrittenShard:
    array = read_row(source, int(item.row))
    return write_shard(item.id, array.astype(array.dtype.newbyteorder("<"), copy=False), target)


def further_items(rows: pa.Table, name: str) -> Iterator[tuple[int, CopyItem]]:
    """Yield what to copy of a further array of rows that have it, each with the position of its row; the ID is that of the row.

    Args:
        rows: of a manifest, with a column `<name>.path`.
        name: of the array.
    """
    positions = rows_with_array(rows, name)
    some = array_rows(rows, name, positions)
    columns = {field: strings(some[field]) if field in some.column_names else [""] * len(some) for field in ("id", *ARRAY_FIELDS)}
    for number, position in enumerate(positions.tolist()):
        yield position, CopyItem(**{field: values[number] for field, values in columns.items()}, array=name)
