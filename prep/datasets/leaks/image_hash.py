"""Perceptual hashes of images, and digests of arrays, to find shards that look the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from manifests.errors import ArrayFileError
from manifests.format.names import resolve_inside
from manifests.format.npyfile import AnyArray, read_array, read_row
from prep.errors import UsageError

_SIDE = 8
"""Least pixels a side of what is taken for an image: below it, a hash of 64 bits says more than there is."""

Kind = Literal["image", "flat", "other", "unread"]


@dataclass(frozen=True, kw_only=True)
class LookTask:
    """Rows to look at; the columns are equally long.

    Attributes:
        root: the manifest's folder.
        positions: of the rows in the manifest.
        paths, rows: as in the manifest.
        hashed: whether each has a perceptual hash made.
        digested: whether each has its bytes digested.
    """

    root: str
    positions: Sequence[int]
    paths: Sequence[str]
    rows: Sequence[str]
    hashed: bool
    digested: Sequence[bool]


@dataclass(frozen=True, slots=True)
class Look:
    """What a row's array looks like.

    Attributes:
        position: of the row in the manifest.
        kind: `flat` is an image of one colour, whose hash would be that of every other; `other` is no image.
        hash: perceptual, of an image.
        digest: of the array's shape, dtype and bytes, if it was asked for.
    """

    position: int
    kind: Kind
    hash: int = 0
    digest: str = ""


def look_at(task: LookTask) -> list[Look]:
    """Read a task's shards; one that cannot be read is `unread`."""
    looks = []
    for position, path, row, digested in zip(task.positions, task.paths, task.rows, task.digested, strict=True):
        array = _read(task.root, path, row)
        if array is None:
            looks.append(Look(position, "unread"))
            continue
        digest = _digest(array) if digested else ""
        pixels = _as_pixels(array) if task.hashed else None
        if pixels is None:
            looks.append(Look(position, "other", digest=digest))
        elif not pixels.size:
            looks.append(Look(position, "flat", digest=digest))
        else:
            looks.append(Look(position, "image", _perceptual_hash(pixels), digest))
    return looks


def check_hashing() -> None:
    """Refuse to go on without the library of perceptual hashes.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import imagehash  # noqa: F401, PLC0415  # an extra, and slow to import
    except ImportError as error:
        raise UsageError("finding near-identical images needs ImageHash: pip install 'shardfeed[leaks]'; or pass --no-near") from error


def _read(root: str, path: str, row: str) -> AnyArray | None:
    inside = resolve_inside(root, path)
    try:
        return None if inside is None else read_row(inside, int(row)) if row else read_array(Path(os.fspath(inside)))
    except (ArrayFileError, OSError):
        return None


def _digest(array: AnyArray) -> str:
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape}\n".encode())
    digest.update(np.ascontiguousarray(array).data if array.ndim else array.tobytes())
    return digest.hexdigest()


def _as_pixels(array: AnyArray) -> AnyArray | None:
    """Return an image's pixels, uint8 of shape (height, width) or (height, width, 3), stretched to the whole range.

    A hash tells bright from dark, so neither a factor nor an offset changes it: the range does not matter.

    Returns:
        None if the array is no image; an empty array if it is of one colour, or has values that are no numbers.
    """
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]  # (height, width)
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] == 3):
        return None
    if min(array.shape[:2]) < _SIDE or array.dtype.kind not in "buif":
        return None
    values = array.astype(np.float64)
    low, high = values.min(), values.max()
    one_colour = (values == values[0, 0]).all()
    if one_colour or not np.isfinite(high - low) or high == low:
        return np.zeros((0,), dtype=np.uint8)
    pixels: AnyArray = np.rint((values - low) * (255 / (high - low))).astype(np.uint8)
    return pixels


def _perceptual_hash(pixels: AnyArray) -> int:
    import imagehash  # noqa: PLC0415  # an extra, and slow to import
    from PIL import Image  # noqa: PLC0415  # likewise

    bits = imagehash.phash(Image.fromarray(pixels)).hash  # (8, 8), bool
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
