"""Many strings in few arrays: what a list of ten million Python strings costs a gigabyte for."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate

import numpy as np
import numpy.typing as npt

_MOST_PADDING = 1.25
"""Times the strings' own bytes: up to here they are padded to one length, since they are then taken in one step."""


class PackedStrings:
    """An immutable sequence of strings, held as UTF-8 in a matrix if they are of about one length, else end to end."""

    def __init__(self, strings: Iterable[str]) -> None:
        """Pack strings; none of them can be seen to change afterwards."""
        encoded = [string.encode() for string in strings]
        lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
        # NumPy takes zero bytes at the end of a fixed-width string for padding.
        fits = len(encoded) * int(lengths.max(initial=0)) <= _MOST_PADDING * int(lengths.sum())
        self._matrix = np.array(encoded, dtype=np.bytes_) if encoded and fits and not any(e.endswith(b"\0") for e in encoded) else None
        self._data = b"".join(encoded) if self._matrix is None else b""
        ends = accumulate(lengths.tolist(), initial=0) if self._matrix is None else ()
        self._bounds = np.fromiter(ends, dtype=np.int64)
        self._length = len(encoded)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, position: int) -> str:
        return self.take_bytes(np.array([position]))[0].decode()

    def take(self, positions: npt.NDArray[np.int64]) -> list[str]:
        """Return the strings at these positions (int64, shape (k,), each from 0)."""
        return [item.decode() for item in self.take_bytes(positions)]

    def take_bytes(self, positions: npt.NDArray[np.int64]) -> list[bytes]:
        """Return the same as `take`, as UTF-8."""
        if self._matrix is not None:
            taken: list[bytes] = self._matrix[positions].tolist()
            return taken
        starts, stops = self._bounds[positions].tolist(), self._bounds[positions + 1].tolist()
        data = self._data
        return [data[start:stop] for start, stop in zip(starts, stops, strict=True)]
