"""Further arrays at the commit: what `dataset.json` says of them, and which of their files come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifests.format.metadata import ArraySpec, common_array
from manifests.format.schema import array_column, array_names
from manifests.rows import arrow
from manifests.rows.buffers import mask_array, positions_of
from manifests.rows.named_arrays import array_rows
from manifests.rows.table import distinct
from manifests.storage.commit_record import Replaced

if TYPE_CHECKING:
    import pyarrow as pa


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
