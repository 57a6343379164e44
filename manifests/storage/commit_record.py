"""The record of a commit: what is to be done to a dataset's folder, in a file that is checked when it is read."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, get_args

from manifests.errors import UnfinishedCommitError
from manifests.files.atomic import replacing
from manifests.format.names import SHARD_FOLDER, array_folder, name_problem
from manifests.format.schema import array_name_problem
from manifests.rows.table import string_blocks, string_column

if TYPE_CHECKING:
    import pyarrow as pa

_VERSION = 1
_ARRAYS_BEGIN = ', "arrays": {'

Failures = Literal["new", "none", "kept"]


@dataclass(frozen=True, kw_only=True)
class Replaced:
    """What becomes of the files of one array.

    Attributes:
        added: IDs whose files come from the stage: a column of strings.
        removed: IDs whose files are deleted.
    """

    added: pa.ChunkedArray
    removed: pa.ChunkedArray


@dataclass(frozen=True, kw_only=True)
class Changeover:
    """What is to be done to a dataset's folder.

    Attributes:
        manifest: SHA-256 of the new manifest, in hex.
        added: IDs whose shards come from the stage: a column of strings.
        removed: IDs whose shards are deleted.
        failures: whether a new failures.csv comes, the old one goes, or it stays as it is.
        arrays: name of a further array -> what becomes of its files.
    """

    manifest: str
    added: pa.ChunkedArray
    removed: pa.ChunkedArray
    failures: Failures
    arrays: Mapping[str, Replaced] = field(default_factory=dict)

    def by_folder(self) -> dict[str, Replaced]:
        """Return folder for shards -> what becomes of the files below it; no file of one can be in the way of another's."""
        further = {array_folder(name): own for name, own in sorted(self.arrays.items())}
        return {SHARD_FOLDER: Replaced(added=self.added, removed=self.removed), **further}


def write_record(change: Changeover, path: Path) -> None:
    """Write a record, replacing `path` at once.

    Raises:
        OSError: the disk is full or fails, or the folder cannot be written.
    """
    with replacing(path) as file:
        file.write(json.dumps({"version": _VERSION, "manifest": change.manifest, "failures": change.failures}).encode()[:-1])
        for name, ids in (("added", change.added), ("removed", change.removed)):
            _write_ids(file, f', "{name}": ', ids)
        for number, (name, own) in enumerate(sorted(change.arrays.items())):
            _write_ids(file, f'{", " if number else _ARRAYS_BEGIN}"{name}": {{"added": ', own.added)
            _write_ids(file, ', "removed": ', own.removed)
            file.write(b"}")
        file.write(b"}}" if change.arrays else b"}")


def _write_ids(file: BinaryIO, before: str, ids: pa.ChunkedArray) -> None:
    """Write a list of IDs, some at a time, behind what stands before it."""
    file.write(f"{before}[".encode())
    blocks = enumerate(string_blocks(ids))
    file.writelines((", " if number else "").encode() + json.dumps(block).encode()[1:-1] for number, block in blocks)
    file.write(b"]")


def read_record(record: Path) -> Changeover:
    """Read a record; what it says comes from outside and is checked before anything is done.

    Raises:
        UnfinishedCommitError: it is damaged.
    """
    try:
        return _parsed(_bytes(record))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UnfinishedCommitError(
            f"{record}: cannot be understood ({error}); a prep command was ended while it put its result in place, and what it had "
            "to do is lost; remove this file and build again"
        ) from error


def _bytes(record: Path) -> bytes:
    if not stat.S_ISREG(os.lstat(record).st_mode):  # a pipe would wait for ever for somebody to write to it
        raise ValueError("it is no regular file")
    return record.read_bytes()


def _parsed(content: bytes) -> Changeover:
    raw = json.loads(content)
    if not isinstance(raw, dict) or raw.pop("version", None) != _VERSION:
        raise ValueError("it is of another release")
    own, arrays = _parsed_ids(raw), raw.pop("arrays", {})
    if type(arrays) is not dict:
        raise TypeError("its arrays are no object")
    change = Changeover(
        manifest=raw.pop("manifest"),
        added=own.added,
        removed=own.removed,
        failures=raw.pop("failures"),
        arrays={name: _parsed_array(name, each) for name, each in arrays.items()},
    )
    if raw or type(change.manifest) is not str or change.failures not in get_args(Failures):
        raise TypeError("it has other values")
    return change


def _parsed_array(name: str, raw: object) -> Replaced:
    problem = array_name_problem(name)
    if problem or not isinstance(raw, dict) or raw.keys() != {"added", "removed"}:
        raise ValueError(problem or f"array {name!r} has other values")
    return _parsed_ids(raw)


def _parsed_ids(raw: dict[str, Any]) -> Replaced:
    """Take the IDs out of an object of the record."""
    added, removed = raw.pop("added"), raw.pop("removed")
    if type(added) is not list or type(removed) is not list:
        raise TypeError("its IDs are no lists")
    for id_ in (*added, *removed):
        problem = name_problem(id_) if type(id_) is str else "is no text"
        if problem:
            raise ValueError(f"ID {id_!r} {problem}")
    return Replaced(added=string_column(added), removed=string_column(removed))
