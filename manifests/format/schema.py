"""The columns of `manifest.csv` and how their values are written."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Sequence
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
    Column("member", "name of the raw item within its file, if that is a container of several", ""),
    Column("fingerprint", "digest of the raw item's identity and the recipe: equal fingerprint, equal shard", "1b4f0e9851971998..."),
)

COLUMN_NAMES = tuple(column.name for column in COLUMNS)
"""Names of these columns, in the order in which they are written."""

ARRAY_COLUMNS = (
    Column("<name>.path", "file of the further array `<name>`, likewise; empty if the sample has none", "arrays/mask/cats/001.npy"),
    Column("<name>.row", "its row within a pack", ""),
    Column("<name>.shape", "its shape", "32x32"),
    Column("<name>.dtype", "NumPy name of its dtype", "uint8"),
    Column("<name>.sha256", "SHA-256 of its file's bytes, in hex", "60303ae22b998861..."),
)
"""Columns of a further array of the samples, such as `mask`; those of each array stand together, behind the others."""

ARRAY_FIELDS = tuple(column.name.removeprefix("<name>.") for column in ARRAY_COLUMNS)
"""What they are called behind the array's name: as the columns of the main array."""

_ARRAY_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")

_SHAPE = re.compile(r"(?:0|[1-9][0-9]{0,18})(?:x(?:0|[1-9][0-9]{0,18})){0,63}")
_SCALAR = "scalar"
_LONGEST_SHOWN = 100
_MAX_AXES = 64
"""NumPy's own limit."""


def array_name_problem(name: object) -> str | None:
    """Say what makes a text no name of a further array, or None if it is one: it names a folder and begins the names of columns."""
    if isinstance(name, str) and _ARRAY_NAME.fullmatch(name):
        return None
    return f"expected lower-case letters, digits and '_', at most 64 and a letter first, such as mask, found {name!r}"


def array_column(name: str, field: str) -> str:
    """Return the name of a further array's column, such as `mask.shape`."""
    return f"{name}.{field}"


def is_array_column(column: str) -> bool:
    """Return whether a column has the name of one of a further array."""
    name, _, field = column.rpartition(".")
    return bool(name) and field in ARRAY_FIELDS and array_name_problem(name) is None


def is_contract_column(column: str) -> bool:
    """Return whether a column has a meaning of its own, so that the user's own cannot have its name."""
    return column in COLUMN_NAMES or is_array_column(column)


def array_names(columns: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the further arrays that rows with these columns have, sorted: each has a column `<name>.path`."""
    names = (column.removesuffix(".path") for column in columns if column.endswith(".path"))
    return tuple(sorted(name for name in names if array_name_problem(name) is None))


def ordered_columns(columns: Sequence[str]) -> list[str]:
    """Return columns in the order in which they are written: the contract's, those of further arrays, then the user's own."""
    contract = [*COLUMN_NAMES, *(array_column(name, field) for name in array_names(columns) for field in ARRAY_FIELDS)]
    there, known = set(columns), set(contract)
    return [name for name in contract if name in there] + [name for name in columns if name not in known]


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
