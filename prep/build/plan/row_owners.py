"""Which item each row of a manifest is of, be its sample one of several or not, and which are of a file that cannot be read any more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from manifests.rows.buffers import number_array, positions_of
from manifests.rows.table import equal_at, is_in
from prep.sources.items import item_keys
from prep.sources.listing import Failure
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


def of_failed_files(rows: pa.Table, failures: Sequence[Failure]) -> npt.NDArray[np.bool_]:
    """Return which rows are of a container file whose items cannot be listed any more: bool, shape (len(rows),)."""
    whole = {failure.source for failure in failures if not failure.id}
    return is_in(rows["source"], whole) if whole and "source" in rows.column_names else np.zeros(len(rows), dtype=np.bool_)
