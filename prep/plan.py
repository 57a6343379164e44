"""The plan: what a build adds, rebuilds and keeps, decided before anything is written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from manifests.manifest import Manifest
from manifests.names import default_path
from manifests.regularfile import open_regular
from prep.records import Failure, Record
from prep.shards import shard_bytes

Reason = Literal["source changed", "recipe changed", "shard missing", "shard damaged"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a build does with each ID; every list is sorted by ID.

    Attributes:
        add: records without a row.
        rebuild: records whose shard is out of date, and why.
        keep: records whose shard is as it should be.
        gone: IDs of rows whose raw item is no longer there.
        fingerprints: ID -> fingerprint of what the build would write.
    """

    add: Sequence[Record]
    rebuild: Sequence[tuple[Record, Reason]]
    keep: Sequence[Record]
    gone: Sequence[str]
    fingerprints: Mapping[str, str]

    @property
    def to_build(self) -> list[Record]:
        """The records to read, sorted by ID."""
        return sorted([*self.add, *(record for record, _ in self.rebuild)], key=lambda record: record.id)

    def gone_without(self, failures: Sequence[Failure]) -> list[str]:
        """Return the IDs that are gone, without those whose raw item is there but failed."""
        failed = {failure.id for failure in failures}
        return [id_ for id_ in self.gone if id_ not in failed]


def make_plan(
    records: Sequence[Record], identities: Mapping[str, str], recipe_digest: str, old: Manifest | None, old_digest: str | None
) -> Plan:
    """Compare records with the rows that are there.

    Args:
        records: sorted by ID.
        identities: ID -> identity of the raw item, from `raw_identity`.
        recipe_digest: of the recipe to build by.
        old: the dataset that is there, or None.
        old_digest: of the recipe that the old dataset was built by, or None.
    """
    fingerprints = {record.id: fingerprint(identities[record.id], recipe_digest) for record in records}
    rows = {} if old is None else dict(zip(old.frame["id"], old.frame["fingerprint"], strict=True))
    sizes = {} if old is None else _shard_sizes(old)
    add: list[Record] = []
    rebuild: list[tuple[Record, Reason]] = []
    keep: list[Record] = []
    for record in records:
        if record.id not in rows:
            add.append(record)
        elif rows[record.id] != fingerprints[record.id]:
            rebuild.append((record, "source changed" if recipe_digest == old_digest else "recipe changed"))
        elif old is not None and (damage := _damage(old.root / default_path(record.id), sizes.get(record.id))):
            rebuild.append((record, damage))
        else:
            keep.append(record)
    gone = sorted(set(rows).difference(fingerprints))
    return Plan(add=add, rebuild=rebuild, keep=keep, gone=gone, fingerprints=fingerprints)


def _shard_sizes(manifest: Manifest) -> dict[str, int]:
    """Return ID -> bytes that its shard should have, for the rows that say their shape and dtype."""
    if not {"shape", "dtype"} <= set(manifest.frame.columns):
        return {}
    rows = zip(manifest.frame["id"], manifest.frame["shape"], manifest.frame["dtype"], strict=True)
    return {id_: shard_bytes(shape, dtype) for id_, shape, dtype in rows if shape and dtype}


def _damage(path: Path, size: int | None) -> Reason | None:
    """Say what is wrong with a shard as far as a look at its size tells; `prep verify` reads it."""
    try:
        found = os.stat(path).st_size
    except FileNotFoundError:
        return "shard missing"
    return None if size in {None, found} else "shard damaged"


def raw_identity(path: Path, *, checksum: bool) -> str:
    """Return what tells a raw file from its changed self: size and time of change, or its content.

    Raises:
        OSError: the file cannot be read.
    """
    if checksum:
        with open_regular(path) as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    status = os.stat(path)
    return f"stat:{status.st_size}:{status.st_mtime_ns}"


def fingerprint(identity: str, recipe_digest: str) -> str:
    """Return the digest of a raw item's identity and the recipe, 32 hex digits: equal fingerprint, equal shard."""
    return hashlib.sha256(f"{identity}\n{recipe_digest}".encode()).hexdigest()[:32]
