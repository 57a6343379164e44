"""Parts: what finished chunks of a build left behind, so that a build that was ended goes on from there."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from manifests.atomic import TEMPORARY_PREFIX, sync_folder
from manifests.durable import sync_below
from manifests.joining import Finder
from manifests.regularfile import open_regular
from manifests.strings import PackedStrings, Positions
from prep.errors import OutputError
from prep.momentsource import MomentBlock
from prep.partcontent import PartContent, moments_in
from prep.records import Record
from prep.shards import WrittenShard
from prep.sources.facts import ImageFacts
from prep.written import PartRows, Written

PART_FOLDER = "parts"

_VERSION = 2

_SUFFIX = ".part"
_SUFFIXES = {_SUFFIX, ".jsonl"}
"""The other one is that of an earlier release, whose parts cannot be read any more."""

_UNREADABLE = (OSError, ValueError, TypeError, KeyError, RecursionError)
"""What reading a part raises that is damaged, of another release, or no part at all."""

Done = tuple[Record, Sequence[WrittenShard], ImageFacts | None]
"""A record, what was written for each of its samples, and what its header says."""


@dataclass(frozen=True)
class Due:
    """What a build is to write.

    Attributes:
        ids: of the records.
        prints: fingerprints of their shards: of dtype `S32`, shape (n,).
    """

    ids: PackedStrings
    prints: npt.NDArray[np.bytes_]

    @cached_property
    def _finder(self) -> Finder:
        return Finder(self.ids)

    def positions(self, content: PartContent) -> Positions:
        """Return where each record of a part stands: int64, shape (k,); -1 for what is not due, or of another state or recipe."""
        at = self._finder.positions([id_.encode() for id_ in content.ids])
        wanted = self.prints[np.maximum(at, 0)].tolist() if len(self.prints) else [b""] * len(at)
        same = [one.encode() == other for one, other in zip(content.fingerprints, wanted, strict=True)]
        return np.where(same, at, -1)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What an earlier build left.

    Attributes:
        whole: what parts say of which every record is done.
        kept: part of which only some records are done -> positions of these within it, and among what is due: int64, shape (2, k).
        damaged: parts that cannot be trusted.
    """

    whole: list[Written] = field(default_factory=list)
    kept: dict[Path, Positions] = field(default_factory=dict)
    damaged: list[Path] = field(default_factory=list)


def write_part(target: Path, done: Sequence[Done], *, fingerprints: Mapping[str, str], positions: Mapping[str, int]) -> Written:
    """Record that shards are written, after they are on the disk: a part is there as a whole or not at all.

    One flush of the file system serves all shards of the part and the part itself. A part that is written again takes the
    place of the first. Failures are not recorded: what failed is tried again, since its cause may have gone.

    Args:
        target: the folder below which the shards lie, laid out as a dataset.
        done: records whose shards are written; none need no part.
        fingerprints: record's ID -> fingerprint of what was written.
        positions: record's ID -> its position among those that are to be built.

    Raises:
        OSError: the disk is full or fails.
    """
    if not done:
        return Written.nothing()
    ids = [record.id for record, _, _ in done]
    content = PartContent.of(ids, [fingerprints[id_] for id_ in ids], [shards for _, shards, _ in done], [facts for _, _, facts in done])
    [digest] = _write(target, [content], (target / path for path in content.paths()))
    return _written(content, digest, np.array([positions[id_] for id_ in ids], dtype=np.int64))


def read_part(path: Path) -> PartContent:
    """Return what a part says.

    Raises:
        OSError, ValueError, TypeError, KeyError, RecursionError: it cannot be read, is damaged, or no build has written it.
    """
    content, _ = _read(path)
    return content


def read_moments(target: Path, part: PartRows) -> MomentBlock:
    """Return the moments in a part that was written or read before.

    Raises:
        OutputError: it is not as it was.
    """
    path = target / PART_FOLDER / _name(part.digest)
    try:
        with open_regular(path) as file:
            content = file.read().partition(b"\n")[2]
    except OSError as error:
        raise OutputError(f"{path}: cannot be read any more: {error.strerror or error}; build again") from error
    if hashlib.sha256(content).hexdigest() != part.digest:
        raise OutputError(f"{path}: was changed while a build ran; build again")
    return moments_in(content)


def read_parts(target: Path, due: Due) -> Found:
    """Find what need not be built again; each shard of it is there in its full size.

    What cannot be read does not count, nor does what was built from another state of the raw item or by another recipe.

    Args:
        target: as for `write_part`.
        due: what is to be built; what is not among it does not count.
    """
    found, is_done = Found(), np.zeros(len(due.ids), dtype=np.bool_)
    for path in _parts_in(target):
        try:
            content, digest = _read(path)
        except _UNREADABLE:
            found.damaged.append(path)
            continue
        at = due.positions(content)
        true = (at >= 0) & _are_there(target, content)
        new = true.copy()
        new[true] = ~is_done[at[true]]  # a chunk that was done twice may be told of twice
        is_done[at[new]] = True
        which = np.flatnonzero(new)
        if true.all() and path.name == _name(digest):
            found.whole.append(_written(content, digest, at).select(which))
        else:
            found.kept[path] = np.stack([which, at[which]])
    return found


