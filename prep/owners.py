"""Which record each row of a manifest is of: its own, or that of which its sample is one of several."""

from __future__ import annotations

import numpy as np

from manifests.columns import as_packed
from manifests.joining import positions_among, same_each
from manifests.strings import PackedStrings, Positions
from manifests.table import Table
from prep.records import Records
from prep.sampleids import SAMPLE_OF_SEVERAL


def owners_of(rows: Table, records: Records) -> Positions:
    """Return which record each row is of: int64, shape (len(rows),); -1 for none.

    A row is of the record that has its ID. But where its raw file is not that record's, and is that of the record that has its ID
    without the number of the sample, it is of that one, unless that has a row of its own: of `a` and `a-0000` which both become
    several samples, the row `a-0000` is the first's.
    """
    row_ids = as_packed(rows.column("id"))
    owners = positions_among(row_ids, records.ids)
    if "source" not in rows or not len(records):
        return owners
    sources = as_packed(rows.column("source"))
    by_id = np.flatnonzero(owners >= 0)
    is_of_other_file = ~same_each(sources.select(by_id), records.sources.select(owners[by_id]))
    doubtful, certain = by_id[is_of_other_file], by_id[~is_of_other_file]
    moved = _give_to_stems(owners, doubtful, owners[certain], row_ids=row_ids, sources=sources, records=records)
    with_own = owners[np.setdiff1d(by_id, moved, assume_unique=True)]
    _give_to_stems(owners, np.flatnonzero(owners < 0), with_own, row_ids=row_ids, sources=sources, records=records)
    return owners


def _give_to_stems(
    owners: Positions, rows: Positions, with_own: Positions, *, row_ids: PackedStrings, sources: PackedStrings, records: Records
) -> Positions:
    """Give rows to the records that they are samples of by their ID and their raw file, and return which.

    Args:
        owners: of all rows; changed in place.
        rows: that may be given: int64.
        with_own: records with a row of their own, which have no samples: int64.
        row_ids: of all rows.
        sources: of all rows.
        records: all of them.
    """
    numbered, found = _by_stem(row_ids, rows, records.ids)
    is_theirs = same_each(sources.select(numbered), records.sources.select(found)) & ~np.isin(found, with_own)
    owners[numbered[is_theirs]] = found[is_theirs]
    return numbered[is_theirs]


def _by_stem(row_ids: PackedStrings, rows: Positions, records: PackedStrings) -> tuple[Positions, Positions]:
    """Return which of some rows have the ID of a sample whose raw item would be a record, and which record: int64, each of shape (k,)."""
    stems = [
        (row, match[1]) for row, id_ in zip(rows.tolist(), row_ids.take(rows), strict=True) if (match := SAMPLE_OF_SEVERAL.fullmatch(id_))
    ]
    distinct = sorted({stem for _, stem in stems})
    at = dict(zip(distinct, positions_among(PackedStrings(distinct), records).tolist(), strict=True))
    pairs = [(row, at[stem]) for row, stem in stems if at[stem] >= 0]
    return np.array([row for row, _ in pairs], dtype=np.int64), np.array([record for _, record in pairs], dtype=np.int64)
