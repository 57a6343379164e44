"""Rows of which each column is checked when it is first used, as those of a cache: opening ten million rows does not read them all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


class CheckedRows:
    """Rows that may be damaged, and where to get them from if they are.

    Attributes:
        schema: of the rows.
    """

    def __init__(self, rows: pa.Table, is_intact: Callable[[str], bool], replacement: Callable[[], pa.Table]) -> None:
        """Take rows without looking at them.

        Args:
            rows: of which a column may hold anything until it is checked.
            is_intact: whether a column, by its name, is what was written.
            replacement: returns the same rows from elsewhere; it is asked as soon as one column turns out to be damaged.
        """
        self.schema: pa.Schema = rows.schema
        self._rows = rows
        self._unchecked = set(rows.column_names)
        self._is_intact = is_intact
        self._replacement = replacement

    def __len__(self) -> int:
        return len(self._rows)

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a column."""
        if name in self._unchecked:
            if self._is_intact(name):
                self._unchecked.discard(name)
            else:
                self._rows, self._unchecked = self._replacement(), set()
        return self._rows[name]

    def table(self) -> pa.Table:
        """Return all columns."""
        for name in self.schema.names:
            self.column(name)
        return self._rows

    def __reduce__(self) -> tuple[Callable[[pa.Table], CheckedRows], tuple[pa.Table]]:
        """Pickle the rows, checked; the file that they are mapped from is of this process."""
        return _intact, (self.table(),)


def _intact(rows: pa.Table) -> CheckedRows:
    return CheckedRows(rows, lambda _: True, lambda: rows)
