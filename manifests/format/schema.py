"""The columns of `manifest.csv` and how their values are written."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from manifests.files.regularfile import STATE_FOLDER as STATE_FOLDER  # noqa: PLC0414  # a name of the schema, too

SCHEMA_VERSION = 1
"""Version of the manifest and dataset.json; newer versions are refused."""

MANIFEST_NAME = "manifest.csv"
PARQUET_NAME = "manifest.parquet"
"""Read if there is no `manifest.csv`."""
METADATA_NAME = "dataset.json"
FAILURES_NAME = "failures.csv"

LABEL_SEPARATOR = ";"
"""Separates the classes of a sample that has several: `cat;indoor`."""


@dataclass(frozen=True)
class Column:
    """A column of the manifest that has a fixed meaning.

    Attributes:
        name: as in the header row.
        description: one line for the documentation.
        example: a value, as it is written in the file.
        required: whether a manifest without it is invalid.
    """

    name: str
    description: str
    example: str
    required: bool = False


COLUMNS = (
    Column("id", "unique name of the sample, a string: `007`, `NA` and `1e5` stay as they are", "cats/001", required=True),
    Column("label", "primary label as the user wrote it; `;` between several classes; empty if there is none", "cat"),
    Column("split", "`train`, `val`, `test` or names of your own", "train"),
    Column("group", "IDs of one group must share a split (a patient, a speaker)", "patient-12"),
    Column("fold", "number of the fold, from `0`, that validates the row in cross-validation; empty if none does", "0"),
    Column("path", "shard file, relative to the manifest, with `/`; default `shards/<id>.npy`", "shards/cats/001.npy"),
    Column("row", "row within a pack; empty for a shard that holds one ID", ""),
    Column("shape", "shape of the sample's array, axes joined by `x`; `scalar` if it has none", "32x32x3"),
    Column("dtype", "NumPy name of the array's dtype", "uint8"),
    Column("sha256", "SHA-256 of the shard file's bytes, in hex", "9f86d081884c7d65..."),
    Column("source", "path of the raw item, relative to the source's folder", "cats/001.png"),
    Column("fingerprint", "digest of the raw item's identity and the recipe: equal fingerprint, equal shard", "1b4f0e9851971998..."),
)

COLUMN_NAMES = tuple(column.name for column in COLUMNS)
"""Names of these columns, in the order in which they are written."""

_SHAPE = re.compile(r"(?:0|[1-9][0-9]{0,18})(?:x(?:0|[1-9][0-9]{0,18})){0,63}")
_SCALAR = "scalar"
_LONGEST_SHOWN = 100
_MAX_AXES = 64
"""NumPy's own limit."""


def format_shape(shape: tuple[int, ...]) -> str:
    """Return a shape as it is written in the manifest: `32x32x3` for `(32, 32, 3)`, `scalar` for `()`."""
    return "x".join(map(str, shape)) if shape else _SCALAR


def parse_shape(text: str) -> tuple[int, ...]:
    """Return the shape that a value of the manifest stands for.

    Raises:
        ValueError: the text is not a shape.
    """
    if text == _SCALAR:
        return ()
    if not _SHAPE.fullmatch(text):
        raise ValueError(f"expected a shape like 32x32x3, found {text[:_LONGEST_SHOWN]!r}")
    shape = tuple(int(axis) for axis in text.split("x"))
    if not is_possible_shape(shape):
        raise ValueError(f"expected a shape that an array can have, found {text[:_LONGEST_SHOWN]!r}")
    return shape


def is_possible_shape(shape: Sequence[int], itemsize: int = 1) -> bool:
    """Return whether NumPy could make an array of this shape, memory permitting; an axis of length 0 does not make other axes valid.

    Args:
        shape: non-negative.
        itemsize: bytes of an element.
    """
    return len(shape) <= _MAX_AXES and math.prod(max(axis, 1) for axis in shape) * itemsize <= sys.maxsize


def split_label(label: str) -> tuple[str, ...]:
    """Return the distinct classes of a label: `("a", "b")` for `a;b` and for `a;b;a;`, and `()` for an empty label."""
    return tuple(dict.fromkeys(name for name in label.split(LABEL_SEPARATOR) if name))
