"""IDs of different raw items must be different on every disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifests.rows.names import collisions, shard_clashes
from manifests.rows.table import value
from prep.errors import SourceError
from prep.sources.items import item_keys

if TYPE_CHECKING:
    import pyarrow as pa


def check_distinct(items: pa.Table) -> None:
    """Refuse items of which two would share a shard.

    Raises:
        SourceError: every pair is listed.
    """
    problems = []
    for position, earlier in collisions(items["id"]):
        one, other = (value(items, "id", row) for row in (earlier, position))
        source, other_source = (item_keys(items)[row].as_py().replace("\0", ": ") for row in (earlier, position))
        same = f"both map to ID {one!r}" if one == other else f"map to IDs that a case-insensitive disk takes for one: {one!r}, {other!r}"
        problems.append(f"{source!r} and {other_source!r} {same}")
    for position, other_position in shard_clashes(items["id"]):
        below, shard = value(items, "id", position), value(items, "id", other_position)
        problems.append(f"ID {below!r} needs a folder where ID {shard!r} has its shard")
    if problems:
        raise SourceError("raw files that map to one ID; rename or remove one of each:", problems)
