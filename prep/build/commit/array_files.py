"""Further arrays at the commit: the manifest's columns of new ones, what `dataset.json` says of them, which files come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from manifests.format.metadata import ArraySpec, common_array
from manifests.format.names import array_folder
from manifests.format.schema import array_column, array_names
from manifests.rows import arrow
from manifests.rows.buffers import fixed, mask_array, number_array, positions_of
from manifests.rows.named_arrays import array_rows
from manifests.rows.paths import default_paths
from manifests.rows.table import distinct, taken
from manifests.storage.commit_record import Replaced
from prep.build.execute.array_columns import as_main, rows_having, written_arrays
from prep.build.state.digests import hex_column

if TYPE_CHECKING:
    import pyarrow as pa


def further_columns(ids: pa.ChunkedArray, written: pa.Table) -> dict[str, pa.ChunkedArray]:
    """Return the manifest's columns of the further arrays that were written.

    Args:
        ids: of the samples that were written.
        written: as `prep.build.execute.journal.WRITTEN` has it, with columns of further arrays.
    """
    columns: dict[str, pa.ChunkedArray] = {}
    for name in written_arrays(written):
        own, positions = as_main(written, name), rows_having(written, name)
        at = np.full(len(written), -1, dtype=np.int64)
        at[positions] = np.arange(len(positions))
        paths, digests = default_paths(ids.take(number_array(positions)), array_folder(name)), fixed(own["sha256"])[positions]
        columns[array_column(name, "path")] = taken(paths, at)
        columns |= {array_column(name, "shape"): own["shape"], array_column(name, "dtype"): own["dtype"]}
        columns[array_column(name, "sha256")] = taken(hex_column(digests), at)
    return columns


def array_specs(rows: pa.Table) -> dict[str, ArraySpec]:
    """Return what `dataset.json` says of the further arrays of rows, by name."""
    specs: dict[str, ArraySpec] = {}
    for name in array_names(rows.column_names):
        some = array_rows(rows, name)
        spec = common_array(distinct(some["shape"]), distinct(some["dtype"])) if len(some) else None
        specs |= {} if spec is None else {name: spec}
    return specs


def array_changes(old: pa.Table | None, rows: pa.Table, new_ids: pa.ChunkedArray) -> dict[str, Replaced]:
    """Return what becomes of the files of further arrays, by name.

    Args:
        old: the rows of the dataset that is there, or None.
        rows: of the new one.
        new_ids: IDs whose shards were written.
    """
    before = () if old is None else array_names(old.column_names)
    changes = {}
    for name in sorted({*before, *array_names(rows.column_names)}):
        had, has = (_having(table, name) for table in (old, rows))
        added, removed = positions_of(has, new_ids) >= 0, positions_of(had, has) < 0
        changes[name] = Replaced(added=has.filter(mask_array(added)), removed=had.filter(mask_array(removed)))
    return changes


def _having(rows: pa.Table | None, name: str) -> pa.ChunkedArray:
    """Return the IDs of the rows that have a further array."""
    if rows is None or array_column(name, "path") not in rows.column_names:
        return arrow.pa.chunked_array([], type=arrow.pa.large_string())
    return array_rows(rows, name)["id"]
