"""The plan: what a build adds, rebuilds, moves and keeps, decided before anything is written.

Everything goes by raw item. One that becomes several samples has a row for each, called `<id>-0000` and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from manifests.manifest import Manifest
from manifests.rows.buffers import Positions, coded_array, codes_of, number_array
from manifests.rows.table import select, strings, value
from prep.build.plan.row_owners import of_failed_files, owners_of
from prep.build.scan.existing_shards import Damage, Look, damage_of
from prep.build.state.fingerprints import Prints, as_prints, print_array
from prep.sources.listing import Failure
from prep.sources.numbered_samples import SAMPLE_OF_SEVERAL, record_id_of

if TYPE_CHECKING:
    import pyarrow as pa

ACTIONS = ("keep", "add", "rebuild", "move")
KEEP, ADD, REBUILD, MOVE = range(len(ACTIONS))
REASONS = ("", "source changed", "recipe changed", "shard missing", "shard damaged")
_NONE, _SOURCE, _RECIPE, _MISSING, _DAMAGED = range(len(REASONS))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a build does with each raw item.

    Attributes:
        items: all that can be used, sorted by ID, with the columns `fingerprint` (of what the build would write), `action` (one of
            `ACTIONS`) and `reason` (one of `REASONS`, why an item is rebuilt).
        owners: which item each row of the dataset is of: int64; -1 for a row whose raw item is no longer there.
        moved_from: position of an item that is moved -> of the row whose raw item it was, under another name: its shard is copied.
        others_stay: whether only some raw items are built: then rows without an item are those of all others, and stay.
    """

    items: pa.Table
    owners: Positions
    moved_from: dict[int, int] = field(default_factory=dict)
    others_stay: bool = False

    @cached_property
    def actions(self) -> npt.NDArray[np.int32]:
        """What is done with each item, as its position in `ACTIONS`: int32, shape (n,)."""
        return codes_of(self.items["action"])[0]

    def count(self, action: int) -> int:
        """Return with how many items this is done."""
        return int(np.count_nonzero(self.actions == action))

    def some(self, action: int) -> pa.Table:
        """Return the items with which this is done."""
        return select(self.items, self.actions == action)

    @cached_property
    def due(self) -> Positions:
        """Positions of the items that need a shard, those that are moved included: int64."""
        return np.flatnonzero(self.actions != KEEP)

    @cached_property
    def to_build(self) -> pa.Table:
        """The items that need a shard."""
        return self.items if len(self.due) == len(self.items) else select(self.items, self.actions != KEEP)

    @cached_property
    def kept_rows(self) -> Positions:
        """Positions of the rows whose shards are as they should be: int64."""
        owned = np.flatnonzero(self.owners >= 0)
        kept: Positions = owned[self.actions[self.owners[owned]] == KEEP]
        return kept

    @cached_property
    def gone_rows(self) -> Positions:
        """Positions of the rows without an item: int64."""
        return np.flatnonzero(self.owners < 0)

    def gone(self, rows: pa.Table, failures: Sequence[Failure]) -> Positions:
        """Return the positions of the rows that are gone, without those whose raw item is there but failed: int64.

        Args:
            rows: of the dataset that is there.
            failures: raw items that failed.
        """
        if self.others_stay or not failures or not len(self.gone_rows):
            return self.gone_rows
        failed = {failure.id for failure in failures}
        ids = strings(rows["id"].take(number_array(self.gone_rows)))
        left = np.array([id_ not in failed and record_id_of(id_) not in failed for id_ in ids], dtype=np.bool_)
        return self.gone_rows[left & ~of_failed_files(rows, failures)[self.gone_rows]]


@dataclass(frozen=True, kw_only=True)
class Prospect:
    """Fingerprints that items' shards may have.

    Attributes:
        wanted: what the build would write.
        other: of the same raw item by the other kind of identity, if that is known: as good.
        by_content: whether `wanted` tells raw items by their content.
    """

    wanted: Prints
    other: Prints
    by_content: bool


