"""Whether a build has nothing to do: then the dataset's files are not written again."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from manifests.format.schema import FAILURES_NAME, MANIFEST_NAME, METADATA_NAME
from manifests.rows import arrow
from manifests.rows.buffers import number_array
from manifests.rows.table import distinct
from prep.build.plan.prepare import Prepared
from prep.build.recipe.options import BuildOptions
from prep.build.state.fingerprints import as_prints
from prep.sources.items import COLUMN, column_names

if TYPE_CHECKING:
    import pyarrow as pa


def is_unchanged(prepared: Prepared, request: dict[str, Any], out: Path) -> bool:
    """Return whether a build would write the same files again.

    Args:
        prepared: what is planned.
        request: as `request_of` returns it.
        out: the dataset's folder.
    """
    plan, old = prepared.plan, prepared.old
    if old is None or len(plan.due) or prepared.failures or (len(plan.gone_rows) and prepared.prune) or (out / FAILURES_NAME).exists():
        return False
    if plan.others_stay:
        return True
    return prepared.state.about.get("request") == request and _rows_are_the_same(prepared, old.table)


def request_of(prepared: Prepared, out: Path, options: BuildOptions) -> dict[str, Any]:
    """Return all that decides the dataset's files beside the raw items, and how those files look from outside."""
    labels = options.source.labels
    asked = replace(
        options,
        source=replace(options.source, labels=None if labels is None else Path(os.path.abspath(labels))),
        checksum=bool(options.checksum),
        forget=(),
        shards=prepared.shards,
        splits=prepared.splits,
        workers=None,
        item_timeout=None,
        stop_after_failures=None,
        only_failed=False,
        allow_code=False,
    )
    listing = prepared.listing
    return {
        "options": repr(asked),
        "recipe": prepared.recipe.digest,
        "labels": [listing.label_origin, *listing.label_columns],
        "columns": column_names(listing.items),
        "files": [_looks(out / name) for name in (MANIFEST_NAME, METADATA_NAME)],
    }


def _looks(path: Path) -> list[int] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def _rows_are_the_same(prepared: Prepared, rows: pa.Table) -> bool:
    """Return whether the rows say of each item what they would be made to say."""
    plan, items = prepared.plan, prepared.plan.items
    if COLUMN + "split" in items.column_names and prepared.splits is not None:
        return False
    wanted = {"label": "label", **{name: COLUMN + name for name in column_names(items)}, "source": "source"}
    if {*wanted}.difference(rows.column_names, {"label"}) or ("label" not in rows.column_names and any(distinct(items["label"]))):
        return False
    owned = np.flatnonzero(plan.owners >= 0)
    theirs = plan.owners[owned]
    if not (as_prints(rows["fingerprint"])[owned] == as_prints(items["fingerprint"])[theirs]).all():
        return False
    at, of = number_array(owned), number_array(theirs)
    return all(_same(rows[name].take(at), items[ours].take(of)) for name, ours in wanted.items() if name in rows.column_names)


def _same(one: pa.ChunkedArray, other: pa.ChunkedArray) -> bool:
    """Return whether two columns hold the same strings, be they dictionaries or not."""
    text = arrow.pa.large_string()
    return bool(one.cast(text).equals(other.cast(text)))
