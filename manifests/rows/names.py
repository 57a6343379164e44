"""Which names of a whole column are unsafe, and which cannot all be files; `format.names` has the rules, for one name.

Nearly all names are plain and distinct, which is seen without making a string of each; the others are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from manifests.format import names as rules
from manifests.format.names import collision_key, default_path, name_problem
from manifests.rows import arrow
from manifests.rows.buffers import ascends, integer_array, mask, number_array, string_array
from manifests.rows.table import arrays, is_in

if TYPE_CHECKING:
    import pyarrow as pa

_PLAIN = r"^[A-Za-z0-9_][A-Za-z0-9_. -]*(?:/[A-Za-z0-9_][A-Za-z0-9_. -]*)*$"
_LONGEST_PLAIN = 100
"""Bytes of a name that is safe if it matches `_PLAIN`: no component of it can be too long."""

_SHARD_AS_FOLDER = r"(?i)\.npy/"


def plain(names: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return whether each name is safe at first sight; the others may be."""
    pc = arrow.pc
    longest = integer_array(np.array([_LONGEST_PLAIN], dtype=np.int32))[0]
    return pc.and_(pc.match_substring_regex(names, _PLAIN), pc.less_equal(pc.binary_length(names), longest))


def name_problems(names: pa.ChunkedArray) -> dict[int, str]:
    """Return position -> what is wrong, of each name that is unsafe; see `format.names.name_problem`."""
    problems: dict[int, str] = {}
    for start, block in arrays(names):
        others = np.flatnonzero(~mask(plain(arrow.pa.chunked_array([block]))))
        for position, name in zip(others.tolist(), block.take(number_array(others)).to_pylist(), strict=True):
            if problem := name_problem(name):
                problems[start + position] = problem
    return problems


def collisions(names: pa.ChunkedArray) -> Iterator[tuple[int, int]]:
    """Yield (position, earlier position) for each name that meets an earlier one on a case-insensitive disk."""
    step = arrow.ROWS_AT_ONCE
    if all(ascends(_keys(names.slice(start, step + 1))) for start in range(0, len(names), step)):  # each with the next one's first
        return
    keys = _keys(names)
    hashes = np.empty(len(keys), dtype=np.int64)  # a fraction of what a dictionary of the keys takes, in memory and in time
    for start, block in arrays(keys):
        hashes[start : start + len(block)] = np.fromiter(map(hash, block.to_pylist()), dtype=np.int64, count=len(block))
    in_order = np.sort(hashes)
    repeated = in_order[1:][in_order[1:] == in_order[:-1]]
    rows = np.flatnonzero(np.isin(hashes, repeated)).tolist() if len(repeated) else []
    for position, earlier in rules.collisions(names[row].as_py() for row in rows):
        yield rows[position], rows[earlier]


def shard_clashes(ids: pa.ChunkedArray) -> Iterator[tuple[int, int]]:
    """Yield (position, other position) where the other's shard would have to be a folder of this one's, as `a` and `a.npy/b`."""
    is_below = arrow.pc.match_substring_regex(ids, _SHARD_AS_FOLDER)
    if not arrow.pc.any(is_below).as_py():
        return
    folders: set[str] = set()
    for id_ in ids.filter(is_below).to_pylist():
        while id_ := id_.rpartition("/")[0]:
            folders.add(collision_key(id_).removesuffix(".npy"))
    rows = np.flatnonzero(mask(is_below) | is_in(_keys(ids), folders))
    for position, other in rules.file_and_folder_clashes([default_path(ids[row].as_py()) for row in rows.tolist()]):
        yield int(rows[position]), int(rows[other])


def _keys(names: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return what a case-insensitive, normalizing disk makes of each name; see `format.names.collision_key`."""
    pa, pc = arrow.pa, arrow.pc
    keys = []
    for _, block in arrays(names):
        lower, is_ascii = pc.ascii_lower(block), pc.string_is_ascii(block)
        if not pc.all(is_ascii).as_py():
            others = pc.invert(is_ascii)
            lower = pc.replace_with_mask(lower, others, string_array(list(map(collision_key, block.filter(others).to_pylist()))))
        keys.append(lower)
    return pa.chunked_array(keys, type=pa.large_string())
