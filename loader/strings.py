"""Many strings in two arrays: what a list of ten million Python strings costs a gigabyte for."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate

import numpy as np
import numpy.typing as npt


class PackedStrings:
    """An immutable sequence of strings, held as UTF-8 bytes one after the other."""

    def __init__(self, strings: Iterable[str]) -> None:
        encoded = [string.encode() for string in strings]
        self._data = b"".join(encoded)
        self._bounds = np.fromiter(accumulate(map(len, encoded), initial=0), dtype=np.int64, count=len(encoded) + 1)

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __getitem__(self, position: int) -> str:
        return self.take_bytes(np.array([position]))[0].decode()

    def take(self, positions: npt.NDArray[np.int64]) -> list[str]:
        """Return the strings at these positions (int64, shape (k,), each from 0)."""
        return [item.decode() for item in self.take_bytes(positions)]

    def take_bytes(self, positions: npt.NDArray[np.int64]) -> list[bytes]:
        """Return the same as `take`, as UTF-8."""
        starts, stops = self._bounds[positions].tolist(), self._bounds[positions + 1].tolist()
        data = self._data
        return [data[start:stop] for start, stop in zip(starts, stops, strict=True)]
