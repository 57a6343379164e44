"""The union of two datasets, worked out before anything is written: rows, `dataset.json`, and what stands against it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from manifests.counts import split_order
from manifests.manifest import Manifest
from manifests.metadata import LabelSpec
from manifests.names import default_path, name_problem
from prep.comparison import compare
from prep.conflicts import (
    ROW_KINDS,
    Conflict,
    array_conflict,
    class_conflicts,
    group_conflicts,
    name_conflicts,
    recipe_conflict,
    row_conflicts,
)
from prep.content import same_arrays
from prep.errors import UsageError
from prep.labels import are_measurements

MERGED = {"format": "merged"}
"""The recipe of a dataset that no single build could make again."""

FILE_COLUMNS = ("path", "row", "shape", "dtype", "sha256", "source", "fingerprint")
"""Columns that tell of a shard: they come from the dataset that the shard comes from."""

_ABSENT = "absent"
_ABSENT_KEYS = {_ABSENT, "absent_folds", "absent_groups"}


@dataclass(frozen=True, kw_only=True)
class MergeOptions:
    """How to resolve conflicts; by default none is.

    Attributes:
        prefer: whose row, or class order, to take where the two contradict each other.
        prefix_a: put before every ID of the first dataset.
        prefix_b: put before every ID of the second.
        mixed: take arrays of another shape or dtype, or of another recipe, into one dataset.
    """

    prefer: Literal["a", "b"] | None = None
    prefix_a: str = ""
    prefix_b: str = ""
    mixed: bool = False

    def __post_init__(self) -> None:
        if self.prefer not in {None, "a", "b"}:
            raise UsageError(f"prefer must be a or b, got {self.prefer!r}")


@dataclass(frozen=True, kw_only=True)
class Union:
    """Two datasets as one.

    Attributes:
        a: the first, under the IDs that it gets.
        b: likewise the second.
        frame: the rows by ID, without the columns of the shards.
        from_b: IDs whose shard and row are the second's.
        shared: IDs that both have.
        labels: label column -> class order.
        splits: for `dataset.json`.
        recipe: likewise; `MERGED` if a build could not go on with the dataset.
        conflicts: that no option resolves.
        resolved: that an option resolves.
    """

    a: Manifest
    b: Manifest
    frame: pd.DataFrame
    from_b: frozenset[str]
    shared: Sequence[str]
    labels: Mapping[str, LabelSpec]
    splits: Mapping[str, Any]
    recipe: Mapping[str, Any]
    conflicts: Sequence[Conflict]
    resolved: Sequence[Conflict]


def unite(a: Manifest, b: Manifest, options: MergeOptions) -> Union:
    """Work out the union of two datasets.

    Arrays are read only where an ID is in both and no SHA-256 says whether they are the same.

    Raises:
        UsageError: a prefix makes unsafe IDs.
        ArrayFileError: an array that had to be read cannot be.
    """
    a, b = _renamed(a, options.prefix_a, "--prefix-a"), _renamed(b, options.prefix_b, "--prefix-b")
    of_rows = row_conflicts(a, b, compare(a, b, same_arrays(a, b)))
    from_b = frozenset(b.ids).difference(a.ids)
    if options.prefer == "b":
        from_b |= {conflict.ids[0] for conflict in of_rows}
    frame = _rows(a, b, from_b)
    in_order = (b, a) if options.prefer == "b" else (a, b)
    classes = [_classes(manifest, (a, b)) for manifest in (a, b)]
    conflicts: list[Conflict | None] = [*of_rows, *name_conflicts(a.ids, b.ids), *group_conflicts(frame, lambda id_: id_ not in from_b)]
    conflicts += [*class_conflicts(*classes), array_conflict(a.array, b.array), recipe_conflict(a, b)]
    left, resolved = _sorted_out([conflict for conflict in conflicts if conflict is not None], options)
    return Union(
        a=a,
        b=b,
        frame=frame,
        from_b=from_b,
        shared=sorted(set(a.ids).intersection(b.ids)),
        labels=_label_specs(frame, *(classes[::-1] if options.prefer == "b" else classes)),
        splits=_splits(frame, in_order, (options.prefix_a, options.prefix_b)),
        recipe=_recipe(a, b, options),
        conflicts=left,
        resolved=resolved,
    )


def _renamed(manifest: Manifest, prefix: str, flag: str) -> Manifest:
    """Return a manifest whose IDs carry a prefix, and whose paths are written out, as they no longer follow from the IDs."""
    frame = manifest.frame.assign(path=list(manifest.paths), id=[prefix + id_ for id_ in manifest.frame["id"]])
    for id_ in frame["id"]:
        problem = name_problem(id_) or name_problem(default_path(id_))
        if problem:
            hint = f"choose another {flag}" if prefix else f"give it another ID with {flag}, or in its manifest"
            raise UsageError(f"{manifest.root}: ID {id_!r} {problem}; {hint}")
    return Manifest(frame, manifest.root, manifest.metadata)


def _rows(a: Manifest, b: Manifest, from_b: frozenset[str]) -> pd.DataFrame:
    """Return one row per ID, sorted: the one of its dataset, with the columns that only the other dataset has filled from that."""
    columns = [column for column in dict.fromkeys([*a.frame.columns, *b.frame.columns]) if column not in {"id", *FILE_COLUMNS}]
    frames = [manifest.frame.set_index("id").astype(object) for manifest in (a, b)]
    ids = sorted({*a.ids, *b.ids})
    chosen = pd.Series([id_ in from_b for id_ in ids], index=ids, dtype=bool)
    rows: dict[str, Any] = {"id": ids}
    for column in columns:
        first, second = (frame[column].reindex(ids) if column in frame.columns else pd.Series(index=ids, dtype=object) for frame in frames)
        rows[column] = list(first.where(~chosen, second).fillna(first).fillna(second).fillna(""))
    return pd.DataFrame(rows, dtype=object)


def _classes(manifest: Manifest, both: Sequence[Manifest]) -> dict[str, tuple[str, ...]]:
    """Return a dataset's class order of every column that either says has classes."""
    columns = dict.fromkeys(["label", *(column for each in both for column in each.metadata.labels)])
    return {
        column: manifest.classes_of_column(column)
        for column in columns
        if column in manifest.frame.columns and (column in manifest.metadata.labels or not are_measurements(manifest.frame[column]))
    }


