"""Labels that are numbers, not classes: how they are told apart, and their values."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from manifests.rows import arrow
from manifests.rows.buffers import floats, integers
from manifests.rows.table import is_dictionary

if TYPE_CHECKING:
    import pyarrow as pa

FloatArray = npt.NDArray[np.float64]

_INTEGER = re.compile(r"[+-]?[0-9]+")


def are_measurements(labels: Iterable[str]) -> bool:
    """Return whether labels are numbers of which at least one is no integer, such as `0.37`: not names of classes.

    Empty labels do not count.
    """
    fractions = False
    for label in labels:
        if label and not _INTEGER.fullmatch(label):
            if not is_number(label):
                return False
            fractions = True
    return fractions


def is_number(text: str) -> bool:
    """Return whether a label is a number, be it `nan` or `inf`."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # Python reads 1_2 as 12; in a label it is a name


def numbers_of(column: pa.ChunkedArray) -> FloatArray:
    """Return the numbers that a column's texts are: float64, shape (n,); nan for a text that is none."""
    pa = arrow.pa
    if is_dictionary(column):
        encoded = column.unify_dictionaries().combine_chunks()
        chunk = encoded if isinstance(encoded, pa.Array) else encoded.chunk(0)
        values = np.fromiter(map(number, chunk.dictionary.to_pylist()), dtype=np.float64)
        return values[integers(chunk.indices)] if len(chunk) else np.zeros(0)
    try:
        found = floats(column.cast(pa.float64()))
    except pa.ArrowInvalid:  # some are none, or written in a way that Python reads and Arrow does not
        found = np.fromiter(map(number, column.to_pylist()), dtype=np.float64, count=len(column))
    return found


def summary_of(values: FloatArray) -> dict[str, float]:
    """Return count, mean, standard deviation (of the population), minimum and maximum of the finite values; nan where there are none."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return {"count": 0, "mean": math.nan, "std": math.nan, "min": math.nan, "max": math.nan}
    with np.errstate(over="ignore", invalid="ignore"):  # of values near the greatest there is, which then has no mean
        mean, std = float(finite.mean()), float(finite.std())
    return {"count": len(finite), "mean": mean, "std": std, "min": float(finite.min()), "max": float(finite.max())}


def number(text: str) -> float:
    """Return the number that a label is; nan if it is none."""
    return float(text) if is_number(text) else math.nan
