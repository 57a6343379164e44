"""Reading and writing `dataset.json`: array specs, classes, recipe, splits and statistics of a dataset."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from manifests.errors import InvalidManifestError, Problem
from manifests.files.atomic import replacing
from manifests.format.metadata_checks import key_problems, unwritable_keys
from manifests.format.npyfile import NUMERIC_KINDS
from manifests.format.schema import SCHEMA_VERSION, array_name_problem, is_possible_shape, parse_shape
from manifests.text import terminal_text


@dataclass(frozen=True, kw_only=True)
class ArraySpec:
    """The shape and dtype that all shards have in common.

    Attributes:
        shape: of one sample, with None for an axis whose length differs between samples; None if the number of axes
            differs.
        dtype: NumPy name of the shards' dtype; None if it differs.
    """

    shape: tuple[int | None, ...] | None
    dtype: str | None

    @property
    def is_fixed(self) -> bool:
        """Whether every sample has this one shape and dtype."""
        return self.shape is not None and None not in self.shape and self.dtype is not None

    def __str__(self) -> str:
        shape = "any shape" if self.shape is None else "(" + ", ".join("?" if a is None else str(a) for a in self.shape) + ")"
        return f"{shape} {self.dtype or 'any dtype'}"


def common_array(shapes: Sequence[str], dtypes: Sequence[str]) -> ArraySpec | None:
    """Return what these shapes and dtypes, written as in a manifest, have in common; None if any of them is empty."""
    if "" in shapes or "" in dtypes:
        return None
    parsed = [parse_shape(shape) for shape in shapes]
    dtype = dtypes[0] if len(set(dtypes)) == 1 else None
    if len({len(shape) for shape in parsed}) != 1:
        return ArraySpec(shape=None, dtype=dtype)
    axes = (set(axis) for axis in zip(*parsed, strict=True))
    return ArraySpec(shape=tuple(axis.pop() if len(axis) == 1 else None for axis in axes), dtype=dtype)


LabelKind = Literal["class", "number"]
"""What the labels of a column are: names of classes, or numbers such as a price or an age."""


@dataclass(frozen=True, kw_only=True)
class LabelSpec:
    """What `dataset.json` says about one label column.

    Attributes:
        classes: in index order; a class keeps its index when data is added. Empty for numbers.
        kind: what the labels are; None if the user did not say so and they are classes so far: a later build may find numbers.
        column: its name in the table that the labels came from, if that differs and there are several label columns; else None.
    """

    classes: tuple[str, ...] = ()
    kind: LabelKind | None = None
    column: str | None = None

    @property
    def is_number(self) -> bool:
        """Whether the labels are numbers."""
        return self.kind == "number"


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """The content of `dataset.json`.

    Attributes:
        array: shape and dtype of the shards; None if they are not known.
        arrays: name of a further array -> shape and dtype that it has in all samples that have it.
        labels: label column -> its classes or kind.
        recipe: everything that decided the shards' bytes, as the builder wrote it; empty if there was no builder.
        splits: how splits were made, as the builder wrote it; its `names` give their order.
        statistics: as the builder wrote them.
    """

    array: ArraySpec | None = None
    arrays: Mapping[str, ArraySpec] = field(default_factory=dict)
    labels: Mapping[str, LabelSpec] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    splits: Mapping[str, Any] = field(default_factory=dict)
    statistics: Mapping[str, Any] = field(default_factory=dict)


def read_metadata(path: Path) -> Metadata:
    """Read and check a `dataset.json`.

    Raises:
        InvalidManifestError: the file is not a JSON object, has a newer schema version, or has wrong values; every
            problem is listed with its key.
        OSError: the file cannot be read.
    """
    try:
        raw = json.loads(path.read_bytes())
        unwritable = list(unwritable_keys(raw))
    except (ValueError, RecursionError) as error:
        raise InvalidManifestError(str(path), [Problem(kind="json", message=f"is not JSON: {error}")]) from error
    if unwritable:  # none of it could be written to a file or a terminal
        text = "holds text that cannot be encoded as UTF-8"
        raise InvalidManifestError(str(path), [Problem(kind="metadata", message=f"{terminal_text(key)}: {text}") for key in unwritable])
    problems: list[Problem] = []
    metadata = _parse(raw, lambda key, text: problems.append(Problem(kind="metadata", message=f"{key}: {text}")))
    if problems:
        raise InvalidManifestError(str(path), problems)
    return metadata


def write_metadata(metadata: Metadata, path: Path) -> None:
    """Write a `dataset.json`, replacing `path` atomically; equal metadata in equal order give equal bytes.

    Raises:
        OSError: the file cannot be written; `path` is then as it was.
    """
    raw: dict[str, Any] = {"schema_version": SCHEMA_VERSION}
    if metadata.array is not None:
        raw["array"] = asdict(metadata.array)
    if metadata.arrays:
        raw["arrays"] = {name: asdict(spec) for name, spec in metadata.arrays.items()}
    raw["labels"] = {name: _label_as_dict(spec) for name, spec in metadata.labels.items()}
    raw |= {
        key: dict(value)
        for key, value in (("recipe", metadata.recipe), ("splits", metadata.splits), ("statistics", metadata.statistics))
        if value
    }
    with replacing(path) as file:
        file.write(json.dumps(raw, ensure_ascii=False, indent=2).encode() + b"\n")


_Say = Callable[[str, str], None]


def _parse(raw: object, say: _Say) -> Metadata:
    """Return decoded JSON as metadata; report what is wrong by its key, and leave it out."""
    if not isinstance(raw, dict):
        say("dataset.json", f"expected an object, found {type(raw).__name__}")
        return Metadata()
    version = raw.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        say("schema_version", f"expected a positive integer, found {version!r}")
    elif version > SCHEMA_VERSION:
        say("schema_version", f"is {version}, this release reads up to {SCHEMA_VERSION}; update shardfeed")
        return Metadata()
    for key, text in key_problems(raw):
        say(key, text)
    return Metadata(
        array=_parse_array("array", raw["array"], say) if raw.get("array") is not None else None,
        arrays=_parse_arrays(_object(raw, "arrays", say), say),
        labels={name: _parse_label(name, spec, say) for name, spec in _object(raw, "labels", say).items()},
        recipe=_object(raw, "recipe", say),
        splits=_object(raw, "splits", say),
        statistics=_object(raw, "statistics", say),
    )


def _parse_arrays(raw: dict[str, Any], say: _Say) -> dict[str, ArraySpec]:
    specs = {}
    for name, value in raw.items():
        problem = array_name_problem(name)
        if problem:
            say("arrays", problem)
        elif (spec := _parse_array(f"arrays.{name}", value, say)) is not None:
            specs[name] = spec
    return specs


def _parse_array(key: str, raw: object, say: _Say) -> ArraySpec | None:
    if not isinstance(raw, dict):
        say(key, f"expected an object, found {raw!r}")
        return None
    shape, dtype = raw.get("shape"), raw.get("dtype")
    if shape is not None and not (isinstance(shape, list) and all(axis is None or _is_length(axis) for axis in shape)):
        say(f"{key}.shape", f"expected a list of lengths or nulls, found {shape!r}")
        shape = None
    elif shape is not None and not is_possible_shape([axis or 0 for axis in shape]):
        say("array.shape", f"is one that no array can have: {str(shape)[:100]}")
        shape = None
    if dtype is not None and not is_dtype_name(dtype):
        say(f"{key}.dtype", f"expected the NumPy name of a numeric dtype, found {dtype!r}")
        dtype = None
    return ArraySpec(shape=None if shape is None else tuple(shape), dtype=dtype)


def _label_as_dict(spec: LabelSpec) -> dict[str, Any]:
    raw = {"kind": spec.kind, "column": spec.column, "classes": None if spec.is_number else spec.classes}
    return {key: value for key, value in raw.items() if value is not None}


def _parse_label(name: str, raw: object, say: _Say) -> LabelSpec:
    kind, column = (raw.get("kind"), raw.get("column")) if isinstance(raw, dict) else (None, None)
    if column is not None and not (isinstance(column, str) and column):
        say(f"labels.{name}.column", f"expected the name of a column, found {column!r}")
        return LabelSpec()
    if kind is not None and kind not in get_args(LabelKind):
        say(f"labels.{name}.kind", f"expected one of {', '.join(map(repr, get_args(LabelKind)))}, found {kind!r}")
        return LabelSpec()
    if kind == "number":
        return LabelSpec(kind="number", column=column)
    classes = raw.get("classes") if isinstance(raw, dict) else None
    if not isinstance(classes, list) or not all(isinstance(item, str) and item for item in classes):
        say(f"labels.{name}.classes", f"expected a list of names, found {classes!r}")
        return LabelSpec()
    if len(set(classes)) != len(classes):
        say(f"labels.{name}.classes", "names a class twice")
    return LabelSpec(classes=tuple(classes), kind=kind, column=column)


def _object(raw: dict[str, Any], key: str, say: _Say) -> dict[str, Any]:
    value = raw.get(key, {})
    if isinstance(value, dict):
        return value
    say(key, f"expected an object, found {value!r}")
    return {}


def _is_length(axis: object) -> bool:
    return isinstance(axis, int) and not isinstance(axis, bool) and axis >= 0


# A fixed list: `np.dtype` parses any text, and warns or fails in many ways.
_DTYPE_NAMES = frozenset(dtype.name for dtype in map(np.dtype, np.typecodes["All"]) if dtype.kind in NUMERIC_KINDS)


def is_dtype_name(name: object) -> bool:
    """Return whether this is the name of a dtype that shards may have, such as `float32`."""
    return isinstance(name, str) and name in _DTYPE_NAMES
