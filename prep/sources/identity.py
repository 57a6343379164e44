"""IDs of different raw items must be different on every disk."""

from __future__ import annotations

from collections.abc import Sequence

from manifests.names import collision_key, collisions, file_and_folder_clashes
from manifests.table import default_paths
from prep.errors import SourceError
from prep.records import Record, Records


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
    folders = {id_.rpartition("/")[0] for id_ in packed.ids}
    if any(".npy" in collision_key(folder) for folder in folders):
        for position, other_position in file_and_folder_clashes(default_paths(packed.ids)):
            problems.append(f"ID {packed[position].id!r} needs a folder where ID {packed[other_position].id!r} has its shard")
    if problems:
        raise SourceError("raw files that map to one ID; rename or remove one of each:", problems)
