"""The union of two datasets, computed before anything is written: rows, `dataset.json`, and the conflicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from manifests.describe.counts import classes_of, split_order
from manifests.format.metadata import LabelKind, LabelSpec
from manifests.format.names import default_path, name_problem
from manifests.format.schema import ARRAY_FIELDS, array_column
from manifests.manifest import Manifest
from manifests.rows.numbers import is_number
from prep.datasets.diff.comparison import compare
from prep.datasets.diff.content import same_arrays
from prep.datasets.merge.conflicts import (
    ROW_KINDS,
    Conflict,
    array_conflict,
    class_conflicts,
    group_conflicts,
    name_conflicts,
    recipe_conflict,
    row_conflicts,
)
from prep.errors import UsageError
from prep.splits.columns import ABSENT_KEYS

MERGED = {"format": "merged"}
"""The recipe of a dataset that no single build could make again."""

FILE_COLUMNS = ("path", "row", "shape", "dtype", "sha256", "source", "member", "fingerprint")
"""Columns that tell of a shard: they come from the dataset that the shard comes from."""

_GIVEN = "source"


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
    conflicts += [*class_conflicts(*classes), *_kind_conflicts(frame, a, b), array_conflict(a.array, b.array), recipe_conflict(a, b)]
    conflicts += [array_conflict(spec, b.arrays.get(name), name) for name, spec in a.arrays.items()]
    left, resolved = _sorted_out([conflict for conflict in conflicts if conflict is not None], options)
    return Union(
        a=a,
        b=b,
        frame=frame,
        from_b=from_b,
        shared=sorted(set(a.ids).intersection(b.ids)),
        labels=_label_specs(frame, in_order, classes[::-1] if options.prefer == "b" else classes),
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
    further = {array_column(name, field) for manifest in (a, b) for name in manifest.arrays for field in ARRAY_FIELDS}
    of_files = {"id", *FILE_COLUMNS, *further}
    columns = [column for column in dict.fromkeys([*a.frame.columns, *b.frame.columns]) if column not in of_files]
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
        if column in manifest.frame.columns and manifest.label_kind(column) == "class"
    }


def _label_specs(frame: pd.DataFrame, in_order: Sequence[Manifest], classes: Sequence[Mapping[str, Sequence[str]]]) -> dict[str, LabelSpec]:
    """Return what the label columns hold: one dataset's classes keep their indices, the other's new ones come behind them."""
    specs = {}
    for column in frame.columns:
        having = [manifest for manifest in in_order if column in manifest.frame.columns]
        known = [manifest.metadata.labels[column] for manifest in having if column in manifest.metadata.labels]
        if not known and column != "label":
            continue
        kinds = [manifest.label_kind(column) for manifest in having]
        name = known[0].column if len({spec.column for spec in known}) == 1 else None
        # A column of numbers in one dataset makes one of the union, unless its labels in the other were said to be classes.
        by_look = "number" if "number" in kinds and _are_numbers(frame[column]) else kinds[0]
        if (_said(having[0], column) or by_look) == "number":
            specs[column] = LabelSpec(kind="number", column=name)
            continue
        both = tuple(dict.fromkeys(name for each in classes for name in each.get(column, ())))
        others = classes_of(frame[column]) if "number" in kinds else ()
        kind = next((spec.kind for spec in known if spec.kind == "class"), None)
        specs[column] = LabelSpec(classes=tuple(dict.fromkeys([*both, *others])), kind=kind, column=name)
    return specs


def _are_numbers(labels: Iterable[str]) -> bool:
    return all(is_number(label) for label in set(labels) if label)


def _kind_conflicts(frame: pd.DataFrame, a: Manifest, b: Manifest) -> Iterator[Conflict]:
    """Yield label columns that hold numbers in one dataset, and in the other names, or what was said to be classes."""
    for column in frame.columns:
        if not all(column in manifest.label_columns for manifest in (a, b)):
            continue
        kinds = [manifest.label_kind(column) for manifest in (a, b)]
        if kinds[0] != kinds[1] and (not _are_numbers(frame[column]) or all(_said(manifest, column) for manifest in (a, b))):
            words = ["numbers" if kind == "number" else "names of classes" for kind in kinds]
            yield Conflict(kind="classes", ids=(), column=column, a=words[0], b=words[1])


def _said(manifest: Manifest, column: str) -> LabelKind | None:
    """Return what `dataset.json` says that a column holds; None if it leaves that to the labels' look."""
    return manifest.metadata.labels[column].kind if column in manifest.metadata.labels else None


def _splits(frame: pd.DataFrame, in_order: Sequence[Manifest], prefixes: tuple[str, str]) -> Mapping[str, Any]:
    """Return how splits were made if both were made so; else only the order of their names."""
    specs = [{key: value for key, value in manifest.metadata.splits.items() if key not in ABSENT_KEYS} for manifest in in_order]
    if specs[0] and specs[0] == specs[1]:
        absent = {} if any(prefixes) else {key: _absent(key, frame, in_order) for key in ABSENT_KEYS}
        return {**specs[0], **{key: values for key, values in absent.items() if values}}
    if "split" not in frame.columns:
        return {}
    names = [name for manifest in in_order for name in (*manifest.metadata.splits.get("names", ()), *manifest.splits)]
    return {"names": list(split_order(frame["split"].unique(), names))}


def _absent(key: str, frame: pd.DataFrame, in_order: Sequence[Manifest]) -> dict[str, str]:
    """Return what IDs without a row keep once they can be read: split, fold or group; where the two differ, none is kept."""
    kept = [dict(manifest.metadata.splits.get(key, {})) for manifest in in_order]
    agreed = {id_: value for one, other in (kept, kept[::-1]) for id_, value in one.items() if other.get(id_, value) == value}
    present = set(frame["id"])
    return {id_: value for id_, value in sorted(agreed.items()) if id_ not in present}


def _recipe(a: Manifest, b: Manifest, options: MergeOptions) -> Mapping[str, Any]:
    """Return the recipe that both were built by in every respect, if a build could go on with it: under IDs of its own making."""
    one, other = ({key: value for key, value in manifest.metadata.recipe.items() if key != _GIVEN} for manifest in (a, b))
    # What was given of the source, such as the path of a table, may differ: then the next build is to be told.
    given = {_GIVEN: a.metadata.recipe[_GIVEN]} if a.metadata.recipe.get(_GIVEN) == b.metadata.recipe.get(_GIVEN, {}) else {}
    same = one == other and "digest" in one
    built = all("fingerprint" in manifest.frame.columns for manifest in (a, b))
    return {**one, **given} if same and built and not options.prefix_a and not options.prefix_b else MERGED


def _sorted_out(conflicts: Sequence[Conflict], options: MergeOptions) -> tuple[list[Conflict], list[Conflict]]:
    """Return the conflicts that no option resolves, and the others."""
    kinds = {*ROW_KINDS, "classes"} if options.prefer else set()
    kinds |= {"array", "recipe"} if options.mixed else set()
    is_resolved: Callable[[Conflict], bool] = lambda conflict: conflict.kind in kinds  # noqa: E731  # used twice, here only
    return [c for c in conflicts if not is_resolved(c)], [c for c in conflicts if is_resolved(c)]
