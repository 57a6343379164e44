"""IDs of different raw items must be different on every disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifests.rows.names import collisions, shard_clashes
from manifests.rows.table import value
from prep.errors import SourceError

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
        source, other_source = (_source(items, row) for row in (earlier, position))
        same = f"both map to ID {one!r}" if one == other else f"map to IDs that a case-insensitive disk takes for one: {one!r}, {other!r}"
        problems.append(f"{source} and {other_source} {same}")
    for position, other_position in shard_clashes(items["id"]):
        below, shard = value(items, "id", position), value(items, "id", other_position)
        problems.append(f"ID {below!r} needs a folder where ID {shard!r} has its shard")
    if problems:
        raise SourceError("raw files that map to one ID; rename or remove one of each:", problems)


def _source(items: pa.Table, row: int) -> str:
    """Return what an item is made from, as messages say it."""
    member = value(items, "member", row) if "member" in items.column_names else ""
    return f"{value(items, 'source', row)!r}{f' item {member!r}' if member else ''}"
