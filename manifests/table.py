"""The rows of a manifest by columns, in compact arrays: ten million rows in a gigabyte at most, and selected in milliseconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from manifests.columns import Coded, Column, ColumnBuilder, values_of
from manifests.names import SHARD_FOLDER, default_path
from manifests.strings import PackedStrings, Positions

if TYPE_CHECKING:
    import pandas as pd

_CHUNK_ROWS = 65_536

_BLOCK_ROWS = 16_384
"""Rows of which every value is a string at a time."""

PathKind = Literal["none", "default", "own", "mixed"]
"""Of a table's rows: none has a path; each has one, and it is `shards/<id>.npy`; each has one; some have one."""


class Files(NamedTuple):
    """Where rows' arrays are.

    Attributes:
        ids: of the rows.
        paths: of the shards, relative to the manifest.
        folders: what stands before each path's last `/`.
    """

    ids: PackedStrings
    paths: PackedStrings
    folders: Coded


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of string columns, of which `id` is one; nothing of it ever changes.

    Attributes:
        columns: name -> column, in the order of the file, of all rows that the table was made with.
        ids: the column `id`.
        id_folders: what stands before each ID's last `/`.
        path_folders: likewise of each path, if there are paths that are not the default ones.
        path_kind: which rows have a path.
        positions: int64, shape (k,): the rows that were selected; None for all of them.
    """

    columns: Mapping[str, Column]
    ids: PackedStrings
    id_folders: Coded
    path_folders: Coded | None
    path_kind: PathKind
    positions: Positions | None = None

    def __len__(self) -> int:
        return len(self.ids if self.positions is None else self.positions)

    def __contains__(self, name: object) -> bool:
        """Return whether there is such a column."""
        return name in self.columns

    @property
    def row_ids(self) -> PackedStrings:
        """IDs of the selected rows."""
        return self.ids if self.positions is None else self.ids.select(self.positions)

    def column(self, name: str) -> Column:
        """Return a column of the selected rows.

        Raises:
            KeyError: there is no such column.
        """
        column = self.columns[name]
        return column if self.positions is None else column.select(self.positions)

    def value(self, name: str, row: int) -> str:
        """Return one value.

        Args:
            name: of a column that is there.
            row: from 0.
        """
        column = self.columns[name]
        position = row if self.positions is None else int(self.positions[row])
        return column.distinct[int(column.codes[position])] if isinstance(column, Coded) else column[position]

    def select(self, keep: npt.NDArray[np.bool_]) -> Table:
        """Return the rows of a mask (bool, shape (len(self),))."""
        kept = np.flatnonzero(keep)
        return replace(self, positions=kept if self.positions is None else self.positions[kept])

    def to_frame(self) -> pd.DataFrame:
        """Return the selected rows as pandas has them: string columns, a RangeIndex."""
        import pandas as pd  # noqa: PLC0415  # slow to import, and most of what handles tables does without

        return pd.DataFrame({name: values_of(self.column(name)) for name in self.columns}, dtype=str)

    def with_columns(self, columns: Mapping[str, Column]) -> Table:
        """Return the selected rows with further columns, or others in the place of those of the same name; `id` and `path` stay.

        Args:
            columns: name -> column of the selected rows.
        """
        there = self if self.positions is None else self._whole()
        return replace(there, columns={**there.columns, **columns})

    def without(self, name: str) -> Table:
        """Return the rows without a column, which is neither `id` nor `path`."""
        return replace(self, columns={other: column for other, column in self.columns.items() if other != name})

    def _whole(self) -> Table:
        """Return the selected rows as all rows of a table."""
        path_folders = None if self.path_folders is None else self._selected(self.path_folders)
        columns = {name: self.column(name) for name in self.columns}
        ids = self.row_ids
        return replace(
            self, columns=columns, ids=ids, id_folders=self._selected(self.id_folders), path_folders=path_folders, positions=None
        )

    def blocks(self, names: Sequence[str]) -> Iterator[dict[str, list[str]]]:
        """Yield the values of some columns, some rows at a time."""
        for block in self.column_blocks(names):
            yield {name: values_of(column) for name, column in block.items()}

    def column_blocks(self, names: Sequence[str]) -> Iterator[dict[str, Column]]:
        """Yield some columns, some rows at a time."""
        for start in range(0, len(self), _BLOCK_ROWS):
            rows = np.arange(start, min(start + _BLOCK_ROWS, len(self)))
            rows = rows if self.positions is None else self.positions[rows]
            yield {name: self.columns[name].select(rows) for name in names}

    def files(self, folder: str) -> Files:
        """Return the selected rows' shards.

        Args:
            folder: of the shards that rows name no path for; empty for arrays beside the manifest.
        """
        ids = self.row_ids
        if self.path_kind in {"none", "default"}:
            before = f"{SHARD_FOLDER}/" if self.path_kind == "default" else f"{folder}/" if folder else ""
            folders = self._selected(self.id_folders)
            names = PackedStrings((before + name).rstrip("/") for name in folders.distinct)
            return Files(ids, ids.affixed(before, ".npy").written_out(), Coded(codes=folders.codes, distinct=names))
        paths = self.column("path")
        if self.path_kind == "own" and isinstance(paths, PackedStrings) and self.path_folders is not None:
            return Files(ids, paths, self._selected(self.path_folders))
        named = [path or default_path(id_, folder=folder) for path, id_ in zip(values_of(paths), ids, strict=True)]
        builder = ColumnBuilder(few=None)
        builder.add(_folders(named))
        return Files(ids, PackedStrings(named), builder.coded())

    def _selected(self, column: Coded) -> Coded:
        return column if self.positions is None else column.select(self.positions)


class TableBuilder:
    """Makes a table of rows that come in blocks, without holding their strings."""

    def __init__(self, names: Sequence[str]) -> None:
        """Begin a table without rows.

        Args:
            names: of the columns, each once, `id` among them.
        """
        self._columns = {name: ColumnBuilder(few=0) if name == "id" else ColumnBuilder() for name in names}
        self._id_folders, self._path_folders = ColumnBuilder(few=None), ColumnBuilder(few=None)
        self._path_kinds: set[PathKind] = set()

    def add(self, columns: Mapping[str, Sequence[str]]) -> None:
        """Append rows: name -> values, all of one length."""
        for name, builder in self._columns.items():
            builder.add(columns[name])
        ids, paths = columns["id"], columns.get("path", ())
        self._id_folders.add(_folders(ids))
        self._path_folders.add(_folders(paths))
        self._path_kinds.add(_path_kind(ids, paths))

    def table(self) -> Table:
        """Return the table of all rows."""
        ids = self._columns["id"].strings()
        columns = {name: ids if name == "id" else builder.column() for name, builder in self._columns.items()}
        kind = _common_kind(self._path_kinds)
        if kind == "default":
            columns["path"] = default_paths(ids)
        path_folders = self._path_folders.coded() if kind in {"own", "mixed"} else None
        return Table(columns=columns, ids=ids, id_folders=self._id_folders.coded(), path_folders=path_folders, path_kind=kind)


def default_paths(ids: PackedStrings) -> PackedStrings:
    """Return the path that each ID has by default; none is written out."""
    return ids.affixed(f"{SHARD_FOLDER}/", ".npy")


def table_of_columns(ids: PackedStrings, columns: Mapping[str, Column]) -> Table:
    """Return rows that have the default paths.

    Args:
        ids: of the rows.
        columns: the others, without `path`.
    """
    folders = ColumnBuilder(few=None)
    for start in range(0, len(ids), _CHUNK_ROWS):
        folders.add(_folders(ids.take(np.arange(start, min(start + _CHUNK_ROWS, len(ids))))))
    all_columns = {"id": ids, "path": default_paths(ids), **columns}
    return Table(columns=all_columns, ids=ids, id_folders=folders.coded(), path_folders=None, path_kind="default")


def table_of_frame(frame: pd.DataFrame) -> Table:
    """Return the rows of a frame of strings."""
    values = {str(name): list(frame[name]) for name in frame.columns}
    builder = TableBuilder(list(values))
    for start in range(0, len(frame), _CHUNK_ROWS):
        builder.add({name: column[start : start + _CHUNK_ROWS] for name, column in values.items()})
    return builder.table()


def _path_kind(ids: Sequence[str], paths: Sequence[str]) -> PathKind:
    if not any(paths):
        return "none"
    if not all(paths):
        return "mixed"
    return "default" if list(map(default_path, ids)) == list(paths) else "own"


def _common_kind(kinds: set[PathKind]) -> PathKind:
    """Return the kind of rows that come in blocks of these kinds."""
    if not kinds:
        return "none"
    if len(kinds) == 1:
        return next(iter(kinds))
    return "own" if kinds == {"default", "own"} else "mixed"


def _folders(names: Sequence[str]) -> list[str]:
    if "/" not in "".join(names):
        return [""] * len(names)
    return [name.rpartition("/")[0] for name in names]
