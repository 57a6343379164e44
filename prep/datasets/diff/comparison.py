"""Comparing two manifests: IDs added, removed, relabelled, moved, changed. Pure, except for arrays that the caller lets it read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from manifests.format.schema import ARRAY_FIELDS, COLUMN_NAMES, array_column
from manifests.manifest import Manifest
from manifests.rows.buffers import positions_of
from manifests.rows.table import string_column, strings, taken
from prep.build.recipe.recipe import differences

Texts = npt.NDArray[np.object_]
Mask = npt.NDArray[np.bool_]

SameContent = Callable[[str], bool]
"""Reads an ID's arrays in both datasets and says whether they are the same."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One value that is another now.

    Attributes:
        id: of the sample.
        column: that holds the value; for content, what told the two apart: a column, such as `sha256` or `mask.sha256`, or `bytes`.
        old: in the first dataset.
        new: in the second.
    """

    id: str
    column: str
    old: str
    new: str


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How a second dataset differs from a first; every list is sorted by ID.

    Attributes:
        added: IDs that only the second has.
        removed: IDs that only the first has.
        relabelled: values of `label` and of all columns that are the user's own.
        moved: from one split to another.
        regrouped: from one group to another.
        changed: IDs whose arrays differ.
        uncompared: IDs in both of whose arrays the manifests say too little; they may differ.
        classes: label column -> (class order of the first, of the second), where these differ.
        recipe: what differs between the recipes, one sentence each.
    """

    added: Sequence[str]
    removed: Sequence[str]
    relabelled: Sequence[Change]
    moved: Sequence[Change]
    regrouped: Sequence[Change]
    changed: Sequence[Change]
    uncompared: Sequence[str]
    classes: Mapping[str, tuple[Sequence[str], Sequence[str]]]
    recipe: Sequence[str]

    def __bool__(self) -> bool:
        """Whether there is any difference; what could not be compared is none."""
        told = {name: value for name, value in vars(self).items() if name != "uncompared"}
        return any(told.values())

    def as_dict(self) -> dict[str, Any]:
        """Return the difference for JSON."""
        classes = {column: {"old": list(old), "new": list(new)} for column, (old, new) in self.classes.items()}
        return {"differ": bool(self), **asdict(self), "classes": classes}


def compare(a: Manifest, b: Manifest, same_content: SameContent | None = None) -> Difference:
    """Say how dataset `b` differs from dataset `a`.

    Content is told by `sha256` of each array, where both have it. Else by fingerprint: an equal one means an equal shard, another one
    means other raw bytes or another recipe. Else by shape and dtype, which only tell that content differs, never that it
    is the same.

    Args:
        a: the first.
        b: the second.
        same_content: decides where sha256 does not; without it nothing is read.
    """
    ids_a, ids_b = set(a.ids), set(b.ids)
    common = sorted(ids_a & ids_b)
    both = _Both(a, b, common)
    changed, uncompared = _contents(both, sorted({*a.arrays, *b.arrays}), same_content)
    return Difference(
        added=sorted(ids_b - ids_a),
        removed=sorted(ids_a - ids_b),
        relabelled=sorted((change for column in own_columns(a, b) for change in both.changes(column)), key=lambda change: change.id),
        moved=both.changes("split"),
        regrouped=both.changes("group"),
        changed=changed,
        uncompared=uncompared,
        classes=_class_orders(a, b),
        recipe=_recipes(a, b),
    )


def own_columns(a: Manifest, b: Manifest) -> list[str]:
    """Return `label` and the columns that are the user's own, in the order of the first manifest, then of the second."""
    further = {array_column(name, field) for manifest in (a, b) for name in manifest.arrays for field in ARRAY_FIELDS}
    not_the_users = {*COLUMN_NAMES, *further} - {"label"}
    return [column for column in dict.fromkeys([*a.columns, *b.columns]) if column not in not_the_users]


class _Both:
    """The values of the IDs that two manifests share, side by side."""

    def __init__(self, a: Manifest, b: Manifest, ids: Sequence[str]) -> None:
        self.ids = np.array(ids, dtype=object)
        wanted = string_column(ids)
        self._sides = [(manifest, positions_of(wanted, manifest.column("id"))) for manifest in (a, b)]

    def values(self, column: str) -> tuple[Texts, Texts]:
        """Return a column's values in the first and the second: strings, shape (IDs,) each; empty where there is no such column."""
        first, second = (
            np.array(strings(taken(manifest.column(column), at)) if column in manifest.columns else [""] * len(at), dtype=object)
            for manifest, at in self._sides
        )
        return first, second

    def changes(self, column: str) -> list[Change]:
        """Return where a column's values differ, by ID."""
        first, second = self.values(column)
        at = np.flatnonzero(first != second)
        return [Change(id=id_, column=column, old=old, new=new) for id_, old, new in zip(self.ids[at], first[at], second[at], strict=True)]


