"""Weights of samples: how much each counts in the loss, and how often each is drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import SupportsFloat, SupportsIndex

import numpy as np
import numpy.typing as npt

from loader.errors import LabelError, Values, samples_with
from loader.feed.columns import Coded
from manifests.format.schema import LABEL_SEPARATOR


def numbers_of(values: Iterable[object]) -> npt.NDArray[np.float64]:
    """Return values as numbers: float64, shape (n,); nan for a value that is not a number."""
    return np.fromiter(map(_number, values), dtype=np.float64)


def check_weights(what: str, weights: npt.NDArray[np.float64], values: Values, *, ids: Values, paths: Values) -> None:
    """Check that weights are not negative, and finite in float32.

    Args:
        what: where the weights come from, for messages.
        weights: float64, shape (n,).
        values: what the weights were made of, one a sample; for messages.
        ids: one a sample; for messages.
        paths: one a sample; for messages.

    Raises:
        LabelError: some are not; the message names IDs and paths.
    """
    with np.errstate(over="ignore"):
        is_good = np.isfinite(weights.astype(np.float32)) & (weights >= 0)
    if not is_good.all():
        raise LabelError(
            samples_with(f"a weight that is no finite number from 0 ({what})", np.flatnonzero(~is_good), values, ids, paths)
            + "; correct the weights, or leave these samples out"
        )


def balanced_weights(labels: Coded, *, ids: Values, paths: Values) -> npt.NDArray[np.float64]:
    """Return weights with which each class is drawn equally often: 1 over the number of samples of the class.

    Args:
        labels: one a sample.
        ids: one a sample; for messages.
        paths: one a sample; for messages.

    Returns:
        float64, shape (n,).

    Raises:
        LabelError: labels are empty or name several classes; the message names IDs and paths.
    """
    for kind, bad in (
        ("no label", [number for number, label in enumerate(labels.distinct) if not label]),
        ("several classes", [number for number, label in enumerate(labels.distinct) if LABEL_SEPARATOR in label]),
    ):
        if bad:
            wrong = np.flatnonzero(np.isin(labels.codes, bad))
            raise LabelError(
                samples_with(kind, wrong, labels, ids, paths) + "; sampling 'balanced' takes one class a sample: correct the labels, leave "
                "these samples out, or give weights of your own"
            )
    return labels.spread(1 / labels.counts())


def cumulative(weights: npt.NDArray[np.float64], what: str) -> npt.NDArray[np.float64]:
    """Return the cumulative sum of weights, divided by their sum.

    For u uniform in [0, 1), `np.searchsorted(cumulative, u, side="right")` draws each position with the probability of its
    weight. A position with weight 0 is never drawn.

    Args:
        weights: float64, shape (n,), finite, not negative.
        what: where the weights come from, for messages.

    Returns:
        float64, shape (n,), non-decreasing; the last is exactly 1.

    Raises:
        LabelError: all weights are 0.
    """
    highest = weights.max()
    if highest == 0:
        raise LabelError(f"all {len(weights)} weights are 0 ({what}): there is nothing to draw")
    # Scaled first: the sum of the weights themselves might overflow.
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
