"""The names of the items inside a container file, as its reader lists them: they come from outside, and are checked here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from manifests.format.names import collisions, default_path, file_and_folder_clashes, name_problem
from manifests.rows.buffers import string_array
from prep.errors import ItemError
from prep.readers.limits import MAX_SAMPLES
from prep.readers.reader import Reader
from prep.text import counted, printable

if TYPE_CHECKING:
    import pyarrow as pa


def members_of(reader: Reader, path: Path) -> pa.Array:
    """Return the names of the items in a file, as the column `member` has them: one that is empty if the file is itself the item.

    Raises:
        ItemError: it cannot be used, or has names that cannot stand in a manifest together.
    """
    names = reader.members(path)
    if names is None:
        return string_array([""])
    if not names:
        raise ItemError("holds no items")
    if len(names) > MAX_SAMPLES:
        raise ItemError(f"holds {len(names):,} items; at most {MAX_SAMPLES:,} are taken of one file")
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ItemError(f"its reader {reader.name!r} returned names of items that are not text")
    problems = [(name, problem) for name in names if (problem := name_problem(name))]
    if problems:
        first = f"the name {printable(problems[0][0])!r} {problems[0][1]}"
        raise ItemError(f"holds {counted(len(problems), 'item')} whose name cannot be part of an ID: {first}; rename it in the file")
    for at, earlier in collisions(names):
        one, other = printable(names[earlier]), printable(names[at])
        same = f"{one!r} twice" if names[at] == names[earlier] else f"{one!r} and {other!r}, which are one name on a case-insensitive disk"
        raise ItemError(f"holds {same}; rename one of the items")
    for at, other_at in file_and_folder_clashes([default_path(name) for name in names]):
        raise ItemError(f"item {names[at]!r} needs a folder where item {names[other_at]!r} has its shard; rename one of them")
    return string_array(names)
