"""Which shards of a dataset are there, from listing its folders instead of asking for each file."""

from __future__ import annotations

import enum
import os
from collections.abc import Callable
from itertools import groupby

import numpy as np
import numpy.typing as npt

from manifests.format.names import SHARD_FOLDER
from manifests.manifest import Manifest
from manifests.rows import arrow
from manifests.rows.table import strings
from prep.build.execute.shards import of_each_kind, shard_bytes


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
    """Return what is wrong with the shard of each row, by the values of `Damage`: uint8, shape (len(manifest),).

    Shards are looked for where a build writes them, `shards/<id>.npy`.
    """
    ids = manifest.table["id"]
    wanted = _sizes(manifest)
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
                folders[folder] = _listed(os.path.join(manifest.root, SHARD_FOLDER, folder))
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


def _sizes(manifest: Manifest) -> npt.NDArray[np.int64]:
    """Return the bytes that each shard should have: int64; -1 where no row says, 0, as no shard has, where this one does not."""
    if not {"shape", "dtype"} <= set(manifest.columns):
        return np.full(len(manifest), -1, dtype=np.int64)
    return of_each_kind(manifest.table, lambda shape, dtype: shard_bytes(shape, dtype) if shape and dtype else 0)
