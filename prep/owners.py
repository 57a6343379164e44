"""Which record each row of a manifest is of: its own, or that of which its sample is one of several."""

from __future__ import annotations

import numpy as np

from manifests.columns import as_packed
from manifests.joining import positions_among
from manifests.strings import PackedStrings, Positions
from manifests.table import Table
from prep.records import Records
from prep.sampleids import SAMPLE_OF_SEVERAL


def owners_of(rows: Table, records: Records) -> Positions:
    """Return which record each row is of: int64, shape (len(rows),); -1 for none.

    A row is of the record that has its ID; else, if its raw file is that of the record that has its ID without the number of
    the sample, of that one, unless that has a row of its own.
    """
    row_ids = as_packed(rows.column("id"))
    owners = positions_among(row_ids, records.ids)
    left = np.flatnonzero(owners < 0)
    stems = [(int(row), match[1]) for row, id_ in zip(left, row_ids.take(left), strict=True) if (match := SAMPLE_OF_SEVERAL.fullmatch(id_))]
    if not stems or "source" not in rows:
        return owners
    numbered = np.array([row for row, _ in stems])
    distinct = sorted({stem for _, stem in stems})
    at = dict(zip(distinct, positions_among(PackedStrings(distinct), records.ids).tolist(), strict=True))
    found = np.array([at[stem] for _, stem in stems])
    own = np.zeros(len(records) + 1, dtype=np.bool_)  # the last is that of -1
    own[owners] = True
    own[-1] = False
    sources = as_packed(rows.column("source")).take(numbered)
    wanted = records.sources.take(np.maximum(found, 0)) if len(records) else [""] * len(numbered)
    same = np.array([one == other for one, other in zip(sources, wanted, strict=True)], dtype=np.bool_)
    owners[numbered] = np.where((found >= 0) & same & ~own[found], found, -1)
    return owners
