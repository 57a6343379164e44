"""The statistics of a dataset, from its rows and the moments of their shards; a function of the rows that are trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from manifests.describe.counts import class_counts_by_split, split_order
from manifests.describe.statistics import STATISTICS_VERSION, mismatch, rows_digest, rows_of_statistics
from manifests.format.metadata import Metadata
from manifests.format.schema import parse_shape
from manifests.rows.table import blank, distinct, select
from prep.build.commit.shard_moments import ShardMoments
from prep.build.execute.journal import moment_data, moment_lengths
from prep.build.state.moments import FloatArray, channels_of, decode_moments
from prep.progress.report import Reporter

if TYPE_CHECKING:
    import pyarrow as pa


def dataset_statistics(
    table: pa.Table, metadata: Metadata, old: Mapping[str, Any], moments: ShardMoments, report: Reporter
) -> dict[str, Any]:
    """Return the statistics for `dataset.json`.

    Where the rows are those of the statistics that are there, these stand, and nothing is read.

    Args:
        table: all rows of the new dataset, in any order.
        metadata: of the new dataset.
        old: the statistics that are there.
        moments: of the shards.
        report: shows the bar; is told what could not be worked out.
    """
    classes = class_counts(table, metadata)
    named = rows_of_statistics(table["split"] if "split" in table.column_names else blank(len(table)))
    if named is None:
        return {"version": STATISTICS_VERSION, "classes": classes}
    over, mask = named
    digest = rows_digest(table, mask)
    statistics = {"version": STATISTICS_VERSION, "over": over, "rows": int(mask.sum()), "digest": digest}
    if {key: old.get(key) for key in statistics} == statistics and "channels" in old:
        values = {key: old[key] for key in ("axis", "channels") if key in old}
    else:
        blocks = moments.of_rows(mask, report)
        if blocks is None:
            return {"version": STATISTICS_VERSION, "classes": classes}
        values = values_of_rows(distinct(select(table.select(["shape"]), mask)["shape"]), blocks)
    return statistics | values | {"classes": classes}


def values_of_rows(shapes: Sequence[str], blocks: Callable[[], Iterable[pa.ChunkedArray]]) -> dict[str, Any]:
    """Return the statistics of the values.

    They are per channel where all arrays have as many axes and channels, else of all values as one channel; and absent
    where an array is complex, as such numbers have no order.

    Args:
        shapes: that the arrays have, as in the manifest, each at least once.
        blocks: gives the moments of the arrays, each time that it is called.

    Returns:
        `axis`: -1, or None for one channel; `channels`: name of a number -> its value for each channel, None if there is none.
    """
    parsed = {shape: parse_shape(shape) for shape in set(shapes)}
    kinds = {(len(shape), channels_of(shape), shape[-1] if shape else 1) for shape in parsed.values()}
    channels = next(iter(kinds))[1] if len(kinds) == 1 else 1
    own_axis = len(kinds) == 1 and all(shape and shape[-1] == channels for shape in parsed.values())

    def by_channel() -> Iterator[FloatArray]:
        for block in blocks():
            if not moment_lengths(block).all():
                raise _NoOrderError
            decoded = decode_moments(moment_data(block))
            yield decoded.reshape(-1, channels if own_axis else 1, decoded.shape[1])

    try:
        combined = combine(by_channel)
    except _NoOrderError:
        return {}
    return {"axis": -1 if own_axis else None, "channels": _as_columns(combined)}


class _NoOrderError(Exception):
    """An array is complex."""


def _as_columns(combined: Sequence[Combined]) -> dict[str, list[Any]]:
    return {
        "mean": [one.mean for one in combined],
        "variance": [one.variance for one in combined],
        "std": [None if one.variance is None else math.sqrt(one.variance) for one in combined],
        "min": [one.low for one in combined],
        "max": [one.high for one in combined],
        "finite": [one.finite for one in combined],
        "non_finite": [one.non_finite for one in combined],
    }


def class_counts(table: pa.Table, metadata: Metadata) -> dict[str, dict[str, dict[str, int]]]:
    """Return label column -> split (`all` without splits) -> class -> number of rows."""
    splits = split_order(distinct(table["split"]), metadata.splits.get("names", ())) if "split" in table.column_names else ()
    return {
        column: class_counts_by_split(table, column, spec.classes, splits) if column in table.column_names else {}
        for column, spec in metadata.labels.items()
        if not spec.is_number
    }


def union_statistics(table: pa.Table, metadata: Metadata, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the statistics of a union: those of a part whose training rows are the union's, else the classes alone.

    Args:
        table: all rows of the union.
        metadata: of the union.
        parts: the statistics of the datasets that were put together; nothing comes of none.
    """
    if not any(parts):
        return {}
    kept = next((part for part in parts if "digest" in part and mismatch(part, table) is None), {})
    return {"version": STATISTICS_VERSION} | dict(kept) | {"classes": class_counts(table, metadata)}


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