def make_plan(
    items: pa.Table,
    prospect: Prospect,
    recipe_digest: str,
    old: Manifest | None,
    old_digest: str | None,
    *,
    only_failed: bool = False,
    look: Look = damage_of,
) -> Plan:
    """Compare items with the rows that are there; the files of the shards are looked at, and nothing else.

    Args:
        items: sorted by ID.
        prospect: what their fingerprints would be.
        recipe_digest: of the recipe to build by.
        old: the dataset that is there, or None.
        old_digest: of the recipe that the old dataset was built by, or None.
        only_failed: whether these are but some items, and all others stay as they are: then none is moved, as a row may be another's.
        look: says what is wrong with the shards of the old dataset.
    """
    count = len(items)
    actions, reasons = np.full(count, ADD, dtype=np.int32), np.zeros(count, dtype=np.int32)
    if old is None:
        return _plan(items, prospect.wanted, actions, reasons, owners=np.zeros(0, dtype=np.int64))
    row_prints = as_prints(old.table["fingerprint"])
    owners = owners_of(old.table, items)
    owned = np.flatnonzero(owners >= 0)
    theirs = owners[owned]
    state = look(old)
    has_rows, is_whole = _having_all_rows(old.table["id"], owners, count)
    reasons[theirs[~_are_good(row_prints[owned], theirs, prospect)]] = _SOURCE if recipe_digest == old_digest else _RECIPE
    for found, reason in ((Damage.WRONG_SIZE, _DAMAGED), (Damage.MISSING, _MISSING)):
        broken = theirs[state[owned] == found]
        reasons[broken[np.isin(reasons[broken], [_NONE, _DAMAGED])]] = reason
    reasons[has_rows & ~is_whole & np.isin(reasons, [_NONE, _DAMAGED])] = _MISSING
    actions[has_rows] = np.where(reasons[has_rows] == _NONE, KEEP, REBUILD)
    moved: dict[int, int] = {}
    if prospect.by_content and not only_failed:
        gone = np.flatnonzero(owners < 0)
        there = gone[state[gone] == Damage.NONE]
        moved = _moves(prospect.wanted, np.flatnonzero(~has_rows), there, old.table, row_prints)
        actions[list(moved)] = MOVE
    return _plan(items, prospect.wanted, actions, reasons, owners=owners, moved=moved, only_failed=only_failed)


def _plan(
    items: pa.Table,
    prints: Prints,
    actions: npt.NDArray[np.int32],
    reasons: npt.NDArray[np.int32],
    *,
    owners: Positions,
    moved: dict[int, int] | None = None,
    only_failed: bool = False,
) -> Plan:
    items = items.append_column("fingerprint", print_array(prints))
    items = items.append_column("action", coded_array(actions, ACTIONS)).append_column("reason", coded_array(reasons, REASONS))
    return Plan(items=items, owners=owners, moved_from=moved or {}, others_stay=only_failed)


def _are_good(prints: Prints, theirs: Positions, prospect: Prospect) -> npt.NDArray[np.bool_]:
    """Return whether rows have one of the fingerprints of their items: bool, shape (n,).

    Args:
        prints: of the rows: of dtype `S32`, shape (n,).
        theirs: positions of their items: int64, shape (n,).
        prospect: the fingerprints of all items.
    """
    good: npt.NDArray[np.bool_] = (prints != b"") & ((prints == prospect.wanted[theirs]) | (prints == prospect.other[theirs]))
    return good


def unsure_of(items: pa.Table, prospect: Prospect, old: Manifest, last: Prints) -> Positions:
    """Return the items that only their content can tell from what their row was made of: int64.

    Their row has another fingerprint than is known to be good, nobody knows their content, and the row may have been told by content.

    Args:
        items: of the raw files.
        prospect: what their fingerprints would be.
        old: the dataset that is there.
        last: fingerprint by size and time of what each file was when it was last looked at: of dtype `S32`, shape (n,); empty
            where nobody knows. A row that has it was told by these.
    """
    owners = owners_of(old.table, items)
    owned = np.flatnonzero(owners >= 0)
    theirs, prints = owners[owned], as_prints(old.table["fingerprint"])[owned]
    bad = np.flatnonzero(~_are_good(prints, theirs, prospect))
    suspects = theirs[bad]
    unsure = (prospect.other[suspects] == b"") & ((prints[bad] != last[suspects]) | (last[suspects] == b""))
    return np.unique(suspects[unsure])


def _having_all_rows(row_ids: pa.ChunkedArray, owners: Positions, count: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return of each item whether it has a row, and whether those of its samples are numbered without a gap."""
    counts = np.bincount(owners[owners >= 0], minlength=count)
    is_whole = counts == 1
    several = np.flatnonzero(counts > 1)
    if len(several):
        rows = np.flatnonzero(np.isin(owners, several))
        last = np.zeros(count, dtype=np.int64)
        matches = [SAMPLE_OF_SEVERAL.fullmatch(id_) for id_ in strings(row_ids.take(number_array(rows)))]
        np.maximum.at(last, owners[rows], [int(match[2]) if match else -1 for match in matches])
        is_whole[several] = last[several] == counts[several] - 1
    return counts > 0, is_whole


def _moves(wanted: Prints, new: Positions, gone: Positions, rows: pa.Table, row_prints: Prints) -> dict[int, int]:
    """Return the new items that are the content of a row that is gone: position of the item -> of the row.

    Equal fingerprints by content are equal bytes and an equal recipe. A row that may be one of several samples is left to be built.

    Args:
        wanted: fingerprints of all items, by content.
        new: positions of the items without a row.
        gone: positions of the rows without an item, whose shards are there.
        rows: of the dataset.
        row_prints: their fingerprints.
    """
    found: dict[bytes, int] = {}
    for row, print_ in zip(gone.tolist(), row_prints[gone].tolist(), strict=True):
        if print_ and not SAMPLE_OF_SEVERAL.fullmatch(value(rows, "id", row)):
            found.setdefault(print_, row)
    if not found:
        return {}
    return {at: found[print_] for at, print_ in zip(new.tolist(), wanted[new].tolist(), strict=True) if print_ in found}
