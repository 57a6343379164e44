"""Records: the raw items of a source before any of them is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal, overload

import numpy as np
import numpy.typing as npt

from manifests.columns import Column, ColumnBuilder, values_of
from manifests.strings import PackedStrings, Positions, are_all
from prep.text import printable

SourceFormat = Literal["images", "arrays"]

NO_LABELS = "none"
"""`Listing.label_origin` of a source without labels."""

_NO_COLUMNS_PACKED: Mapping[str, Column] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Record:
    """One raw item.

    Attributes:
        id: of the sample it becomes.
        source: the raw file, relative to the source's folder, with `/`.
        label: primary label, empty if there is none.
        columns: further manifest columns, under their own names.
    """

    id: str
    source: str
    label: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)  # a read-only one could not be pickled, and executors pickle


UNKNOWN = -1
"""Size of a raw file that could not be looked at, or was not."""

_BLOCK = 65_536


class Records(Sequence[Record]):
    """Records in compact arrays: some tens of bytes each, where an object would take hundreds.

    Attributes:
        ids, sources, labels: as of `Record`, a column each.
        columns: further columns by name; all records have the same.
        sizes: of the raw files in bytes: int64, shape (n,); `UNKNOWN` where nobody has looked.
        times: of their last change, in ns: int64, shape (n,).
    """

    def __init__(
        self,
        ids: PackedStrings,
        sources: PackedStrings,
        labels: Column,
        *,
        columns: Mapping[str, Column] = _NO_COLUMNS_PACKED,
        sizes: npt.NDArray[np.int64] | None = None,
        times: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Take columns of one length."""
        self.ids, self.sources, self.labels, self.columns = ids, sources, labels, columns
        self.sizes = np.full(len(ids), UNKNOWN, dtype=np.int64) if sizes is None else sizes
        self.times = np.full(len(ids), UNKNOWN, dtype=np.int64) if times is None else times

    @classmethod
    def of(cls, records: Iterable[Record]) -> Records:
        """Pack records; what the files are like is not known yet."""
        if isinstance(records, cls):
            return records
        records = list(records)
        columns: dict[str, ColumnBuilder] = {name: ColumnBuilder() for record in records for name in record.columns}
        for name, builder in columns.items():
            builder.add([record.columns.get(name, "") for record in records])
        labels = ColumnBuilder()
        labels.add([record.label for record in records])
        return cls(
            PackedStrings(record.id for record in records),
            PackedStrings(record.source for record in records),
            labels.column(),
            columns={name: builder.column() for name, builder in columns.items()},
        )

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        positions = np.arange(len(self))[index]
        taken = self.take(np.atleast_1d(positions))
        return taken if isinstance(index, slice) else taken[0]

    def __iter__(self) -> Iterator[Record]:
        for start in range(0, len(self), _BLOCK):
            yield from self.take(np.arange(start, min(start + _BLOCK, len(self))))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # it is compared by its content

    def take(self, positions: Positions) -> list[Record]:
        """Return the records at these positions (int64, shape (k,)) as objects."""
        extras: list[Mapping[str, str]] = [{}] * len(positions)
        if self.columns:
            values = [values_of(column.select(positions)) for column in self.columns.values()]
            extras = [dict(zip(self.columns, row, strict=True)) for row in zip(*values, strict=True)]
        rows = zip(self.ids.take(positions), self.sources.take(positions), values_of(self.labels.select(positions)), extras, strict=True)
        return [Record(id=id_, source=source, label=label, columns=extra) for id_, source, label, extra in rows]

    def select(self, positions: Positions) -> Records:
        """Return the records at these positions (int64, shape (k,)), packed; those of all are these themselves."""
        if are_all(positions, len(self)):
            return self
        return Records(
            self.ids.select(positions),
            self.sources.select(positions),
            self.labels.select(positions),
            columns={name: column.select(positions) for name, column in self.columns.items()},
            sizes=self.sizes[positions],
            times=self.times[positions],
        )


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One raw item that did not become a sample.

    Attributes:
        id: of the sample, or empty when none could be made from the item's name.
        source: the raw file, relative to the source's folder.
        stage: `find`, `read`, `transform`, `write`, `worker-died` or `timeout`.
        error: message in one line.
        type: name of the exception's type.
    """

    id: str
    source: str
    stage: str
    error: str
    type: str = "ItemError"


def failure_of(record: Record, stage: str, error: BaseException) -> Failure:
    """Return that a record failed by an error, which is of the type of what it came from in the first place."""
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    return Failure(id=record.id, source=record.source, stage=stage, error=printable(str(error)), type=type(root).__name__)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a source holds.

    Attributes:
        format: what the raw files are.
        root: the folder that `Record.source` is relative to.
        records: sorted by ID; IDs are safe and distinct on every disk. Any sequence is taken, and made one of columns.
        label_columns: columns that hold labels, the primary one called `label`; empty if there are none.
        label_origin: where labels come from, in words: another origin would give the same IDs other labels.
        failures: raw items found that cannot become records.
        notes: what was detected or left aside, one sentence each, for the user to see.
    """

    format: SourceFormat
    root: Path
    records: Records
    label_columns: tuple[str, ...]
    label_origin: str
    failures: Sequence[Failure]
    notes: Sequence[str]
