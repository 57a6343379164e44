"""Which item each row of a manifest is of: its own, or that of which its sample is one of several."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from manifests.rows.buffers import number_array, positions_of
from manifests.rows.table import equal_at
from prep.sources.items import item_keys
from prep.sources.numbered_samples import record_ids_of

if TYPE_CHECKING:
    import pyarrow as pa


def owners_of(rows: pa.Table, items: pa.Table) -> npt.NDArray[np.int64]:
    """Return which item each row is of: int64, shape (len(rows),); -1 for none.

    A row is of the item that has its ID. But where its raw file, or the name of the item within that, is not that item's, and is that
    of the item that has its ID without the number of the sample, it is of that one, unless that has a row of its own: of `a` and
    `a-0000` which both become several samples, the row `a-0000` is the first's.
    """
    # As after most builds: finding millions of strings takes a hundred bytes for each.
    are_items = rows["id"].equals(items["id"])
    owners = np.arange(len(rows)) if are_items else positions_of(rows["id"], items["id"])
    if "source" not in rows.column_names or not len(items):
        return owners
    its_keys = item_keys(items)
    is_certain = equal_at(item_keys(rows), its_keys, owners)
    doubtful = np.flatnonzero(~is_certain)
    if not len(doubtful):
        return owners
    some = rows.select([name for name in ("id", "source", "member") if name in rows.column_names]).take(number_array(doubtful))
    stems = positions_of(record_ids_of(some["id"]), items["id"])
    is_sample = equal_at(item_keys(some), its_keys, stems) & ~np.isin(stems, owners[is_certain])
    owners[doubtful[is_sample]] = stems[is_sample]
    return owners
