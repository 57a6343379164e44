"""Whether two datasets hold the same array for an ID, by reading both."""

from __future__ import annotations

from collections.abc import Callable

from manifests.format.npyfile import AnyArray
from manifests.manifest import Manifest
from manifests.rows.named_arrays import array_rows
from manifests.rows.table import strings


def same_arrays(a: Manifest, b: Manifest) -> Callable[[str], bool]:
    """Return a function from an ID to whether its arrays are the same: shape, dtype and every byte of the values.

    How a file lays them out (its header, the order of axes in it) does not count, and neither does a pack.

    Raises (the function):
        ArrayFileError: an array cannot be read, or is not of the shape and dtype that its row says.
    """
    having = [{name: set(strings(array_rows(manifest.table, name)["id"])) for name in manifest.arrays} for manifest in (a, b)]

    def same(id_: str) -> bool:
        arrays = [{name for name, ids in has.items() if id_ in ids} for has in having]
        return arrays[0] == arrays[1] and all(_are_same(a.load(id_, name), b.load(id_, name)) for name in (None, *sorted(arrays[0])))

    return same


def _are_same(first: AnyArray, second: AnyArray) -> bool:
    return first.shape == second.shape and first.dtype.name == second.dtype.name and _bytes(first) == _bytes(second)


def _bytes(array: AnyArray) -> bytes:
    """Return the values' bytes, little-endian; NaNs and negative zeros as they are."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
