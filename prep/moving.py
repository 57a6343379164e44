"""Shards of raw items that have another name now: copied, not built again."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from manifests.names import default_path
from manifests.npyfile import read_stream
from prep.copying import CopyItem, CopyTask, copy_shards
from prep.moments import moments_of
from prep.prepare import Prepared
from prep.shards import WrittenShard

_FACTS = ("shape", "dtype", "sha256")


def copy_moved(prepared: Prepared, target: Path, done: Collection[str]) -> dict[str, tuple[WrittenShard, ...]]:
    """Copy the shards of records that only have another name now; one that is not as its row says is left to be built.

    Args:
        prepared: what was planned.
        done: IDs of records that need not be built any more.
        target: the folder to write below, laid out as a dataset.

    Returns:
        ID of the record -> its shard, for those that were copied.
    """
    plan, old = prepared.plan, prepared.old
    if not plan.move or old is None:
        return {}
    position = {id_: at for at, id_ in enumerate(old.ids)}
    items = [
        CopyItem(
            id=record.id,
            path=default_path(row),
            row="",
            **{name: old.table.value(name, position[row]) for name in _FACTS},
        )
        for record, row in plan.move
        if record.id not in done
    ]
    copied = copy_shards(CopyTask(root=old.root, target=target, items=items))
    return {id_: (_with_moments(outcome, target),) for id_, outcome in copied if isinstance(outcome, WrittenShard)}


def _with_moments(shard: WrittenShard, target: Path) -> WrittenShard:
    path = target / default_path(shard.id)
    with open(path, "rb") as file:
        return replace(shard, moments=moments_of(read_stream(file, os.fspath(path))))
