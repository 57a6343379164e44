"""Parts: what finished chunks of a build left behind, so that a build that was ended goes on from there."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from manifests.atomic import TEMPORARY_PREFIX, sync_folder
from manifests.durable import sync_below
from manifests.metadata import is_dtype_name
from manifests.names import default_path, name_problem
from manifests.regularfile import open_regular
from manifests.schema import parse_shape
from prep.moments import check_moments
from prep.records import Record
from prep.shards import WrittenShard, shard_bytes

PART_FOLDER = "parts"

_VERSION = 1

Done = tuple[Record, tuple[WrittenShard, ...]]
"""A record and what was written for each of its samples."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_TILE = re.compile(r"-[0-9]{4,}")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What an earlier build left.

    Attributes:
        done: record's ID -> its shards, each of which is there in its full size.
        lines: record's ID -> what its part says of it, as written.
        damaged: parts that cannot be trusted.
        stale: parts of which not every record is done, the damaged ones among them.
    """

    done: Mapping[str, tuple[WrittenShard, ...]]
    lines: Mapping[str, str]
    damaged: Sequence[Path]
    stale: Sequence[Path]


def write_part(target: Path, done: Sequence[Done], fingerprints: Mapping[str, str]) -> None:
    """Record that shards are written, after they are on the disk: a part is there as a whole or not at all.

    One flush of the file system serves all shards of the part and the part itself. A part that is written again takes the
    place of the first. Failures are not recorded: what failed is tried again, since its cause may have gone.

    Args:
        target: the folder below which the shards lie, laid out as a dataset.
        done: records whose shards are written; none need no part.
        fingerprints: record's ID -> fingerprint of what was written.

    Raises:
        OSError: the disk is full or fails.
    """
    lines = [
        json.dumps(
            {
                "id": record.id,
                "source": record.source,
                "fingerprint": fingerprints[record.id],
                "shards": [shard.as_dict() for shard in shards],
            }
        )
        for record, shards in done
    ]
    _write(target, lines, [target / default_path(shard.id) for _, shards in done for shard in shards])


def read_parts(target: Path, fingerprints: Mapping[str, str]) -> Found:
    """Find what need not be built again.

    What cannot be read does not count, nor does what was built from another state of the raw item or by another recipe.

    Args:
        target: as for `write_part`.
        fingerprints: record's ID -> fingerprint of what is to be built; what is not among them does not count.
    """
    folder = target / PART_FOLDER
    done: dict[str, tuple[WrittenShard, ...]] = {}
    lines: dict[str, str] = {}
    damaged: list[Path] = []
    stale: list[Path] = []
    for path in sorted(folder.glob("*.jsonl")) if folder.is_dir() else ():
        try:
            entries = _entries(path)
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            damaged.append(path)
            stale.append(path)
            continue
        for id_, fingerprint, shards, line in entries:
            if fingerprints.get(id_) == fingerprint and all(_is_there(target, shard) for shard in shards):
                done[id_], lines[id_] = shards, line
            elif path not in stale[-1:]:
                stale.append(path)
    return Found(done=done, lines=lines, damaged=damaged, stale=stale)


def settle_parts(target: Path, found: Found) -> None:
    """Leave no part that says more than what is done; to be called before anything is written below the target.

    A part that was left would be believed again by a later build with the options of the earlier one, although by then another
    shard may lie in the place of the one it tells of.

    Raises:
        OSError: the disk is full or fails.
    """
    if not found.stale:
        return
    kept = _write(target, list(found.lines.values()), [])
    for path in found.stale:
        if path != kept:
            path.unlink()
    sync_folder(target / PART_FOLDER)


def count_done(target: Path) -> int:
    """Return of how many records the parts say that they are done, by a look at the first line of each."""
    count = 0
    for path in (target / PART_FOLDER).glob("*.jsonl"):
        try:
            with open_regular(path) as file:
                count += int(json.loads(file.readline())["records"])
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            continue
    return count


def _write(target: Path, lines: Sequence[str], shards: Sequence[Path]) -> Path | None:
    """Write a part after its shards are on the disk; return where it lies, or None if it would be empty."""
    if not lines:
        return None
    text = "".join(f"{line}\n" for line in lines)
    digest = hashlib.sha256(text.encode()).hexdigest()
    folder = target / PART_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{TEMPORARY_PREFIX}{digest[:32]}"
    try:
        temporary.write_text(f"{json.dumps({'part': _VERSION, 'records': len(lines), 'sha256': digest})}\n{text}", encoding="ascii")
        sync_below(target, [temporary, *shards])
        path = folder / f"{digest[:32]}.jsonl"
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def _entries(path: Path) -> list[tuple[str, str, tuple[WrittenShard, ...], str]]:
    """Return ID, fingerprint, shards and line of a part's records.

    Raises:
        OSError: it cannot be read.
        ValueError, TypeError, KeyError, RecursionError: it is damaged, or no build has written it.
    """
    with open_regular(path) as file:
        header, _, text = file.read().partition(b"\n")
    lines = text.decode("ascii").splitlines()
    if json.loads(header) != {"part": _VERSION, "records": len(lines), "sha256": hashlib.sha256(text).hexdigest()}:
        raise ValueError("it is damaged, or of another release")
    return [_entry(line) for line in lines]


def _entry(line: str) -> tuple[str, str, tuple[WrittenShard, ...], str]:
    raw = json.loads(line)
    id_, fingerprint = raw["id"], raw["fingerprint"]
    shards = tuple(WrittenShard(**shard) for shard in raw["shards"])
    if type(id_) is not str or type(fingerprint) is not str or not shards:
        raise TypeError("it has values of other types")
    for shard in shards:
        if type(shard.id) is not str or name_problem(shard.id) or not is_dtype_name(shard.dtype) or not _DIGEST.fullmatch(shard.sha256):
            raise ValueError(shard.id)
        if shard.id != id_ and not (shard.id.startswith(id_) and _TILE.fullmatch(shard.id.removeprefix(id_))):
            raise ValueError(f"{shard.id} is no sample of {id_}")
        shard_bytes(shard.shape, shard.dtype)
        check_moments(shard.moments, parse_shape(shard.shape))
    return id_, fingerprint, shards, line


def _is_there(target: Path, shard: WrittenShard) -> bool:
    try:
        status = os.lstat(target / default_path(shard.id))
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == shard_bytes(shard.shape, shard.dtype)