def settle_parts(target: Path, found: Found) -> list[Written]:
    """Leave no part that says more than what is done; to be called before anything is written below the target.

    A part that was left would be believed again by a later build with the options of the earlier one, although by then another
    shard may lie in the place of the one it tells of.

    Returns:
        All that is done.

    Raises:
        OSError: the disk is full or fails, or a part has changed since it was read.
    """
    replaced = {path: which for path, (which, _) in found.kept.items() if len(which)}
    new = _write(target, (_read_again(path).select(which) for path, which in replaced.items()), ())
    written = list(found.whole)
    for old, digest in zip(replaced, new, strict=True):
        written.append(_written(_read_again(target / PART_FOLDER / _name(digest)), digest, found.kept[old][1]))
    stale = {path for path in (*found.kept, *found.damaged) if path.name not in set(map(_name, new))}
    for path in stale:
        path.unlink()
    if stale:
        sync_folder(target / PART_FOLDER)
    return written


def count_done(target: Path) -> int:
    """Return of how many records the parts say that they are done, by a look at the first line of each."""
    count = 0
    for path in _parts_in(target):
        try:
            with open_regular(path) as file:
                count += int(json.loads(file.readline())["records"])
        except _UNREADABLE:
            continue
    return count


def _parts_in(target: Path) -> list[Path]:
    return sorted(path for path in (target / PART_FOLDER).glob("*") if path.suffix in _SUFFIXES and not path.is_dir())


def _name(digest: str) -> str:
    return f"{digest[:32]}{_SUFFIX}"


def _read(path: Path) -> tuple[PartContent, str]:
    """Return what a part says, and its SHA-256 in hex."""
    with open_regular(path) as file:
        header, _, encoded = file.read().partition(b"\n")
    content, digest = PartContent.decode(encoded), hashlib.sha256(encoded).hexdigest()
    if json.loads(header) != _header(content, digest):
        raise ValueError("it is damaged, or of another release")
    return content, digest


def _written(content: PartContent, digest: str, positions: Positions) -> Written:
    """Return what a part says, without what it alone has to know."""
    count = len(content.sha256s)
    return Written(
        positions=positions,
        numbers=content.numbers,
        shapes=content.shapes,
        dtypes=content.dtypes,
        sha256s=content.sha256s,
        facts=content.facts,
        parts=(PartRows(digest=digest, rows=count),),
        rows=np.arange(count),
    )


def _write(target: Path, contents: Iterable[PartContent], shards: Iterable[Path]) -> list[str]:
    """Write parts after their shards are on the disk; return the SHA-256 of each, in hex."""
    folder = target / PART_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    temporary: dict[str, Path] = {}
    try:
        for content in contents:
            encoded = content.encode()
            digest = hashlib.sha256(encoded).hexdigest()
            temporary[digest] = folder / f"{TEMPORARY_PREFIX}{digest[:32]}"
            temporary[digest].write_bytes(json.dumps(_header(content, digest)).encode() + b"\n" + encoded)
        if temporary:
            sync_below(target, chain(temporary.values(), shards))
        for digest, path in temporary.items():
            os.replace(path, folder / _name(digest))
    except BaseException:
        for path in temporary.values():
            path.unlink(missing_ok=True)
        raise
    return list(temporary)


def _header(content: PartContent, digest: str) -> dict[str, Any]:
    return {"part": _VERSION, "records": len(content), "sha256": digest}


def _read_again(path: Path) -> PartContent:
    """Return what a part says that was sound a moment ago.

    Raises:
        OSError: it is so no longer.
    """
    try:
        return read_part(path)
    except _UNREADABLE as error:
        raise OSError(errno.EIO, "has changed since it was read", os.fspath(path)) from error


def _are_there(target: Path, content: PartContent) -> npt.NDArray[np.bool_]:
    """Return whether all shards of each record are files of their full size: bool, shape (k,)."""
    folder = os.fspath(target)
    sizes = content.sizes().tolist()
    there = np.fromiter((_is_there(f"{folder}/{path}", size) for path, size in zip(content.paths(), sizes, strict=True)), dtype=np.bool_)
    if not content.numbers.any():
        return there
    counts = np.maximum(content.numbers, 1)
    return np.logical_and.reduceat(there, np.cumsum(counts) - counts)


def _is_there(path: str, size: int) -> bool:
    try:
        status = os.lstat(path)
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == size