def _contents(both: _Both, arrays: Sequence[str], same_content: SameContent | None) -> tuple[list[Change], list[str]]:
    """Return where content differs, and the IDs of which that cannot be told.

    Args:
        both: the IDs in both.
        arrays: names of the further arrays of either.
        same_content: as for `compare`.
    """
    changes: list[Change] = []
    is_changed, is_same = np.zeros(len(both.ids), dtype=np.bool_), np.ones(len(both.ids), dtype=np.bool_)
    for name in ("", *arrays):
        same, by = _array_contents(both, name, by_rows=same_content is None)
        for column, where in by.items():
            first, second = both.values(column)
            at = np.flatnonzero(where & ~is_changed)  # of an ID, the first of its arrays that differs is told
            changes += [Change(id=both.ids[row], column=column, old=first[row], new=second[row]) for row in at]
        is_changed |= np.logical_or.reduce(list(by.values()))
        is_same &= same
    left = list(both.ids[~is_changed & ~is_same])
    if same_content is not None:
        changes += [Change(id=id_, column="bytes", old="", new="") for id_ in left if not same_content(id_)]
        left = []
    return sorted(changes, key=lambda change: change.id), left


def _array_contents(both: _Both, name: str, *, by_rows: bool) -> tuple[Mask, dict[str, Mask]]:
    """Return where an array is the same in both, and by which column where it is another: bool, shape (IDs,) each.

    Args:
        both: the IDs in both.
        name: of a further array; empty for the main one.
        by_rows: whether rows without sha256 tell, by fingerprint, shape and dtype.
    """
    columns = {field: array_column(name, field) if name else field for field in ARRAY_FIELDS}
    values = {field: both.values(column) for field, column in columns.items()}
    by: dict[str, Mask] = {}
    are_there, same = np.ones(len(both.ids), dtype=np.bool_), np.zeros(len(both.ids), dtype=np.bool_)
    if name:
        first, second = (each != "" for each in values["path"])
        by[columns["path"]], are_there, same = first != second, first & second, ~first & ~second
    # The digest of a pack is not that of one of its rows; equal packs have equal rows all the same.
    packed = (values["row"][0] != "") | (values["row"][1] != "")
    told = are_there & _both_say(values["sha256"])
    same |= told & (values["row"][0] == values["row"][1]) & (values["sha256"][0] == values["sha256"][1])
    by[columns["sha256"]] = told & ~packed & ~same
    if by_rows:
        prints = both.values("fingerprint")
        told_by_print = are_there & _both_say(prints) & ~same & ~by[columns["sha256"]]
        by["fingerprint"] = told_by_print & (prints[0] != prints[1])
        same |= told_by_print & ~by["fingerprint"]
        for field in ("shape", "dtype"):
            is_left = are_there & ~same & ~np.logical_or.reduce(list(by.values()))
            by[columns[field]] = is_left & _both_say(values[field]) & (values[field][0] != values[field][1])
    return same, by


def _both_say(values: tuple[Texts, Texts]) -> npt.NDArray[np.bool_]:
    return np.asarray((values[0] != "") & (values[1] != ""), dtype=np.bool_)


def _class_orders(a: Manifest, b: Manifest) -> dict[str, tuple[Sequence[str], Sequence[str]]]:
    """Return the label columns whose classes, or their order, differ: then an index means another class."""
    columns = [column for column in a.columns if column in b.columns]
    named = {"label", *a.metadata.labels, *b.metadata.labels}
    orders = {column: (_classes(a, column), _classes(b, column)) for column in columns if column in named}
    return {column: (first, second) for column, (first, second) in orders.items() if first != second}


def _classes(manifest: Manifest, column: str) -> tuple[str, ...]:
    return ("(numbers)",) if manifest.label_kind(column) == "number" else manifest.classes_of_column(column)


def _recipes(a: Manifest, b: Manifest) -> list[str]:
    """Return what differs between the recipes; nothing if either is not known."""
    old, new = a.metadata.recipe.get("recipe"), b.metadata.recipe.get("recipe")
    return differences(old, new) if isinstance(old, dict) and isinstance(new, dict) else []
