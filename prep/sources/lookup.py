"""Which raw file a table's value means, among millions of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from manifests.columns import Column, ColumnBuilder, values_of
from manifests.joining import MatchFinder
from manifests.strings import Positions
from prep.sources.files import without_raw_suffix

NO_FILE, SEVERAL_FILES = -1, -2

_BLOCK = 65_536


def _name(path: str) -> str:
    return path.rpartition("/")[2]


_WAYS: tuple[Callable[[str], str], ...] = (str, without_raw_suffix, _name, lambda path: without_raw_suffix(_name(path)))


class FileLookup:
    """Finds the files that a table's values can mean.

    A value names a file by its path, its path without ending, its name, or its name without ending; the first of
    these that any file has counts.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        """Take the files' paths, which need not be UTF-8."""
        self.paths = paths
        self._finders: dict[int, MatchFinder] = {}

    def find(self, column: Column) -> Positions:
        """Return the position of the file that each value means: int64, shape (len(column),); `NO_FILE`, or `SEVERAL_FILES`.

        One way to name files after the other, so that of all that takes memory for each file, one is there at a time.
        """
        found = np.full(len(column), NO_FILE, dtype=np.int64)
        for number in range(len(_WAYS)):
            left = np.flatnonzero(found == NO_FILE)
            for start in range(0, len(left), _BLOCK):
                rows = left[start : start + _BLOCK]
                first, again = self._finder(number).find(list(map(_sought, values_of(column.select(rows)))))
                found[rows] = np.where(again, SEVERAL_FILES, first)
            self._finders.pop(number, None)
        return found

    def names_any(self, values: Sequence[str]) -> list[bool]:
        """Return whether each value means a file, or several."""
        return [bool(self._places(value)) for value in values]

    def candidates(self, value: str) -> list[str]:
        """Return all files that a value could mean."""
        return [self.paths[place] for place in self._places(value)]

    def _places(self, value: str) -> list[int]:
        sought = _sought(value)
        return next(filter(None, (self._finder(number).places(sought) for number in range(len(_WAYS)))), [])

    def _finder(self, number: int) -> MatchFinder:
        """Return what finds files by one of the ways to name them."""
        if number not in self._finders:
            way, names = _WAYS[number], ColumnBuilder(few=0)
            for start in range(0, len(self.paths), _BLOCK):
                names.add_bytes([_encoded(way(path)) for path in self.paths[start : start + _BLOCK]])
            self._finders[number] = MatchFinder(names.strings())
        return self._finders[number]


def _sought(value: str) -> bytes:
    return _encoded(value.removeprefix("./"))


def _encoded(text: str) -> bytes:
    """Return a text in UTF-8; bytes of a file's name that are none are told apart from all text by how Python reads them."""
    return text.encode(errors="surrogatepass")
