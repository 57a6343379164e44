"""The plan: what a build adds, rebuilds, moves and keeps, decided before anything is written.

Everything goes by raw item. One that becomes several samples has a row for each, called `<id>-0000` and so on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from manifests.columns import Coded, as_packed
from manifests.manifest import Manifest
from manifests.strings import PackedStrings, Positions
from prep.fingerprints import Prints
from prep.owners import owners_of
from prep.planviews import REASONS, PrintsById, Reason, Reasoned, RowsById, Some
from prep.present import Damage, Look, damage_of
from prep.records import Failure, Record, Records
from prep.sampleids import SAMPLE_OF_SEVERAL, record_id_of

_SOURCE, _RECIPE, _MISSING, _DAMAGED = range(len(REASONS))
_BLOCK = 65_536

_PRINT_BYTES = 32
"""Of a fingerprint, in hex digits; what is of another length is none."""

_NOWHERE: Positions = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class KeptRows:
    """Rows whose shards are as they should be: of millions, only where they and their records stand.

    Attributes:
        rows: their positions: int64, shape (n,).
        owners: positions of their records among all: int64, shape (n,).
    """

    rows: Positions
    owners: Positions


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a build does with each raw item; every list is sorted by ID.

    Attributes:
        add: records without a row.
        rebuild: records whose shards are out of date, and why.
        move: records that are the raw item of a row that is gone under another name, with that row's ID: its shard is copied.
        keep: records whose shards are as they should be.
        gone: IDs of rows whose raw item is no longer there.
        rows: ID of a record -> IDs of the rows that it has.
        fingerprints: ID -> fingerprint of what the build would write.
        to_build: the records of `add`, `rebuild` and `move`: all that need a shard.
        prints: of the records of `to_build`: of dtype `S32`, shape (n,).
        records: all of them.
        all_prints: theirs: of dtype `S32`.
        kept: what stays as it is, row by row.
        gone_rows: positions of the rows that are gone: int64.
        others_stay: whether only some raw items are built: then the rows of `gone` are those of all others, and stay.
    """

    add: Sequence[Record]
    rebuild: Sequence[tuple[Record, Reason]]
    move: Sequence[tuple[Record, str]] = ()
    keep: Sequence[Record]
    gone: Sequence[str]
    rows: Mapping[str, Sequence[str]] = field(default_factory=dict)
    fingerprints: Mapping[str, str]
    to_build: Records = field(default_factory=lambda: Records.of([]))
    prints: Prints = field(default_factory=lambda: np.zeros(0, dtype="S32"))
    records: Records = field(default_factory=lambda: Records.of([]))
    all_prints: Prints = field(default_factory=lambda: np.zeros(0, dtype="S32"))
    kept: KeptRows = field(default_factory=lambda: KeptRows(rows=_NOWHERE, owners=_NOWHERE))
    gone_rows: Positions = field(default_factory=lambda: _NOWHERE)
    others_stay: bool = False

    def gone_without(self, failures: Sequence[Failure]) -> list[str]:
        """Return the rows that are gone, without those whose raw item is there but failed."""
        if self.others_stay:
            return list(self.gone)
        failed = {failure.id for failure in failures}
        return [id_ for id_ in self.gone if id_ not in failed and record_id_of(id_) not in failed]


@dataclass(frozen=True, kw_only=True)
class Prospect:
    """Fingerprints that records' shards may have.

    Attributes:
        wanted: what the build would write.
        other: of the same raw item by the other kind of identity, if that is known: as good.
        by_content: whether `wanted` tells raw items by their content.
    """

    wanted: Prints
    other: Prints
    by_content: bool


def make_plan(
    records: Records,
    prospect: Prospect,
    recipe_digest: str,
    old: Manifest | None,
    old_digest: str | None,
    *,
    look: Look = damage_of,
) -> Plan:
    """Compare records with the rows that are there; the files of the shards are looked at, and nothing else.

    Args:
        records: sorted by ID.
        prospect: what their fingerprints would be.
        recipe_digest: of the recipe to build by.
        old: the dataset that is there, or None.
        old_digest: of the recipe that the old dataset was built by, or None.
        look: says what is wrong with the shards of the old dataset.
    """
    prints = PrintsById(records.ids, prospect.wanted)
    if old is None:
        return Plan(
            add=records,
            rebuild=[],
            keep=[],
            gone=[],
            fingerprints=prints,
            to_build=records,
            prints=prospect.wanted,
            records=records,
            all_prints=prospect.wanted,
        )
    row_ids, row_prints = packed(old, "id"), prints_of(old)
    owners = owners_of(old.table, records)
    has_rows, is_whole = _having_all_rows(row_ids, owners, len(records))
    owned = np.flatnonzero(owners >= 0)
    theirs = owners[owned]
    good = _are_good(row_prints, owned, prospect, theirs)
    is_due = np.zeros(len(records), dtype=np.bool_)
    is_due[theirs[~good]] = True
    reasons = np.full(len(records), _SOURCE if recipe_digest == old_digest else _RECIPE, dtype=np.uint8)
    state = look(old)
    damage = state[owned]
    for found, reason in ((Damage.WRONG_SIZE, _DAMAGED), (Damage.MISSING, _MISSING)):
        broken = theirs[(damage == found) & ~is_due[theirs]]
        reasons[broken] = reason
    incomplete = np.flatnonzero(has_rows & ~is_whole & ~is_due)
    reasons[incomplete] = _MISSING
    is_due[theirs[damage != Damage.NONE]] = True
    is_due[incomplete] = True
    gone = np.flatnonzero(owners < 0)
    is_new = ~has_rows
    there = gone[state[gone] == Damage.NONE]
    moved = _moves(prospect.wanted, np.flatnonzero(is_new), there, row_ids, row_prints) if prospect.by_content else {}
    is_moved = np.zeros(len(records), dtype=np.bool_)
    is_moved[sorted(moved)] = True
    rebuilt = np.flatnonzero(is_due & has_rows)
    del row_prints, state, damage, good
    due = np.flatnonzero(is_new | is_due)
    kept = owned[~is_due[theirs]]
    return Plan(
        add=records.select(np.flatnonzero(is_new & ~is_moved)),
        rebuild=Reasoned(records.select(rebuilt), reasons[rebuilt]),
        move=[(records[at], row_ids[moved[at]]) for at in sorted(moved)],
        keep=Some(records, np.flatnonzero(has_rows & ~is_due)),
        gone=list(row_ids.select(gone)),
        rows=RowsById(records.ids, row_ids, owners),
        fingerprints=prints,
        to_build=records.select(due),
        prints=prospect.wanted[due],
        records=records,
        all_prints=prospect.wanted,
        kept=KeptRows(rows=kept, owners=owners[kept]),
        gone_rows=gone,
    )


