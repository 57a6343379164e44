"""What IDs had in a column before, looked up for many at once: a dictionary of millions takes gigabytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np

from manifests.columns import Column, blank_column, values_of
from manifests.joining import positions_among
from manifests.strings import Names, PackedStrings

_BLOCK = 65_536


class KeptValues:
    """ID -> value, of rows that were there and of IDs that have no row."""

    def __init__(self, ids: PackedStrings, column: Column, absent: Mapping[str, str]) -> None:
        """Take rows and what is remembered beside them; a row counts more.

        Args:
            ids: of the rows.
            column: their values, empty where there is none.
            absent: ID -> value.
        """
        self._ids, self._column, self._absent = ids, column, absent

    @classmethod
    def nothing(cls) -> KeptValues:
        """Return that no ID had anything."""
        return cls(PackedStrings(), blank_column(0), {})

    def __bool__(self) -> bool:
        """Return whether there is any ID."""
        return bool(len(self._ids) or self._absent)

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Yield each ID with its value."""
        without_row = dict(self._absent)
        for start in range(0, len(self._ids), _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, len(self._ids)))
            for id_, value in zip(self._ids.take(rows), values_of(self._column.select(rows)), strict=True):
                without_row.pop(id_, None)
                yield id_, value
        yield from without_row.items()

    def get(self, id_: str) -> str:
        """Return one ID's value, empty if it had none."""
        return self._by_id.get(id_, "")

    def of(self, ids: Names) -> list[str]:
        """Return the value of each ID, empty if it had none."""
        if not self:
            return [""] * len(ids)
        at = positions_among(ids if isinstance(ids, PackedStrings) else PackedStrings(ids), self._ids)
        values: list[str] = []
        for start in range(0, len(at), _BLOCK):
            block = at[start : start + _BLOCK]
            found = iter(values_of(self._column.select(block[block >= 0])))
            values += [next(found) if there else "" for there in (block >= 0).tolist()]
        if self._absent:
            values = [
                value or ("" if row >= 0 else self._absent.get(id_, "")) for id_, row, value in zip(ids, at.tolist(), values, strict=True)
            ]
        return values

    @cached_property
    def _by_id(self) -> dict[str, str]:
        return dict(self.pairs())
