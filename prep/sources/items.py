"""The table of items: one row per raw item, which gains columns on its way through a build. This file owns its columns.

| column | type | what it says |
|---|---|---|
| `id` | large_string | ID of the sample that the item becomes |
| `source` | large_string | the raw file, relative to the source's folder, with `/` |
| `member` | large_string | which item of a container file it is, empty for a file that is itself the item; left out where all are |
| `label` | strings | primary label, empty if there is none |
| `column.<name>` | strings | further manifest columns, which the source has under their own names |
| `size` | int64 | of the raw file, in bytes; `UNKNOWN` where nobody has looked |
| `mtime` | int64 | time of its last change, in ns; likewise |
| `header` | strings | what the file's header says, as the reader has it; empty where nobody has read it |
| `content` | binary(32) | SHA-256 of the file's bytes; all zero where nobody has read them |
| `fingerprint` | binary(32) | of what a build by the recipe writes, in hex digits; all zero where it cannot be known |
| `action` | strings | what a build does with the item: `keep`, `add`, `rebuild` or `move` |
| `reason` | strings | why it is rebuilt; empty if it is not |

The first seven come with the listing of a source, the next two with the scan, the last three with the plan. Strings are `large_string`, or
`dictionary<int32, string>` where their values are few, as in `manifests.rows.table`. No column has nulls.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from manifests.rows import arrow
from manifests.rows.buffers import ascends, number_array, text
from manifests.rows.names import collisions, shard_clashes
from manifests.rows.table import blank, rows_of, strings, value
from prep.errors import SourceError

if TYPE_CHECKING:
    import pyarrow as pa

COLUMN = "column."
"""What stands before the name of a manifest column that the source has."""

_OF_OBJECTS = ("id", "source", "member")

UNKNOWN = -1
"""Size and time of a raw file that could not be looked at, or was not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One raw item, as a worker gets it.

    Attributes:
        id: of the sample that it becomes.
        source: the raw file, relative to the source's folder, with `/`.
        member: which item of a container file it is; empty if the file is itself the item.
    """

    id: str
    source: str
    member: str = ""


def items_table(
    ids: Any,
    sources: Any,
    labels: Any = None,
    *,
    members: Any = None,
    columns: Mapping[str, Any] | None = None,
    sizes: npt.NDArray[np.int64] | None = None,
    mtimes: npt.NDArray[np.int64] | None = None,
) -> pa.Table:
    """Return the table of items as a listing has it.

    Args:
        ids: Arrow array or list of strings, and so are the other columns of text.
        sources: the raw files.
        labels: empty ones if left out.
        members: of container files; left out where each file is itself the item.
        columns: further manifest columns, by their own names.
        sizes: of the files: int64, shape (n,); unknown if left out.
        mtimes: likewise.
    """
    texts = {"id": ids, "source": sources, **({} if members is None else {"member": members})}
    texts["label"] = blank(len(ids)) if labels is None else labels
    # In one piece, as `take` puts the pieces of a column together each time.
    table = rows_of(texts | {COLUMN + name: column for name, column in (columns or {}).items()}).combine_chunks()
    unknown = np.full(len(table), UNKNOWN, dtype=np.int64)
    for name, numbers in (("size", sizes), ("mtime", mtimes)):
        table = table.append_column(name, number_array(unknown if numbers is None else np.asarray(numbers, dtype=np.int64)))
    return table


def column_names(items: pa.Table) -> list[str]:
    """Return the names of the further manifest columns that the source has."""
    return [name.removeprefix(COLUMN) for name in items.column_names if name.startswith(COLUMN)]


def items_at(items: pa.Table, positions: npt.NDArray[np.int64]) -> list[Item]:
    """Return the items at these positions (int64, shape (k,)) as objects."""
    names = [name for name in _OF_OBJECTS if name in items.column_names]
    some = items.select(names).take(number_array(positions))
    values = zip(*(strings(some[name]) for name in names), strict=True)
    return [Item(**dict(zip(names, each, strict=True))) for each in values]


def sorted_by_id(items: pa.Table) -> pa.Table:
    """Return the items sorted by ID, in the order of code points."""
    return items if ascends(items["id"]) else items.take(arrow.pc.sort_indices(items["id"]))


def each_item(items: pa.Table) -> Iterator[Item]:
    """Yield the items, some at a time, so that those of a large table are not all objects at once."""
    for start in range(0, len(items), arrow.ROWS_AT_ONCE):
        yield from items_at(items, np.arange(start, min(start + arrow.ROWS_AT_ONCE, len(items))))


def item_keys(items: pa.Table) -> pa.ChunkedArray:
    """Return what tells the raw items of a table with `source`, and perhaps `member`, from each other: large_string, shape (n,)."""
    sources = items["source"]
    if "member" not in items.column_names:
        return sources
    members = items["member"].cast(arrow.pa.large_string())
    both = arrow.pc.binary_join_element_wise(sources, members, text("\0"))  # which is in the name of no file
    return arrow.pc.if_else(arrow.pc.equal(members, text("")), sources, both)


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
