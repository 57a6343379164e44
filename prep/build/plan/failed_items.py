"""What failed in a dataset, found again in its source; of all else, what the dataset itself says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from manifests.rows import arrow
from manifests.rows.buffers import number_array, positions_of, string_array
from manifests.rows.table import blank, is_in, select, strings
from prep.build.plan.row_owners import owners_of
from prep.sources.items import column_names, items_table
from prep.sources.listing import Failure, Listing
from prep.text import counted, shown

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class FailedItems:
    """Raw items that failed, and the others.

    Attributes:
        listing: of the source, with nothing in it but what failed.
        beside_rows: the same with the items that have rows, of which it says what the rows say: what splits and groups are about.
        notes: what to tell the user.
    """

    listing: Listing
    beside_rows: Listing
    notes: Sequence[str]


def failed_items(listing: Listing, rows: pa.Table, failed: Sequence[Failure]) -> FailedItems:
    """Find what failed in a listing of the source.

    A failure without an ID, as none can be made of the item's name or a container's items cannot be listed, is known by its source, and
    is of all items of that file.

    Args:
        listing: of the whole source.
        rows: of the dataset that is there.
        failed: the rows of its failures.csv.
    """
    items = listing.items
    ids, names = {failure.id for failure in failed} - {""}, {failure.source for failure in failed if not failure.id}
    by_id = positions_of(string_array(sorted(ids)), items["id"])
    is_due = is_in(items["source"], names)
    is_due[np.setdiff1d(by_id, [-1])] = True
    sources = {failure.source for failure in failed}
    failures = [failure for failure in listing.failures if failure.id in ids or (not failure.id and failure.source in sources)]
    due = replace(listing, items=select(items, is_due), failures=failures)
    found_ids = {*strings(due.items["id"]), *(failure.id for failure in failures)}
    whole = {failure.source for failure in failures if not failure.id}
    found_names = {*strings(due.items["source"]), *whole}
    lost = [f for f in failed if (f.id not in found_ids and f.source not in whole if f.id else f.source not in found_names)]
    note = f"no longer in failures.csv: {counted(len(lost), 'raw item')} that the source no longer has: {shown([f.source for f in lost])}"
    others = _others(items, rows, is_due=is_due)
    together = arrow.pa.concat_tables([due.items, others]).unify_dictionaries()
    return FailedItems(listing=due, beside_rows=replace(due, items=together), notes=[note] if lost else [])


def _others(items: pa.Table, rows: pa.Table, *, is_due: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> pa.Table:
    """Return the items that have rows and are not due, with the columns that the rows have."""
    owners = owners_of(rows, items)
    owned, first = np.unique(owners, return_index=True)
    keep = (owned >= 0) & ~is_due[owned]
    at, theirs = number_array(first[keep]), number_array(owned[keep])
    columns = {name: rows[name].take(at) if name in rows.column_names else blank(len(at)) for name in column_names(items)}
    members = items["member"].take(theirs) if "member" in items.column_names else None
    sources, labels = rows["source"].take(at), items["label"].take(theirs)
    others = items_table(items["id"].take(theirs), sources, labels, members=members, columns=columns)
    # A column of few values among these may be one of many among all.
    return others.cast(items.schema) if others.schema != items.schema else others
