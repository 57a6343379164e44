"""The record of a changeover: what is to be done to a dataset's folder, as a file that a stranger may have put there."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, get_args

from manifests.atomic import replacing
from manifests.errors import UnfinishedCommitError
from manifests.names import name_problem
from manifests.strings import Names

_VERSION = 1

BLOCK = 16_384
"""IDs that are handled together."""

Failures = Literal["new", "none", "kept"]


@dataclass(frozen=True, kw_only=True)
class Changeover:
    """What is to be done to a dataset's folder.

    Attributes:
        manifest: SHA-256 of the new manifest, in hex.
        added: IDs whose shards come from the stage.
        removed: IDs whose shards go.
        failures: whether a new failures.csv comes, the old one goes, or it stays as it is.
    """

    manifest: str
    added: Names
    removed: Names
    failures: Failures


def write_record(change: Changeover, path: Path) -> None:
    """Write a record, at once; its IDs some at a time.

    Raises:
        OSError: the disk is full or fails, or the folder cannot be written.
    """
    with replacing(path) as file:
        file.write(json.dumps({"version": _VERSION, "manifest": change.manifest, "failures": change.failures}).encode()[:-1])
        for name, ids in (("added", change.added), ("removed", change.removed)):
            file.write(f', "{name}": ['.encode())
            for number, block in enumerate(blocks_of(ids)):
                file.write((", " if number else "").encode() + json.dumps(block).encode()[1:-1])
            file.write(b"]")
        file.write(b"}")


def blocks_of(ids: Names) -> Iterator[list[str]]:
    """Yield IDs some at a time."""
    left = iter(ids)
    while block := list(islice(left, BLOCK)):
        yield block


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
    change = Changeover(**raw)
    if type(change.added) is not list or type(change.removed) is not list:
        raise TypeError("its IDs are no lists")
    for id_ in (*change.added, *change.removed):
        problem = name_problem(id_) if type(id_) is str else "is no text"
        if problem:
            raise ValueError(f"ID {id_!r} {problem}")
    if type(change.manifest) is not str or change.failures not in get_args(Failures):
        raise TypeError("it has values of other types")
    return change
