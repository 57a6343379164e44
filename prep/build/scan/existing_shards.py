"""Which shards of a dataset are there, from listing its folders instead of asking for each file."""

from __future__ import annotations

import enum
import os
from collections.abc import Callable
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from manifests.format.names import SHARD_FOLDER, array_folder
from manifests.manifest import Manifest
from manifests.rows import arrow
from manifests.rows.named_arrays import array_rows, rows_with_array
from manifests.rows.table import strings
from prep.build.execute.shards import of_each_kind, shard_bytes

if TYPE_CHECKING:
    import pyarrow as pa


class Damage(enum.IntEnum):
    """What is wrong with a shard as far as a look at its size tells; `prep verify` reads it."""

    NONE = 0
    MISSING = 1
    WRONG_SIZE = 2


Damages = npt.NDArray[np.uint8]
"""Of rows, by the values of `Damage`: uint8, shape (n,)."""

Look = Callable[[Manifest], Damages]
"""What says it of a dataset's rows, as `damage_of` does."""

_NAMES_AT_ONCE = 65_536


def damage_of(manifest: Manifest) -> Damages:
    """Return what is wrong with the shards of each row, by the values of `Damage`: uint8, shape (len(manifest),).

    They are looked for where a build writes them: `shards/<id>.npy`, and `arrays/<name>/<id>.npy` for further arrays that a row has. Of
    several that are damaged, one decides; a missing one before another.
    """
    rows = manifest.table
    damage = _damage(os.path.join(manifest.root, SHARD_FOLDER), rows["id"], _sizes(rows))
    for name in manifest.arrays:
        positions = rows_with_array(rows, name)
        some = array_rows(rows, name, positions)
        found = _damage(os.path.join(manifest.root, array_folder(name)), some["id"], _sizes(some))
        own = damage[positions]
        damage[positions] = np.where((found == Damage.NONE) | (own == Damage.MISSING), own, found)
    return damage


def _damage(root: str, ids: pa.ChunkedArray, wanted: npt.NDArray[np.int64]) -> Damages:
    """Return what is wrong with the files of one array.

    Args:
        root: the folder of the files.
        ids: of the samples.
        wanted: as by `_sizes`.
    """
    found = np.empty(len(ids), dtype=np.int64)
    folders: dict[str, dict[str, int]] = {}
    for start in range(0, len(ids), arrow.ROWS_AT_ONCE):
        names = strings(ids.slice(start, arrow.ROWS_AT_ONCE))
        at = start
        for folder, own in groupby(names, _folder_of):
            # IDs are sorted, so a folder that was left hardly ever comes again.
            if folder not in folders:
                if sum(map(len, folders.values())) > _NAMES_AT_ONCE:
                    folders.clear()
                folders[folder] = _listed(os.path.join(root, folder))
            sizes, skipped = folders[folder], len(folder) + 1 if folder else 0
            there = [sizes.get(f"{id_[skipped:]}.npy", -1) for id_ in own]
            found[at : at + len(there)] = there
            at += len(there)
    damage = np.zeros(len(ids), dtype=np.uint8)
    damage[(wanted >= 0) & (found != wanted)] = Damage.WRONG_SIZE
    damage[found < 0] = Damage.MISSING
    return damage


def _folder_of(id_: str) -> str:
    return id_[: max(id_.rfind("/"), 0)]


def _listed(folder: str) -> dict[str, int]:
    """Return name -> size of what a folder holds."""
    sizes: dict[str, int] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    sizes[entry.name] = entry.stat().st_size
                except OSError:  # a link that leads nowhere: missing
                    continue
    except (FileNotFoundError, NotADirectoryError):
        return sizes
    return sizes


def _sizes(rows: pa.Table) -> npt.NDArray[np.int64]:
    """Return the bytes that each shard should have: int64; -1 where no row says, 0, as no shard has, where this one does not."""
    if not {"shape", "dtype"}.issubset(rows.column_names):
        return np.full(len(rows), -1, dtype=np.int64)
    return of_each_kind(rows, lambda shape, dtype: shard_bytes(shape, dtype) if shape and dtype else 0)