def _label_specs(frame: pd.DataFrame, first: Mapping[str, Sequence[str]], then: Mapping[str, Sequence[str]]) -> dict[str, LabelSpec]:
    """Return the class orders: one dataset's classes keep their indices, the other's new ones come behind them."""
    columns = [column for column in frame.columns if column in first or column in then]
    classes = {column: tuple(dict.fromkeys([*first.get(column, ()), *then.get(column, ())])) for column in columns}
    # A column of measurements in one dataset makes one of the union, which then has no classes.
    return {column: LabelSpec(classes=names) for column, names in classes.items() if _names_all(frame[column], names)}


def _names_all(labels: pd.Series[str], classes: Sequence[str]) -> bool:
    known = set(classes)
    return all(name in known for label in labels.unique() for name in str(label).split(";") if name)


def _splits(frame: pd.DataFrame, in_order: Sequence[Manifest], prefixes: tuple[str, str]) -> Mapping[str, Any]:
    """Return how splits were made if both were made so; else only the order of their names."""
    specs = [{key: value for key, value in manifest.metadata.splits.items() if key not in _ABSENT_KEYS} for manifest in in_order]
    if specs[0] and specs[0] == specs[1]:
        absent = {} if any(prefixes) else _absent(frame, in_order)
        return {**specs[0], **({_ABSENT: absent} if absent else {})}
    if "split" not in frame.columns:
        return {}
    names = [name for manifest in in_order for name in (*manifest.metadata.splits.get("names", ()), *manifest.splits)]
    return {"names": list(split_order(frame["split"].unique(), names))}


def _absent(frame: pd.DataFrame, in_order: Sequence[Manifest]) -> dict[str, str]:
    """Return the splits that IDs without a row are to keep once they can be read; where the two differ, none is kept."""
    kept = [dict(manifest.metadata.splits.get(_ABSENT, {})) for manifest in in_order]
    agreed = {id_: split for one, other in (kept, kept[::-1]) for id_, split in one.items() if other.get(id_, split) == split}
    present = set(frame["id"])
    return {id_: split for id_, split in sorted(agreed.items()) if id_ not in present}


def _recipe(a: Manifest, b: Manifest, options: MergeOptions) -> Mapping[str, Any]:
    """Return the recipe that both were built by in every respect, if a build could go on with it: under IDs of its own making."""
    same = a.metadata.recipe == b.metadata.recipe and "digest" in a.metadata.recipe
    built = all("fingerprint" in manifest.frame.columns for manifest in (a, b))
    return a.metadata.recipe if same and built and not options.prefix_a and not options.prefix_b else MERGED


def _sorted_out(conflicts: Sequence[Conflict], options: MergeOptions) -> tuple[list[Conflict], list[Conflict]]:
    """Return the conflicts that no option resolves, and the others."""
    kinds = {*ROW_KINDS, "classes"} if options.prefer else set()
    kinds |= {"array", "recipe"} if options.mixed else set()
    is_resolved: Callable[[Conflict], bool] = lambda conflict: conflict.kind in kinds  # noqa: E731  # used twice, here only
    return [c for c in conflicts if not is_resolved(c)], [c for c in conflicts if is_resolved(c)]
