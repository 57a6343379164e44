"""The state after a retry: what it knows of the items that it was about, beside what was known of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from manifests.rows import arrow
from manifests.rows.buffers import fixed_array, positions_of
from manifests.rows.table import blank, select
from prep.build.state.digests import DIGEST_BYTES
from prep.build.state.state import State
from prep.sources.items import item_keys

if TYPE_CHECKING:
    import pyarrow as pa


def together(older: State, newer: State) -> State:
    """Return what both say, of a file of which both know something what the newer one says."""
    others = select(older.items, positions_of(item_keys(older.items), item_keys(newer.items)) < 0)
    if older.recipe != newer.recipe:
        others = _with_zeros(others.drop_columns("fingerprint"), "fingerprint")
    parts = [others, newer.items]
    if any("content" in part.column_names for part in parts):
        parts = [part if "content" in part.column_names else _with_zeros(part, "content") for part in parts]
    if any("member" in part.column_names for part in parts):
        parts = [part if "member" in part.column_names else part.append_column("member", _no_members(len(part))) for part in parts]
    items = arrow.pa.concat_tables([part.select(parts[-1].column_names) for part in parts])
    return State(items=items.combine_chunks(), recipe=newer.recipe, read_by=newer.read_by, about=older.about)


def _no_members(count: int) -> pa.ChunkedArray:
    return blank(count).cast(arrow.pa.large_string())


def _with_zeros(items: pa.Table, name: str) -> pa.Table:
    return items.append_column(name, fixed_array(np.zeros((len(items), DIGEST_BYTES), dtype=np.uint8)))
