"""What failed in a dataset, found again in its source; of all else, what the dataset itself says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import numpy.typing as npt

from manifests.columns import packed_column, values_of
from manifests.joining import positions_among
from manifests.manifest import Manifest
from manifests.strings import PackedStrings
from prep.known import Known
from prep.owners import owners_of
from prep.plan import packed
from prep.records import Failure, Listing, Records
from prep.survey import Survey


@dataclass(frozen=True, kw_only=True)
class Again:
    """Raw items that failed, and the others.

    Attributes:
        due: the listing of the source with nothing in it but what failed.
        others: records of the source that have rows, with the columns that the rows have.
        lost: failures whose raw item is no longer in the source.
    """

    due: Listing
    others: Records
    lost: Sequence[Failure]

    @property
    def listing(self) -> Listing:
        """What failed and the others: what splits and groups are about."""
        return replace(self.due, records=_together(self.due.records, self.others))


def what_failed(listing: Listing, old: Manifest, failed: Sequence[Failure]) -> Again:
    """Find what failed in a listing of the source.

    A failure without an ID, as none can be made of the item's name, is known by its source.

    Args:
        listing: of the whole source.
        old: the dataset that is there.
        failed: the rows of its failures.csv.
    """
    records = listing.records
    ids, names = {failure.id for failure in failed} - {""}, {failure.source for failure in failed if not failure.id}
    by_id = positions_among(PackedStrings(sorted(ids)), records.ids)
    by_name = positions_among(PackedStrings(sorted(names)), records.sources)
    positions = np.setdiff1d(np.concatenate([by_id, by_name]), [-1])
    failures = [failure for failure in listing.failures if failure.id in ids or (not failure.id and failure.source in names)]
    due = replace(listing, records=records.select(positions), failures=failures)
    found_ids, found_names = {*due.records.ids, *(f.id for f in failures)}, {*due.records.sources, *(f.source for f in failures)}
    lost = [failure for failure in failed if (failure.id not in found_ids if failure.id else failure.source not in found_names)]
    owners = owners_of(old.table, records)
    owners[np.isin(owners, positions)] = -1
    owned, rows = np.unique(owners, return_index=True)
    owned, rows = owned[owned >= 0], rows[owned >= 0]
    others = Records(
        records.ids.select(owned),
        packed(old, "source").select(rows),
        records.labels.select(owned),
        columns={
            name: old.table.column(name).select(rows) if name in old.table else packed_column([""] * len(rows)) for name in records.columns
        },
    )
    return Again(due=due, others=others, lost=lost)


def survey_beside_rows(old: Manifest, before: Known | None, sources: PackedStrings, facts: npt.NDArray[np.void]) -> Survey:
    """Return what the headers of some images say together with those that the rows were made from, as far as these are known.

    Args:
        old: the dataset that is there.
        before: what earlier builds found out.
        sources: of the images.
        facts: of dtype `FACTS`, shape (len(sources),).
    """
    if before is None:
        return Survey(sources, facts)
    at = np.setdiff1d(positions_among(packed(old, "source"), before.sources), [-1])
    at = at[before.facts["there"][at]]
    return Survey(PackedStrings(chain(before.sources.select(at), sources)), np.concatenate([before.facts[at], facts]))


def _together(one: Records, other: Records) -> Records:
    """Return the records of both, which have the same columns; nothing is said of their files."""
    columns = {name: packed_column(chain(values_of(column), values_of(other.columns[name]))) for name, column in one.columns.items()}
    return Records(
        PackedStrings(chain(one.ids, other.ids)),
        PackedStrings(chain(one.sources, other.sources)),
        packed_column(chain(values_of(one.labels), values_of(other.labels))),
        columns=columns,
    )
