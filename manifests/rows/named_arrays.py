"""Further arrays of the samples, such as masks: the rows that have one, with its columns called as those of the main array."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from manifests.format.schema import ARRAY_FIELDS, array_column
from manifests.rows.buffers import Positions, number_array
from manifests.rows.table import is_in

if TYPE_CHECKING:
    import pyarrow as pa


def rows_with_array(rows: pa.Table, name: str) -> Positions:
    """Return the positions of the rows whose sample has a further array, those that name its file: int64, shape (k,)."""
    return np.flatnonzero(~is_in(rows[array_column(name, "path")], [""]))


def array_rows(rows: pa.Table, name: str, positions: Positions | None = None) -> pa.Table:
    """Return what rows say of a further array, as rows of samples whose main array it is.

    Args:
        rows: with a column `<name>.path`.
        name: of the array.
        positions: of the rows that are wanted; all that have the array if left out.

    Returns:
        The columns `id`, `path`, and those of `row`, `shape`, `dtype` and `sha256` that there are.
    """
    there = [field for field in ARRAY_FIELDS if array_column(name, field) in rows.column_names]
    some = rows.select(["id", *(array_column(name, field) for field in there)]).rename_columns(["id", *there])
    return some.take(number_array(rows_with_array(rows, name) if positions is None else positions))
