"""The statistics of a dataset, from its rows and the moments of their shards; a function of the rows that are trained on."""

from __future__ import annotations

import hashlib
import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from manifests.columns import coded, values_of
from manifests.counts import class_counts_by_split, split_order
from manifests.errors import ArrayFileError
from manifests.metadata import Metadata
from manifests.names import resolve_inside
from manifests.npyfile import read_stream
from manifests.schema import STATE_FOLDER, parse_shape
from manifests.statistics import STATISTICS_VERSION, mismatch, rows_digest, rows_of_statistics
from manifests.table import Table
from prep.executors import Workers
from prep.moments import Combined, channels_of, combine, decode_moments, moments_of
from prep.momentstore import keep_moments, load_moments
from prep.report import Reporter
from prep.shards import WrittenShard
from prep.shortage import check_shortage
from prep.text import shown

_CHUNK_SHARDS = 256


@dataclass(frozen=True, kw_only=True)
class MomentsChunk:
    """Shards whose moments are to be worked out.

    Attributes:
        root: the dataset's folder.
        paths: of the shards, relative to it.
        sha256s: that they must have, in hex.
    """

    root: Path
    paths: Sequence[str]
    sha256s: Sequence[str]


def moments_chunk(chunk: MomentsChunk) -> list[tuple[str, str | None]]:
    """Read a chunk's shards: SHA-256 and moments of each; a path and None of one that is not what the manifest says."""
    return [_read(chunk.root, path, sha256) for path, sha256 in zip(chunk.paths, chunk.sha256s, strict=True)]


def _read(root: Path, path: str, sha256: str) -> tuple[str, str | None]:
    try:
        inside = resolve_inside(root, path)
        content = b"" if inside is None else inside.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            return path, None
        return sha256, moments_of(read_stream(io.BytesIO(content), path))
    except (OSError, ArrayFileError) as error:
        check_shortage(error, path)
        return path, None


class ShardMoments:
    """The moments of a dataset's shards: of those that a build wrote, of those remembered, and else read from the shards."""

    def __init__(self, written: Iterable[WrittenShard], root: Path, workers: Workers) -> None:
        """Take what a build knows.

        Args:
            written: the shards that this build wrote.
            root: the dataset's folder, in which the others lie.
            workers: read the shards of which nothing is known.
        """
        self._new = {shard.sha256: shard.moments for shard in written}
        self._root = root
        self._workers = workers

    @cached_property
    def _remembered(self) -> dict[str, str]:
        return load_moments(self._root / STATE_FOLDER)

    def of_rows(self, rows: Table, report: Reporter) -> list[str] | None:
        """Return the moments of each row's shard; None if one is not what its row says, which is told."""
        sha256s = values_of(rows.column("sha256"))
        wanted = dict(zip(sha256s, values_of(rows.column("path")), strict=True))
        missing = [sha256 for sha256 in wanted if sha256 not in self._new]
        missing = [sha256 for sha256 in missing if sha256 not in self._remembered]
        wrong = self._read_shards([(wanted[sha256], sha256) for sha256 in missing], report)
        if wrong:
            report.note(
                f"statistics: left out, as shards are missing or not what the manifest says: {shown(sorted(wrong))}; "
                f"see prep verify {os.fspath(self._root)}"
            )
            return None
        return [self._new[sha256] if sha256 in self._new else self._remembered[sha256] for sha256 in sha256s]

    def remember(self, table: Table) -> None:
        """Keep the moments of all rows of which they are known, and no others, for the next build; nothing if none is new."""
        if self._new:
            present = set(values_of(table.column("sha256")))
            known = self._remembered | self._new
            keep_moments({sha256: text for sha256, text in known.items() if sha256 in present}, self._root / STATE_FOLDER)

    def _read_shards(self, shards: Sequence[tuple[str, str]], report: Reporter) -> list[str]:
        """Work out the moments of shards, given as (path, SHA-256); return the paths of those that are not what they must be."""
        if not shards:
            return []
        wrong: list[str] = []
        parts = [shards[start : start + _CHUNK_SHARDS] for start in range(0, len(shards), _CHUNK_SHARDS)]
        chunks = [MomentsChunk(root=self._root, paths=[path for path, _ in part], sha256s=[sha256 for _, sha256 in part]) for part in parts]
        with report.progress(len(shards), "statistics") as advance:

            def take(found: list[tuple[str, str | None]]) -> None:
                self._new.update((key, moments) for key, moments in found if moments is not None)
                wrong.extend(key for key, moments in found if moments is None)
                advance(len(found))

            self._workers.run(moments_chunk, chunks, take)
        return wrong


