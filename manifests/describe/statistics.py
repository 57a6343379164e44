"""The statistics in `dataset.json`: over which rows they hold, and what Keras makes of them.

They are those of the rows of the split `train`, or of all rows where the dataset has no splits, and name those rows by a
digest. A dataset that has since been cut into other splits, or whose content is another, has another digest.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from itertools import chain
from operator import le
from typing import TYPE_CHECKING, Any, TypedDict, TypeGuard

import numpy as np
import numpy.typing as npt

from manifests.errors import ManifestError
from manifests.format.schema import METADATA_NAME
from manifests.rows.numbers import is_number, numbers_of, summary_of
from manifests.rows.table import blank, distinct, is_in, select, strings, value

if TYPE_CHECKING:
    import pyarrow as pa

STATISTICS_VERSION = 1
"""Goes up when the same rows would get other numbers."""

TRAIN_SPLIT = "train"
_BLOCK_ROWS = 1 << 14
ALL_ROWS = "all"

_GREATEST = float(np.finfo(np.float32).max)

_MEND = "build the dataset again, which works them out, or adapt() the layer to the training data"


class Moments(TypedDict):
    """Mean and variance, as `keras.layers.Normalization` takes them.

    Attributes:
        mean: float32, shape (channels,), or () where all values are one channel.
        variance: likewise; of the population.
    """

    mean: npt.NDArray[np.float32]
    variance: npt.NDArray[np.float32]


class Normalization(Moments):
    """Arguments of `keras.layers.Normalization`.

    Attributes:
        axis: -1, or None where all values are one channel.
    """

    axis: int | None


def rows_of_statistics(splits: pa.ChunkedArray) -> tuple[str, npt.NDArray[np.bool_]] | None:
    """Return over which rows a dataset's statistics are: their name and a mask; None if it is split, but not into `train`.

    Args:
        splits: of each row; empty strings where a row is in none.
    """
    names = set(distinct(splits))
    if not names - {""}:
        return ALL_ROWS, np.ones(len(splits), dtype=np.bool_)
    return (TRAIN_SPLIT, is_in(splits, [TRAIN_SPLIT])) if TRAIN_SPLIT in names else None


def rows_digest(rows: pa.Table, keep: npt.NDArray[np.bool_]) -> str:
    """Return a digest of some rows by their IDs and their shards' content, in hex; their order does not matter.

    SHA-256 of a line `<id>,<sha256>` for each row, in the order of the lines; an ID holds no line end.

    Args:
        rows: with the columns `id` and, perhaps, `sha256`.
        keep: bool, shape (len(rows),): which of them.
    """
    digest, last = hashlib.sha256(), ""
    for lines in _lines(rows, keep):
        if not all(map(le, chain([last], lines), lines)):  # rows in the order of their IDs nearly always are in that of their lines
            every = sorted(chain.from_iterable(_lines(rows, keep)))
            return hashlib.sha256("".join(every).encode("utf-8", "surrogatepass")).hexdigest()
        digest.update("".join(lines).encode("utf-8", "surrogatepass"))
        last = lines[-1] if lines else last
    return digest.hexdigest()


def _lines(rows: pa.Table, keep: npt.NDArray[np.bool_]) -> Iterator[list[str]]:
    names = [name for name in ("id", "sha256") if name in rows.column_names]
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = select(rows.select(names).slice(start, _BLOCK_ROWS), keep[start : start + _BLOCK_ROWS])
        ids = strings(block["id"])
        sha256s = strings(block["sha256"]) if "sha256" in names else [""] * len(ids)
        yield [f"{id_},{sha256}\n" for id_, sha256 in zip(ids, sha256s, strict=True)]


def mismatch(statistics: Mapping[str, Any], table: pa.Table) -> str | None:
    """Say in what a dataset's statistics are not those of its rows; None if they are, or if there are none.

    Args:
        statistics: of `dataset.json`.
        table: all rows of the dataset.
    """
    if "digest" not in statistics:
        return None
    rows = rows_of_statistics(table["split"] if "split" in table.column_names else blank(len(table)))
    if rows is None:
        return f"are of {_named(statistics.get('over'))}, but no row is in the split {TRAIN_SPLIT!r}"
    over, mask = rows
    if statistics.get("over") != over:
        return f"are of {_named(statistics.get('over'))}, but would be of {_named(over)}"
    digest = rows_digest(table, mask)
    if statistics["digest"] != digest:
        found = statistics["digest"]
        return f"are not those of {_named(over)}: expected the digest {digest[:16]}..., found {str(found)[:16]}... (other IDs or content)"
    return None


def normalization_of(statistics: Mapping[str, Any], where: str) -> Normalization:
    """Return mean and variance as Keras takes them.

    Args:
        statistics: of `dataset.json`, of which the digest was compared.
        where: the dataset, for error messages.

    Raises:
        ManifestError: there are none, or they are no numbers.
    """
    channels = statistics.get("channels")
    if not isinstance(channels, dict):
        raise ManifestError(f"{where}: {METADATA_NAME} has no statistics of the values; {_MEND}")
    mean, variance = channels.get("mean"), channels.get("variance")
    if not (_are_numbers(mean) and _are_numbers(variance) and len(mean) == len(variance) and min(variance) >= 0):
        raise ManifestError(
            f"{where}: statistics in {METADATA_NAME} give a channel no mean or variance: it has no finite value, or too great ones; "
            "mend the data, or normalise without them"
        )
    shape: tuple[int, ...] = (len(mean),) if statistics.get("axis") == -1 else ()
    means, variances = (np.array(values, dtype=np.float32).reshape(shape) for values in (mean, variance))
    return Normalization(axis=-1 if shape else None, mean=means, variance=variances)


def moments_of_labels(table: pa.Table, column: str, where: str) -> tuple[float, float]:
    """Return mean and variance of a label column's numbers over the training rows.

    Args:
        table: all rows of the dataset.
        column: one of its columns; what is no finite number does not count.
        where: the dataset, for error messages.

    Raises:
        ManifestError: the column has labels that are no numbers, no training rows have numbers, or they are too great.
    """
    labels = table[column]
    names = [label for label in distinct(labels) if label and not is_number(label)]
    if names:
        id_ = value(table, "id", int(np.flatnonzero(is_in(labels, names[:1]))[0]))
        raise ManifestError(
            f"{where}: column {column!r} of ID {id_!r} is {names[0]!r}, which is no number; only numbers have a mean and a variance"
        )
    rows = rows_of_statistics(table["split"] if "split" in table.column_names else blank(len(table)))
    if rows is None:
        raise ManifestError(f"{where}: no row is in the split {TRAIN_SPLIT!r}, over which mean and variance are; name a split so")
    summary = summary_of(numbers_of(select(table.select([column]), rows[1])[column]))
    mean, variance = summary["mean"], summary["std"] ** 2
    if not (abs(mean) <= _GREATEST and variance <= _GREATEST):
        raise ManifestError(f"{where}: column {column!r} has no number in {_named(rows[0])}, or too great ones; correct the labels")
    return mean, variance


def refusal(where: str, text: str) -> ManifestError:
    """Return the error of statistics that are not those of the rows."""
    return ManifestError(f"{where}: the statistics in {METADATA_NAME} {text}; {_MEND}")


def _are_numbers(values: object) -> TypeGuard[list[float]]:
    return (
        isinstance(values, list)
        and bool(values)
        and all(isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) for value in values)
    )


def _named(over: object) -> str:
    return "all rows" if over == ALL_ROWS else f"the rows of split {over!r}"
