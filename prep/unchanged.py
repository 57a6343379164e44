"""Whether a build has nothing to do: then the dataset's files are not written again."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from manifests.atomic import replacing
from manifests.columns import Column, values_of
from manifests.schema import FAILURES_NAME, MANIFEST_NAME, METADATA_NAME, STATE_FOLDER
from prep.options import BuildOptions
from prep.owners import owners_of
from prep.plan import packed
from prep.prepare import Prepared

_NAME = "done.json"
_BLOCK = 65_536


def note_done(prepared: Prepared, out: Path, options: BuildOptions) -> None:
    """Note by what request the dataset is as it is; that it cannot be noted is no reason to stop."""
    with contextlib.suppress(OSError), replacing(out / STATE_FOLDER / _NAME, durable=False) as file:
        file.write(json.dumps(_request(prepared, out, options)).encode())


def is_unchanged(prepared: Prepared, out: Path, options: BuildOptions) -> bool:
    """Return whether a build would write the same files again."""
    plan, old = prepared.plan, prepared.old
    if old is None or len(plan.to_build) or prepared.failures or (plan.gone and prepared.prune) or (out / FAILURES_NAME).exists():
        return False
    if plan.others_stay:
        return True
    try:
        if json.loads((out / STATE_FOLDER / _NAME).read_bytes()) != _request(prepared, out, options):
            return False
    except (OSError, ValueError):
        return False
    return _rows_are_the_same(prepared)


def _request(prepared: Prepared, out: Path, options: BuildOptions) -> dict[str, object]:
    """Return all that decides the dataset's files beside the raw items, and how those files look from outside."""
    asked = replace(
        options,
        shards=prepared.shards,
        splits=prepared.splits,
        workers=None,
        item_timeout=None,
        stop_after_failures=None,
        only_failed=False,
    )
    listing = prepared.listing
    return {
        "options": repr(asked),
        "recipe": prepared.recipe.digest,
        "labels": [listing.label_origin, *listing.label_columns],
        "columns": list(listing.records.columns),
        "files": [_looks(out / name) for name in (MANIFEST_NAME, METADATA_NAME)],
    }


def _looks(path: Path) -> list[int]:
    status = os.stat(path)
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def _rows_are_the_same(prepared: Prepared) -> bool:
    """Return whether the rows say of each record what they would be made to say."""
    old, records = prepared.old, prepared.listing.records
    if old is None or ("split" in records.columns and prepared.splits is not None):
        return False
    owners = owners_of(old.table, records)
    rows = np.flatnonzero(owners >= 0)
    wanted: dict[str, Column] = {"label": records.labels, **records.columns, "source": records.sources}
    pairs = [(column, old.table.column(name)) for name, column in wanted.items() if name in old.table]
    if {*wanted}.difference(old.table.columns, {"label"}) or ("label" not in old.table and any(values_of(records.labels))):
        return False
    prints, written = prepared.plan.fingerprints, packed(old, "fingerprint")
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        theirs = owners[block]
        if any(values_of(new.select(theirs)) != values_of(there.select(block)) for new, there in pairs):
            return False
        if not _same_prints(prints, theirs, written.take(block)):
            return False
    return True


def _same_prints(prints: object, records: np.ndarray[tuple[int], np.dtype[np.int64]], written: Sequence[str]) -> bool:
    wanted = getattr(prints, "prints")[records]  # noqa: B009
    return [item.decode() for item in wanted.tolist()] == list(written)
