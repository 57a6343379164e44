"""Moments of many shards put together; a block of them at a time, so that millions need no more memory than a few thousand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from prep.build.state.moments import FloatArray

_MOST_PARTIALS = 4096


class Combined(NamedTuple):
    """One channel over many shards; a value that there is not, or that overflows, is None."""

    finite: int
    non_finite: int
    mean: float | None
    variance: float | None
    low: float | None
    high: float | None


def combine(blocks: Callable[[], Iterable[FloatArray]]) -> list[Combined]:
    """Put moments together, channel by channel; neither their order nor how they are cut into blocks matters, to the last bit.

    The variance is that of the population, as Keras has it: squared deviations within the shards, and of the shards'
    means from the whole's (Chan, Golub and LeVeque 1979), each added up exactly and rounded once.

    Args:
        blocks: gives all moments, each time that it is called, in blocks of shape (shards, channels, 6).
    """
    channels: list[_Channel] = []
    for block in blocks():
        channels = channels or [_Channel() for _ in range(block.shape[1])]
        for number, channel in enumerate(channels):
            channel.add(block[:, number])
    means = [channel.mean() for channel in channels]
    variances = [_Sum() for _ in channels]
    for block in blocks() if any(mean is not None for mean in means) else ():
        for number, (mean, variance) in enumerate(zip(means, variances, strict=True)):
            if mean is not None:
                _add_squares(variance, block[:, number], mean)
    return [channel.combined(mean, variance) for channel, mean, variance in zip(channels, means, variances, strict=True)]


class _Sum:
    """The exact sum of many numbers: a few floats that add up to it without an error."""

    def __init__(self) -> None:
        self._partials: list[float] = []
        self._overflows = False

    def add(self, values: FloatArray) -> None:
        """Add numbers, shape (n,)."""
        self._add(values.tolist())
        if len(self._partials) > _MOST_PARTIALS:
            partials, self._partials = self._partials, []
            self._add(partials)

    def _add(self, values: list[float]) -> None:
        rest = values
        while not self._overflows:
            total = _rounded(rest)
            if total is None:
                self._overflows = True
            elif total:
                self._partials.append(total)
                rest.append(-total)  # what rounding has left over comes next
            else:
                return

    def value(self) -> float | None:
        """Return the sum, rounded once; None if it, or a number, is too great."""
        return None if self._overflows else _rounded(self._partials)


def _rounded(values: Sequence[float]) -> float | None:
    try:
        total = math.fsum(values)
    except (OverflowError, ValueError):
        return None
    return total if math.isfinite(total) else None


class _Channel:
    """What a first look at all moments of one channel gives."""

    def __init__(self) -> None:
        self._finite = self._non_finite = 0
        self._total = _Sum()
        self._low, self._high = math.inf, -math.inf

    def add(self, moments: FloatArray) -> None:
        """Take moments in, shape (shards, 6)."""
        self._non_finite += int(moments[:, 1].sum())
        with_values = moments[moments[:, 0] > 0]
        if len(with_values):
            self._finite += int(with_values[:, 0].sum())
            self._total.add(with_values[:, 2])
            self._low, self._high = min(self._low, float(with_values[:, 4].min())), max(self._high, float(with_values[:, 5].max()))

    def mean(self) -> float | None:
        """Return the mean of all values."""
        total = self._total.value() if self._finite else None
        return None if total is None else total / self._finite

    def combined(self, mean: float | None, squares: _Sum) -> Combined:
        """Return all that there is to say, with the mean and the sum of squared deviations from it."""
        if not self._finite:
            return Combined(0, self._non_finite, None, None, None, None)
        squared = None if mean is None else squares.value()
        variance = None if squared is None else squared / self._finite
        # Of -0.0 and 0.0 either may be the smallest: adding 0.0 makes one of them.
        return Combined(self._finite, self._non_finite, mean, variance, self._low + 0.0, self._high + 0.0)


def _add_squares(squares: _Sum, moments: FloatArray, mean: float) -> None:
    """Add the squared deviations from the mean of all shards, shape (shards, 6)."""
    with_values = moments[moments[:, 0] > 0]
    counts, totals = with_values[:, 0], with_values[:, 2]
    with np.errstate(over="ignore", invalid="ignore"):
        between = counts * (totals / counts - mean) ** 2
    squares.add(np.concatenate([with_values[:, 3], between]))
