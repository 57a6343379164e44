"""Shards of raw items that have another name now: copied, not built again."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from manifests.joining import positions_among
from manifests.names import default_path
from manifests.npyfile import read_stream
from manifests.strings import PackedStrings
from prep.copying import CopyItem, CopyTask, copy_shards
from prep.errors import OutputError
from prep.moments import moments_of
from prep.parts import Done, write_part
from prep.plan import packed
from prep.prepare import Prepared
from prep.shards import WrittenShard
from prep.written import Written

_FACTS = ("shape", "dtype", "sha256")


def copy_moved(prepared: Prepared, target: Path, is_done: npt.NDArray[np.bool_]) -> Written:
    """Copy the shards of records that only have another name now; one that is not as its row says is left to be built.

    Args:
        prepared: what was planned.
        target: the folder to write below, laid out as a dataset.
        is_done: of each record that is to be built, whether it need not be any more.

    Returns:
        Those that were copied; a part tells of them.

    Raises:
        OutputError: they cannot be written.
    """
    plan, old = prepared.plan, prepared.old
    if not plan.move or old is None:
        return Written.nothing()
    at = positions_among(PackedStrings(record.id for record, _ in plan.move), plan.to_build.ids).tolist()
    rows = positions_among(PackedStrings(row for _, row in plan.move), packed(old, "id")).tolist()
    moves = {record.id: (record, position) for (record, _), position in zip(plan.move, at, strict=True) if not is_done[position]}
    items = [
        CopyItem(id=record.id, path=default_path(row), row="", **{name: old.table.value(name, number) for name in _FACTS})
        for (record, row), number in zip(plan.move, rows, strict=True)
        if record.id in moves
    ]
    copied = copy_shards(CopyTask(root=old.root, target=target, items=items))
    done: list[Done] = [
        (moves[id_][0], (_with_moments(outcome, target),), None) for id_, outcome in copied if isinstance(outcome, WrittenShard)
    ]
    positions = {record.id: moves[record.id][1] for record, _, _ in done}
    fingerprints = {id_: bytes(plan.prints[position]).decode() for id_, position in positions.items()}
    try:
        return write_part(target, done, fingerprints=fingerprints, positions=positions)
    except OSError as error:
        raise OutputError(f"{error.filename or target}: cannot be written: {error.strerror or error}") from error


def _with_moments(shard: WrittenShard, target: Path) -> WrittenShard:
    path = target / default_path(shard.id)
    with open(path, "rb") as file:
        return replace(shard, moments=moments_of(read_stream(file, os.fspath(path))))
