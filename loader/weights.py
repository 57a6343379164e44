"""Numbers that samples have beside their labels: how much each counts in the loss, and how often each is drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import SupportsFloat, SupportsIndex

import numpy as np
import numpy.typing as npt

from loader.errors import SHOWN_PROBLEMS, LabelError, listing
from manifests.columns import Coded, Column, coded
from manifests.schema import LABEL_SEPARATOR
from manifests.strings import PackedStrings

Names = Sequence[str] | PackedStrings

_CHUNK = 65_536


def numbers_of_column(column: Column) -> npt.NDArray[np.float64]:
    """Return the numbers that a column's texts are: float64, shape (n,); nan for a text that is none."""
    if isinstance(column, Coded):
        return column.spread(numbers_of(column.distinct))
    blocks = [np.zeros(0)]
    for start in range(0, len(column), _CHUNK):
        positions = np.arange(start, min(start + _CHUNK, len(column)))
        try:
            blocks.append(np.fromiter(map(float, column.take_bytes(positions)), dtype=np.float64, count=len(positions)))
        except ValueError:  # some are none, or in digits beyond ASCII
            blocks.append(numbers_of(column.take(positions)))
    return np.concatenate(blocks)


def numbers_of(values: Iterable[object]) -> npt.NDArray[np.float64]:
    """Return values as numbers: float64, shape (n,); nan for a value that is none."""
    return np.fromiter(map(_number, values), dtype=np.float64)


def check_weights(
    what: str, weights: npt.NDArray[np.float64], values: Names | Column | Sequence[object], *, ids: Names, paths: Names
) -> None:
    """Refuse weights that are no finite numbers from 0, as float32 has them.

    Args:
        what: where the weights come from, for messages.
        weights: float64, shape (n,).
        values: what the weights were made of, one a sample; for messages.
        ids: one a sample; for messages.
        paths: one a sample; for messages.

    Raises:
        LabelError: there are such; the message names IDs and paths.
    """
    with np.errstate(over="ignore"):
        is_good = np.isfinite(weights.astype(np.float32)) & (weights >= 0)
    if not is_good.all():
        raise LabelError(
            _message(f"a weight that is no finite number from 0 ({what})", np.flatnonzero(~is_good), values, ids, paths)
            + "; correct the weights, or leave these samples out"
        )


def balanced_weights(labels: Column, *, ids: Names, paths: Names) -> npt.NDArray[np.float64]:
    """Return weights with which each class is drawn equally often: one over the number of samples of its label.

    Args:
        labels: one a sample.
        ids: one a sample; for messages.
        paths: one a sample; for messages.

    Returns:
        float64, shape (n,).

    Raises:
        LabelError: labels are empty or name several classes; the message names IDs and paths.
    """
    labels = coded(labels)
    distinct = list(labels.distinct)
    for kind, bad in (
        ("no label", [number for number, label in enumerate(distinct) if not label]),
        ("several classes", [number for number, label in enumerate(distinct) if LABEL_SEPARATOR in label]),
    ):
        if bad:
            wrong = np.flatnonzero(np.isin(labels.codes, bad))
            raise LabelError(
                _message(kind, wrong, labels, ids, paths) + "; sampling 'balanced' takes one class a sample: correct the labels, leave "
                "these samples out, or give weights of your own"
            )
    return labels.spread(1 / labels.counts())


def cumulative(weights: npt.NDArray[np.float64], what: str) -> npt.NDArray[np.float64]:
    """Return the running sum of weights, as shares of the whole.

    The first position whose value is greater than u, for u uniform in [0, 1), is drawn with the probability of its
    weight: `np.searchsorted(cumulative, u, side="right")`. A weight of 0 is never drawn.

    Args:
        weights: float64, shape (n,), finite, none below 0.
        what: where the weights come from, for messages.

    Returns:
        float64, shape (n,), never falling; the last is exactly 1.

    Raises:
        LabelError: all weights are 0.
    """
    highest = weights.max()
    if highest == 0:
        raise LabelError(f"all {len(weights)} weights are 0 ({what}): there is nothing to draw")
    # The sum of the weights themselves might not be finite.
    running = np.cumsum(weights / highest)
    running /= running[-1]
    return running


def _number(value: object) -> float:
    if isinstance(value, str | SupportsFloat | SupportsIndex):
        try:
            return float(value)
        except (ValueError, OverflowError):
            return math.nan
    return math.nan


def _message(kind: str, wrong: npt.NDArray[np.int64], values: Column | Names | Sequence[object], ids: Names, paths: Names) -> str:
    """Say how many samples have something wrong, and which."""
    shown = wrong[:SHOWN_PROBLEMS].tolist()
    value_at = [values.distinct[int(values.codes[p])] if isinstance(values, Coded) else values[p] for p in shown]
    where = [f"ID {ids[p]!r} ({paths[p]})" + (f" has {value!r}" if value != "" else "") for p, value in zip(shown, value_at, strict=True)]
    count = "1 sample" if len(wrong) == 1 else f"{len(wrong)} samples"
    return f"{count} with {kind}: {listing(where, len(wrong))}"
