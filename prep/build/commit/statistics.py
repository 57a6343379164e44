"""The statistics of a dataset, from its rows and the moments of their shards; a function of the rows that are trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from manifests.describe.counts import class_counts_by_split, split_order
from manifests.describe.statistics import STATISTICS_VERSION, mismatch, rows_digest, rows_of_statistics
from manifests.format.metadata import Metadata
from manifests.format.schema import parse_shape
from manifests.rows.table import blank, distinct, select
from prep.build.commit.combine_moments import Combined, combine
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
