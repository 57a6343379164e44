"""IDs of different raw items must be different on every disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from manifests.names import collisions, file_and_folder_clashes
from manifests.strings import PackedStrings
from manifests.table import default_paths
from prep.errors import SourceError
from prep.records import Record, Records

_BLOCK = 65_536


def check_distinct(records: Sequence[Record]) -> None:
    """Refuse records of which two would share a shard.

    Raises:
        SourceError: every pair is listed.
    """
    packed = Records.of(records)
    problems = []
    for position, earlier in collisions(packed.ids):
        one, other = packed[earlier], packed[position]
        same = (
            f"both map to ID {other.id!r}"
            if one.id == other.id
            else f"map to IDs that a case-insensitive disk takes for one: {one.id!r}, {other.id!r}"
        )
        problems.append(f"{one.source!r} and {other.source!r} {same}")
    # Only a folder that is called like a shard can be in the way of one.
    if any(b".npy/" in text.lower() for text in _texts(packed.ids)):
        for position, other_position in file_and_folder_clashes(default_paths(packed.ids)):
            problems.append(f"ID {packed[position].id!r} needs a folder where ID {packed[other_position].id!r} has its shard")
    if problems:
        raise SourceError("raw files that map to one ID; rename or remove one of each:", problems)


def _texts(ids: PackedStrings) -> Iterator[bytes]:
    """Yield many IDs at a time as one text."""
    for start in range(0, len(ids), _BLOCK):
        yield b"\0".join(ids.take_bytes(np.arange(start, min(start + _BLOCK, len(ids)))))
