"""IDs of different raw items must be different on every disk."""

from __future__ import annotations

from collections.abc import Sequence

from manifests.names import collisions, default_path, file_and_folder_clashes
from prep.errors import SourceError
from prep.records import Record


def check_distinct(records: Sequence[Record]) -> None:
    """Refuse records of which two would share a shard.

    Raises:
        SourceError: every pair is listed.
    """
    problems = []
    for position, earlier in collisions(record.id for record in records):
        one, other = records[earlier], records[position]
        same = (
            f"both map to ID {other.id!r}"
            if one.id == other.id
            else f"map to IDs that a case-insensitive disk takes for one: {one.id!r}, {other.id!r}"
        )
        problems.append(f"{one.source!r} and {other.source!r} {same}")
    for position, other_position in file_and_folder_clashes([default_path(record.id) for record in records]):
        problems.append(f"ID {records[position].id!r} needs a folder where ID {records[other_position].id!r} has its shard")
    if problems:
        raise SourceError("raw files that map to one ID; rename or remove one of each:", problems)
