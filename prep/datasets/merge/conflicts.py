"""Conflicts between two datasets that are to be merged: each with the values of both. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from manifests.format.metadata import ArraySpec
from manifests.manifest import Manifest
from manifests.rows.names import collisions, shard_clashes
from manifests.rows.table import string_column
from prep.build.recipe.recipe import differences
from prep.datasets.diff.comparison import Change, Difference
from prep.text import shown

ROW_KINDS = ("content", "value", "split", "group")
"""Kinds of conflict that are about one ID's row: to choose one dataset's rows resolves them."""


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """One contradiction between two datasets.

    Attributes:
        kind: `content`, `value`, `split` or `group` of an ID; `name` of two IDs; `group in two splits`; or, of the
            datasets as a whole, `array`, `recipe` or `classes`.
        ids: that it is about; empty for one of the datasets as a whole.
        column: that holds the values; empty if none does.
        a: what the first dataset says.
        b: what the second says.
    """

    kind: str
    ids: Sequence[str]
    column: str
    a: str
    b: str

    def __str__(self) -> str:
        about = f"ID {shown(list(self.ids), 3)}: " if self.ids else ""
        what = f"{self.kind} {self.column!r}" if self.column and self.column != self.kind else self.kind
        a, b = (repr(text) if self.kind in ROW_KINDS and self.column != "bytes" else text for text in (self.a, self.b))
        return f"{about}{what}: A has {a}, B has {b}"


def row_conflicts(a: Manifest, b: Manifest, difference: Difference) -> list[Conflict]:
    """Return where the rows of IDs in both contradict each other.

    A column that one dataset lacks altogether contradicts nothing; an empty value in a column that it has does.
    """
    kinds = (
        ("content", difference.changed),
        ("value", difference.relabelled),
        ("split", difference.moved),
        ("group", difference.regrouped),
    )
    return [
        Conflict(kind=kind, ids=(change.id,), column=change.column, a=_value(change, change.old, "A"), b=_value(change, change.new, "B"))
        for kind, changes in kinds
        for change in changes
        if kind == "content" or (change.column in a.frame.columns and change.column in b.frame.columns)
    ]


def name_conflicts(a: Sequence[str], b: Sequence[str]) -> Iterator[Conflict]:
    """Yield IDs of which not both can have a file: their names differ in case alone, or one needs a folder where the other is a file."""
    first, second = set(a), set(b)
    ids = sorted(first | second)
    column = string_column(ids)
    for pairs in (collisions(column), shard_clashes(column)):
        for position, other in pairs:
            pair = (ids[position], ids[other])
            of_a, of_b = ([repr(id_) for id_ in pair if id_ in owner] for owner in (first, second))
            yield Conflict(kind="name", ids=pair, column="", a=" and ".join(of_a) or "neither", b=" and ".join(of_b) or "neither")


def group_conflicts(frame: pd.DataFrame, from_a: Callable[[str], bool]) -> Iterator[Conflict]:
    """Yield groups that would stand in two splits.

    Args:
        frame: the rows of the union.
        from_a: whether an ID's row is the first dataset's.
    """
    if not {"group", "split"} <= set(frame.columns):
        return
    drawn = frame[(frame["group"] != "") & (frame["split"] != "")]
    splits = drawn.groupby("group", sort=True)["split"].nunique()
    for group in splits.index[splits > 1]:
        members = drawn[drawn["group"] == group]
        of_a = np.array([from_a(id_) for id_ in members["id"]], dtype=np.bool_)
        a, b = (", ".join(sorted(set(members["split"][where]))) or "no ID" for where in (of_a, ~of_a))
        yield Conflict(kind="group in two splits", ids=sorted(members["id"]), column=str(group), a=a, b=b)


def array_conflict(a: ArraySpec | None, b: ArraySpec | None, name: str = "") -> Conflict | None:
    """Return the conflict of two datasets whose arrays would not go into one batch; None if they would, or if nothing says.

    Args:
        a: what the arrays of the first have in common.
        b: likewise of the second.
        name: of a further array; empty for the main one.
    """
    if a is None or b is None or (_same_dtype(a, b) and _same_shape(a, b)):
        return None
    return Conflict(kind="array", ids=(), column=name, a=str(a), b=str(b))


def recipe_conflict(a: Manifest, b: Manifest) -> Conflict | None:
    """Return the conflict of two datasets whose shards were made by different recipes; None if either is not known."""
    old, new = a.metadata.recipe.get("recipe"), b.metadata.recipe.get("recipe")
    if not isinstance(old, dict) or not isinstance(new, dict) or not differences(old, new):
        return None
    keys = sorted(key for key in {*old, *new} if differences({key: old.get(key)}, {key: new.get(key)}))
    first, second = (", ".join(f"{key} {recipe.get(key)}" for key in keys) for recipe in (old, new))
    return Conflict(kind="recipe", ids=(), column="", a=first, b=second)


def class_conflicts(a: Mapping[str, Sequence[str]], b: Mapping[str, Sequence[str]]) -> Iterator[Conflict]:
    """Yield label columns of which the classes that both datasets have stand in another order.

    Args:
        a: label column -> classes in index order.
        b: likewise.
    """
    for column in a:
        first = [name for name in a[column] if name in set(b.get(column, ()))]
        second = [name for name in b.get(column, ()) if name in set(first)]
        if first != second:
            yield Conflict(kind="classes", ids=(), column=column, a=", ".join(map(repr, first)), b=", ".join(map(repr, second)))


def _value(change: Change, value: str, dataset: str) -> str:
    return f"the array of dataset {dataset}" if change.column == "bytes" else value


def _same_dtype(a: ArraySpec, b: ArraySpec) -> bool:
    return None in {a.dtype, b.dtype} or a.dtype == b.dtype


def _same_shape(a: ArraySpec, b: ArraySpec) -> bool:
    """Whether no axis has one length here and another there; an axis that varies anyway goes with any."""
    if a.shape is None or b.shape is None:
        return True
    return len(a.shape) == len(b.shape) and all(x == y or None in {x, y} for x, y in zip(a.shape, b.shape, strict=True))