def dataset_statistics(table: Table, metadata: Metadata, old: Mapping[str, Any], moments: ShardMoments, report: Reporter) -> dict[str, Any]:
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
    named = rows_of_statistics(_splits(table))
    if named is None:
        return {"version": STATISTICS_VERSION, "classes": classes}
    over, mask = named
    rows = table.select(mask)
    digest = rows_digest(values_of(rows.column("id")), values_of(rows.column("sha256")))
    statistics = {"version": STATISTICS_VERSION, "over": over, "rows": len(rows), "digest": digest}
    if {key: old.get(key) for key in statistics} == statistics and "channels" in old:
        values = {key: old[key] for key in ("axis", "channels") if key in old}
    else:
        texts = moments.of_rows(rows, report)
        if texts is None:
            return {"version": STATISTICS_VERSION, "classes": classes}
        values = values_of_rows(list(coded(rows.column("shape")).distinct), texts)
    return statistics | values | {"classes": classes}


def values_of_rows(shapes: Sequence[str], moments: Sequence[str]) -> dict[str, Any]:
    """Return the statistics of the values.

    They are per channel where all arrays have as many axes and channels, else of all values as one channel; and absent
    where an array is complex, as such numbers have no order.

    Args:
        shapes: that the arrays have, as in the manifest, each at least once.
        moments: of the arrays.

    Returns:
        `axis`: -1, or None for one channel; `channels`: name of a number -> its value for each channel, None if there is none.
    """
    if not all(moments):
        return {}
    distinct = {shape: parse_shape(shape) for shape in set(shapes)}
    kinds = {(len(shape), channels_of(shape), shape[-1] if shape else 1) for shape in distinct.values()}
    decoded = decode_moments(moments)
    channels = next(iter(kinds))[1] if len(kinds) == 1 else 1
    own_axis = len(kinds) == 1 and all(shape and shape[-1] == channels for shape in distinct.values())
    per_channel = decoded.reshape(-1, channels, decoded.shape[1]) if own_axis else decoded[:, None]
    combined = [combine(per_channel[:, channel]) for channel in range(per_channel.shape[1])]
    return {"axis": -1 if own_axis else None, "channels": _as_columns(combined)}


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


def class_counts(table: Table, metadata: Metadata) -> dict[str, dict[str, dict[str, int]]]:
    """Return label column -> split (`all` without splits) -> class -> number of rows."""
    splits = split_order(coded(table.column("split")).distinct, metadata.splits.get("names", ())) if "split" in table else ()
    return {
        column: class_counts_by_split(table, column, spec.classes, splits) if column in table else {}
        for column, spec in metadata.labels.items()
    }


def _splits(table: Table) -> list[str]:
    return values_of(table.column("split")) if "split" in table else [""] * len(table)


def union_statistics(table: Table, metadata: Metadata, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the statistics of a union: those of a part whose training rows are the union's, else the classes alone.

    Args:
        table: all rows of the union.
        metadata: of the union.
        parts: the statistics of the datasets that were put together; nothing comes of none.
    """
    if not any(parts):
        return {}
    splits = _splits(table)
    ids, sha256s = values_of(table.column("id")), values_of(table.column("sha256"))
    kept = next((part for part in parts if "digest" in part and mismatch(part, ids, splits, sha256s) is None), {})
    return {"version": STATISTICS_VERSION} | dict(kept) | {"classes": class_counts(table, metadata)}
