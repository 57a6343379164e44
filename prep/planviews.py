"""What a plan lists, as views of columns: of millions of records, each is made when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Literal, overload

import numpy as np
import numpy.typing as npt

from manifests.strings import PackedStrings, Positions
from prep.fingerprints import Prints
from prep.records import Record, Records

Reason = Literal["source changed", "recipe changed", "shard missing", "shard damaged"]

REASONS: tuple[Reason, ...] = ("source changed", "recipe changed", "shard missing", "shard damaged")
_BLOCK = 65_536


class Some(Sequence[Record]):
    """Some of the records, each taken when it is asked for."""

    def __init__(self, records: Records, positions: Positions) -> None:
        self._records, self._positions = records, positions

    def __len__(self) -> int:
        return len(self._positions)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        positions = self._positions[index]
        taken = self._records.take(np.atleast_1d(positions))
        return taken if isinstance(index, slice) else taken[0]

    def __iter__(self) -> Iterator[Record]:
        for start in range(0, len(self), _BLOCK):
            yield from self[start : start + _BLOCK]


class Reasoned(Sequence[tuple[Record, Reason]]):
    """Records to build again, each with the reason."""

    def __init__(self, records: Records, reasons: npt.NDArray[np.uint8]) -> None:
        self._records, self._reasons = records, reasons

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> tuple[Record, Reason]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[Record, Reason]]: ...
    def __getitem__(self, index: int | slice) -> tuple[Record, Reason] | list[tuple[Record, Reason]]:
        if isinstance(index, slice):
            return [(record, REASONS[code]) for record, code in zip(self._records[index], self._reasons[index].tolist(), strict=True)]
        return self._records[index], REASONS[self._reasons[index]]

    def __iter__(self) -> Iterator[tuple[Record, Reason]]:
        for record, code in zip(self._records, self._reasons.tolist(), strict=True):
            yield record, REASONS[code]


class PrintsById(Mapping[str, str]):
    """ID -> fingerprint; the dictionary is made when it is first asked for."""

    def __init__(self, ids: PackedStrings, prints: Prints) -> None:
        self.ids, self.prints = ids, prints

    def __getitem__(self, id_: str) -> str:
        return bytes(self.prints[self._numbers[id_]]).decode()

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {id_: number for number, id_ in enumerate(self.ids)}


class RowsById(Mapping[str, Sequence[str]]):
    """ID of a record -> IDs of its rows, in their order; records without one are left out."""

    def __init__(self, records: PackedStrings, rows: PackedStrings, owners: Positions) -> None:
        self._records, self._rows, self._owners = records, rows, owners

    def __getitem__(self, id_: str) -> Sequence[str]:
        return self._found[id_]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    @cached_property
    def _found(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for row, owner in zip(self._rows, self._owners.tolist(), strict=True):
            if owner >= 0:
                found.setdefault(self._records[owner], []).append(row)
        return found
