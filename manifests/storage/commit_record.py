"""The record of a commit: what is to be done to a dataset's folder, in a file that is checked when it is read."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from manifests.errors import UnfinishedCommitError
from manifests.files.atomic import replacing
from manifests.format.names import name_problem
from manifests.rows.table import string_blocks, string_column

if TYPE_CHECKING:
    import pyarrow as pa

_VERSION = 1

Failures = Literal["new", "none", "kept"]


@dataclass(frozen=True, kw_only=True)
class Changeover:
    """What is to be done to a dataset's folder.

    Attributes:
        manifest: SHA-256 of the new manifest, in hex.
        added: IDs whose shards come from the stage: a column of strings.
        removed: IDs whose shards are deleted.
        failures: whether a new failures.csv comes, the old one goes, or it stays as it is.
    """

    manifest: str
    added: pa.ChunkedArray
    removed: pa.ChunkedArray
    failures: Failures


def write_record(change: Changeover, path: Path) -> None:
    """Write a record, replacing `path` at once.

    Raises:
        OSError: the disk is full or fails, or the folder cannot be written.
    """
    with replacing(path) as file:
        file.write(json.dumps({"version": _VERSION, "manifest": change.manifest, "failures": change.failures}).encode()[:-1])
        for name, ids in (("added", change.added), ("removed", change.removed)):
            file.write(f', "{name}": ['.encode())
            for number, block in enumerate(string_blocks(ids)):
                file.write((", " if number else "").encode() + json.dumps(block).encode()[1:-1])
            file.write(b"]")
        file.write(b"}")


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
    added, removed = raw.pop("added"), raw.pop("removed")
    if type(added) is not list or type(removed) is not list:
        raise TypeError("its IDs are no lists")
    for id_ in (*added, *removed):
        problem = name_problem(id_) if type(id_) is str else "is no text"
        if problem:
            raise ValueError(f"ID {id_!r} {problem}")
    change = Changeover(**raw, added=string_column(added), removed=string_column(removed))
    if type(change.manifest) is not str or change.failures not in get_args(Failures):
        raise TypeError("it has values of other types")
    return change
