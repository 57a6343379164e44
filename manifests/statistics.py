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
from typing import Any, TypedDict, TypeGuard

import numpy as np
import numpy.typing as npt

from manifests.columns import Column, blank_column, coded, is_in
from manifests.errors import ManifestError
from manifests.schema import METADATA_NAME
from manifests.table import Table

STATISTICS_VERSION = 1
"""Goes up when the same rows would get other numbers."""

TRAIN_SPLIT = "train"
ALL_ROWS = "all"

_MEND = "build the dataset again, which works them out, or adapt() the layer to the training data"


class Normalization(TypedDict):
    """Arguments of `keras.layers.Normalization`.

    Attributes:
        axis: -1, or None where all values are one channel.
        mean: float32, shape (channels,), or () where all values are one channel.
        variance: likewise.
    """

    axis: int | None
    mean: npt.NDArray[np.float32]
    variance: npt.NDArray[np.float32]


def rows_of_statistics(splits: Column) -> tuple[str, npt.NDArray[np.bool_]] | None:
    """Return over which rows a dataset's statistics are: their name and a mask; None if it is split, but not into `train`.

    Args:
        splits: of each row; empty strings where a row is in none.
    """
    names = set(coded(splits).distinct)
    if not names - {""}:
        return ALL_ROWS, np.ones(len(splits), dtype=np.bool_)
    return (TRAIN_SPLIT, is_in(splits, [TRAIN_SPLIT])) if TRAIN_SPLIT in names else None


def rows_digest(rows: Table) -> str:
    """Return a digest of rows by their IDs and their shards' content, in hex; their order does not matter.

    SHA-256 of a line `<id>,<sha256>` for each row, in the order of the lines; an ID holds no line end.
    """
    digest, last = hashlib.sha256(), ""
    for lines in _lines(rows):
        if not all(map(le, chain([last], lines), lines)):  # rows in the order of their IDs nearly always are in that of their lines
            every = sorted(chain.from_iterable(_lines(rows)))
            return hashlib.sha256("".join(every).encode("utf-8", "surrogatepass")).hexdigest()
        digest.update("".join(lines).encode("utf-8", "surrogatepass"))
        last = lines[-1]
    return digest.hexdigest()


def _lines(rows: Table) -> Iterator[list[str]]:
    names = [name for name in ("id", "sha256") if name in rows]
    for block in rows.blocks(names):
        pairs = zip(block["id"], block.get("sha256", [""] * len(block["id"])), strict=True)
        yield [f"{id_},{sha256}\n" for id_, sha256 in pairs]


def mismatch(statistics: Mapping[str, Any], table: Table) -> str | None:
    """Say in what a dataset's statistics are not those of its rows; None if they are, or if there are none.

    Args:
        statistics: of `dataset.json`.
        table: all rows of the dataset.
    """
    if "digest" not in statistics:
        return None
    rows = rows_of_statistics(table.column("split") if "split" in table else blank_column(len(table)))
    if rows is None:
        return f"are of {_named(statistics.get('over'))}, but no row is in the split {TRAIN_SPLIT!r}"
    over, mask = rows
    if statistics.get("over") != over:
        return f"are of {_named(statistics.get('over'))}, but would be of {_named(over)}"
    digest = rows_digest(table.select(mask))
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
