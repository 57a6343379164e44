"""Whether two datasets hold the same array for an ID, by reading both."""

from __future__ import annotations

from collections.abc import Callable

from manifests.format.npyfile import AnyArray
from manifests.manifest import Manifest


def same_arrays(a: Manifest, b: Manifest) -> Callable[[str], bool]:
    """Return a function from an ID to whether its arrays are the same: shape, dtype and every byte of the values.

    How a file lays them out (its header, the order of axes in it) does not count, and neither does a pack.

    Raises (the function):
        ArrayFileError: an array cannot be read, or is not of the shape and dtype that its row says.
    """

    def same(id_: str) -> bool:
        first, second = a.load(id_), b.load(id_)
        return first.shape == second.shape and first.dtype.name == second.dtype.name and _bytes(first) == _bytes(second)

    return same


def _bytes(array: AnyArray) -> bytes:
    """Return the values' bytes, little-endian; NaNs and negative zeros as they are."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