def _are_good(row_prints: Prints, rows: Positions, prospect: Prospect, theirs: Positions) -> npt.NDArray[np.bool_]:
    """Return whether each of these rows has one of the fingerprints of its record: bool, shape (len(rows),)."""
    good = np.empty(len(rows), dtype=np.bool_)
    for start in range(0, len(rows), _BLOCK):
        block = slice(start, start + _BLOCK)
        prints, records = row_prints[rows[block]], theirs[block]
        good[block] = (prints != b"") & ((prints == prospect.wanted[records]) | (prints == prospect.other[records]))
    return good


def unsure_of(records: Records, prospect: Prospect, old: Manifest, last: Prints) -> Positions:
    """Return the records that only their content can tell from what their row was made of: int64.

    Their row has another fingerprint than is known to be good, nobody knows their content, and the row may have been told by content.

    Args:
        records: of the raw files.
        prospect: what their fingerprints would be.
        old: the dataset that is there.
        last: fingerprint by size and time of what each file was when it was last looked at: of dtype `S32`, shape (len(records),); empty
            where nobody knows. A row that has it was told by these.
    """
    owners = owners_of(old.table, records)
    owned = np.flatnonzero(owners >= 0)
    theirs = owners[owned]
    prints = prints_of(old)
    bad = np.flatnonzero(~_are_good(prints, owned, prospect, theirs))
    suspects = theirs[bad]
    unsure = (prospect.other[suspects] == b"") & ((prints[owned[bad]] != last[suspects]) | (last[suspects] == b""))
    return np.unique(suspects[unsure])


def packed(old: Manifest, name: str) -> PackedStrings:
    """Return a column as packed strings."""
    return as_packed(old.table.column(name))


def prints_of(old: Manifest) -> Prints:
    """Return the fingerprints of the rows that are there; what is none is empty."""
    column = old.table.column("fingerprint")
    if isinstance(column, Coded):
        distinct = [item if len(item) == _PRINT_BYTES else "" for item in column.distinct]
        return column.spread(np.array([*distinct, ""], dtype="S32"))
    written = column.as_items()
    if written is not None and written.itemsize == _PRINT_BYTES:
        return np.where(np.strings.str_len(written) == _PRINT_BYTES, written, b"").astype("S32", copy=False)
    prints = np.zeros(len(column), dtype="S32")
    for start in range(0, len(column), _BLOCK):
        items = column.take_bytes(np.arange(start, min(start + _BLOCK, len(column))))
        prints[start : start + len(items)] = [item if len(item) == _PRINT_BYTES else b"" for item in items]
    return prints


def _having_all_rows(row_ids: PackedStrings, owners: Positions, count: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return of each record whether it has a row, and whether those of its samples are numbered without a gap."""
    numbers = np.bincount(owners[owners >= 0], minlength=count)
    is_whole = numbers == 1
    several = np.flatnonzero(numbers > 1)
    if len(several):
        rows = np.flatnonzero(np.isin(owners, several))
        last = np.zeros(count, dtype=np.int64)
        matches = [SAMPLE_OF_SEVERAL.fullmatch(id_) for id_ in row_ids.take(rows)]
        np.maximum.at(last, owners[rows], [int(match[2]) if match else -1 for match in matches])
        is_whole[several] = last[several] == numbers[several] - 1
    return numbers > 0, is_whole


def _moves(wanted: Prints, new: Positions, gone: Positions, row_ids: PackedStrings, row_prints: Prints) -> dict[int, int]:
    """Return the new records that are the content of a row that is gone: position of the record -> of the row.

    Equal fingerprints by content are equal bytes and an equal recipe. A row that may be one of several samples is left to be built.

    Args:
        wanted: fingerprints of all records, by content.
        new: positions of the records without a row.
        gone: positions of the rows without a record, whose shards are there.
        row_ids: of all rows.
        row_prints: of all rows.
    """
    rows: dict[bytes, int] = {}
    for row, id_ in zip(gone.tolist(), row_ids.take(gone), strict=True):
        if row_prints[row] and not SAMPLE_OF_SEVERAL.fullmatch(id_):
            rows.setdefault(bytes(row_prints[row]), row)
    if not rows:
        return {}
    return {int(at): rows[fingerprint] for at, fingerprint in zip(new, wanted[new].tolist(), strict=True) if fingerprint in rows}
