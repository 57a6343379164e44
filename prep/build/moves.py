"""Renamed raw items: their shards are copied, not built again."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from manifests.format.names import array_folder, default_path
from manifests.format.npyfile import read_stream
from manifests.format.schema import array_names
from manifests.rows.buffers import number_array
from manifests.rows.table import value
from prep.build.execute.copying import CopyItem, CopyTask, copy_shards, further_items
from prep.build.execute.journal import Done, nothing_written, write_part
from prep.build.execute.shards import WrittenShard
from prep.build.plan.prepare import Prepared
from prep.build.state.fingerprints import as_prints
from prep.build.state.moments import moments_of
from prep.errors import OutputError
from prep.sources.items import items_at

if TYPE_CHECKING:
    import pyarrow as pa

_FACTS = ("shape", "dtype", "sha256")


def copy_moved(prepared: Prepared, target: Path, is_done: npt.NDArray[np.bool_]) -> pa.Table:
    """Copy the shards of items that only have another name now; one that is not as its row says is left to be built.

    Args:
        prepared: what was planned.
        target: the folder to write below, laid out as a dataset.
        is_done: of each item that is to be built, whether it need not be any more.

    Returns:
        Those that were copied, as `prep.build.execute.journal.WRITTEN` has it; a part tells of them.

    Raises:
        OutputError: they cannot be written.
    """
    plan, old = prepared.plan, prepared.old
    if old is None:
        return nothing_written()
    moved = np.array(sorted(plan.moved_from), dtype=np.int64)
    positions = np.searchsorted(plan.due, moved)
    moved, positions = moved[~is_done[positions]], positions[~is_done[positions]]
    items = {item.id: item for item in items_at(plan.items, moved)}
    rows = np.array([plan.moved_from[at] for at in moved.tolist()], dtype=np.int64)
    to_copy = _to_copy(old.table, dict(zip(items, rows.tolist(), strict=True)))
    copied = copy_shards(CopyTask(root=old.root, target=target, items=to_copy))
    done: list[Done] = [(items[id_], (_with_moments(found, target),), "") for id_, found in copied if isinstance(found, WrittenShard)]
    prints = as_prints(plan.items["fingerprint"])[moved].tolist()
    try:
        return write_part(
            target,
            done,
            fingerprints={id_: print_.decode() for id_, print_ in zip(items, prints, strict=True)},
            positions=dict(zip(items, positions.tolist(), strict=True)),
        )
    except OSError as error:
        raise OutputError(f"{error.filename or target}: cannot be written: {error.strerror or error}") from error


def _to_copy(rows: pa.Table, moved: Mapping[str, int]) -> list[CopyItem]:
    """Return what to copy of each moved item, given the row that it had under its old name: the main array first."""
    from_row: dict[int, list[CopyItem]] = defaultdict(list)
    some = rows.take(number_array(np.array(list(moved.values()), dtype=np.int64)))
    for name in array_names(rows.column_names):
        for position, item in further_items(some, name):
            from_row[position].append(replace(item, path=default_path(item.id, folder=array_folder(name)), row=""))
    to_copy: list[CopyItem] = []
    for position, id_ in enumerate(moved):
        facts = {name: value(some, name, position) for name in _FACTS}
        to_copy.append(CopyItem(id=id_, path=default_path(value(some, "id", position)), row="", **facts))
        to_copy += [replace(item, id=id_) for item in from_row[position]]
    return to_copy


def _with_moments(shard: WrittenShard, target: Path) -> WrittenShard:
    path = target / default_path(shard.id)
    with open(path, "rb") as file:
        return replace(shard, moments=moments_of(read_stream(file, os.fspath(path))))
