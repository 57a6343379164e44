"""The columns of further arrays in tables of what was written: `<name>.shape`, `<name>.dtype`, `<name>.sha256`.

They stand behind those of the main array. A table has those of the arrays that one of its samples has. Where a sample lacks one, shape and
dtype are empty and the digest is all zero. A build of samples with a main array alone has none of these columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from manifests.format.schema import array_column, array_name_problem
from manifests.rows.buffers import Positions, coded_array, codes_of, few_valued, fixed_array

if TYPE_CHECKING:
    import pyarrow as pa

    from prep.build.execute.shards import WrittenShard

FIELDS = ("shape", "dtype", "sha256")
"""What stands in a column of its own of each array, be it the main one or a further one."""


def written_arrays(table: pa.Table) -> tuple[str, ...]:
    """Return the names of the further arrays that a table has columns of, sorted."""
    names = (column.removesuffix(".shape") for column in table.schema.names if column.endswith(".shape"))
    return tuple(sorted(name for name in names if array_name_problem(name) is None))


def array_columns(names: Iterable[str]) -> list[str]:
    """Return the columns of further arrays, in order."""
    return [array_column(name, field) for name in names for field in FIELDS]


def columns_of_shards(shards: Sequence[WrittenShard]) -> dict[str, pa.Array]:
    """Return the columns of the further arrays that samples have, one row for each sample."""
    columns: dict[str, pa.Array] = {}
    for name in sorted({name for shard in shards for name in shard.arrays}):
        found = [shard.arrays.get(name) for shard in shards]
        columns[array_column(name, "shape")] = few_valued([one.shape if one else "" for one in found])
        columns[array_column(name, "dtype")] = few_valued([one.dtype if one else "" for one in found])
        digests = b"".join(bytes.fromhex(one.sha256) if one else bytes(32) for one in found)
        columns[array_column(name, "sha256")] = fixed_array(np.frombuffer(digests, dtype=np.uint8).reshape(-1, 32))
    return columns


def rows_having(table: pa.Table, name: str) -> Positions:
    """Return the positions of the samples that have a further array: int64, shape (k,)."""
    codes, texts = codes_of(table[array_column(name, "shape")])
    has = np.array([text != "" for text in texts] or [False], dtype=np.bool_)
    return np.flatnonzero(has[codes])


def as_main(table: pa.Table, name: str) -> pa.Table:
    """Return what a table says of a further array under the names of the main array's columns."""
    return table.select(array_columns([name])).rename_columns(list(FIELDS))


def with_each_array(tables: Sequence[pa.Table]) -> list[pa.Table]:
    """Return tables of what was written with the columns of all arrays that one of them has, which are none in the others."""
    names = sorted({name for table in tables for name in written_arrays(table)})
    return [_with_arrays(table, names) for table in tables]


def _with_arrays(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """Return a table with the columns of all these arrays behind its others."""
    own = set(written_arrays(table))
    if own == set(names):
        return table
    blank = coded_array(np.zeros(len(table), dtype=np.int32), [""])
    nothing = fixed_array(np.zeros((len(table), 32), dtype=np.uint8))
    for column in array_columns(name for name in names if name not in own):
        table = table.append_column(column, nothing if column.endswith(".sha256") else blank)
    first = [column for column in table.schema.names if column not in set(array_columns(names))]
    return table.select([*first, *array_columns(names)])
