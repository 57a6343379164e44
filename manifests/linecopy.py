"""Rows of a new manifest that are as they were, copied as lines of the old one's file: then a few changes cost little to write."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from manifests.cache import Stamp, is_of
from manifests.columns import same_values
from manifests.csvfile import header_line, lines_of
from manifests.joining import positions_among
from manifests.regularfile import open_regular
from manifests.strings import Positions
from manifests.table import Table

_READ_BYTES = 1 << 22

_ROWS_AT_ONCE = 65_536
"""That are compared: what is taken of their columns does not grow with all of them."""

_OF_QUOTED = (b'"', b"\r", "\ufeff".encode())
"""What a file that we have written holds only if a value of it is quoted; then a line need not be a row."""

_OVERLAP = max(map(len, _OF_QUOTED)) - 1
"""Bytes of one read that may be the beginning of such a text, and the next read has the rest."""

_MOST_CHANGED = 0.5
"""Share of the rows above which all are written anew: looking for the others would cost more than it saves."""


class LinesGoneError(Exception):
    """The old file was changed while its lines were copied."""


@dataclass(frozen=True, kw_only=True)
class OldRows:
    """Rows, and the manifest that they were read from.

    Attributes:
        table: all of its rows.
        file: the manifest.
        stamp: of the file.
    """

    table: Table
    file: Path
    stamp: Stamp


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Lines of an old manifest that a new one has too.

    Attributes:
        source: the old file.
        stamp: of it.
        starts: where each of its rows begins, and behind them where the last one ends: int64, shape (rows + 1,).
        old: of each new row, which old one is the same: int64, shape (n,); -1 for none.
        ids_are_old: whether the new IDs are all among the old ones, each once.
    """

    source: BufferedReader
    stamp: Stamp
    starts: Positions
    old: Positions
    ids_are_old: bool

    @property
    def changed(self) -> npt.NDArray[np.bool_]:
        """Which new rows have no line that could be copied: bool, shape (n,)."""
        return self.old < 0

    def copy(self, first: int, last: int, target: BinaryIO) -> None:
        """Write the lines of some old rows, the last one included.

        Raises:
            LinesGoneError: the file was cut short, or cannot be read.
            OSError: the target cannot be written.
        """
        start, stop = int(self.starts[first]), int(self.starts[last + 1])
        while start < stop:
            data = self._read(min(stop - start, _READ_BYTES), start)
            target.write(data)
            start += len(data)

    def check(self) -> None:
        """See that the file was what it is, all the time.

        Raises:
            LinesGoneError: it was not, or cannot be told.
        """
        try:
            is_same = is_of(self.source, self.stamp)
        except OSError as error:
            raise LinesGoneError from error
        if not is_same:
            raise LinesGoneError

    def _read(self, size: int, start: int) -> bytes:
        try:
            data = os.pread(self.source.fileno(), size, start)
        except OSError as error:
            raise LinesGoneError from error
        if not data:
            raise LinesGoneError
        return data


def old_rows(table: Table, file: Path, stamp: Stamp | None) -> OldRows | None:
    """Return the rows of a manifest with the state of its file before it was read; None if that could not be told."""
    return None if stamp is None else OldRows(table=table, file=file, stamp=stamp)


@contextmanager
def copyable_lines(table: Table, names: Sequence[str], before: OldRows | None) -> Iterator[Lines | None]:
    """Find the lines of an old manifest that a new one will have; None if they are few, or it is not as we write it.

    Args:
        table: all rows of the new one, in the order of their IDs.
        names: of its columns, as they will stand in the file.
        before: the old one.
    """
    if before is None or len(names) < 2:  # a row of one empty value would be a blank line
        yield None
        return
    with ExitStack() as stack:
        try:
            source = stack.enter_context(open_regular(before.file))
            starts = _starts(source, names, len(before.table)) if is_of(source, before.stamp) else None
        except OSError:  # with the file, its lines are gone
            starts = None
        if starts is None:
            yield None
            return
        old, ids_are_old = _same_rows(table, names, before.table)
        is_worth_it = np.count_nonzero(old < 0) <= _MOST_CHANGED * len(table)
        yield Lines(source=source, stamp=before.stamp, starts=starts, old=old, ids_are_old=ids_are_old) if is_worth_it else None


def write_lines(table: Table, names: Sequence[str], lines: Lines, target: BinaryIO) -> None:
    """Write the bytes that `write_blocks` would: lines that can be copied, and between them the rows that changed.

    Raises:
        LinesGoneError: the old file was changed meanwhile.
        OSError: the target cannot be written.
    """
    target.write(header_line(names))
    fresh = (line for block in table.select(lines.changed).blocks(names) for line in lines_of(names, block))
    old = lines.old
    for start, stop in _runs(old):
        if old[start] < 0:
            target.writelines(next(fresh).encode() for _ in range(start, stop))
        else:
            lines.copy(int(old[start]), int(old[stop - 1]), target)
    lines.check()


def _starts(source: BufferedReader, names: Sequence[str], rows: int) -> Positions | None:
    """Return where each row begins, if each is a line and looks as we would write it; else None."""
    header = header_line(names)
    if os.pread(source.fileno(), len(header), 0) != header:
        return None
    ends, at, tail = [], 0, b""
    while data := os.pread(source.fileno(), _READ_BYTES, at):
        if any(text in tail + data for text in _OF_QUOTED):
            return None
        ends.append(np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == ord("\n")) + (at + 1))
        at, tail = at + len(data), (tail + data)[-_OVERLAP:]
    starts = np.concatenate([np.zeros(0, dtype=np.int64), *ends])
    return starts if len(starts) == rows + 1 and starts[-1] == at else None


def _same_rows(table: Table, names: Sequence[str], before: Table) -> tuple[Positions, bool]:
    """Return of each row which old one is the same, -1 for none: int64, shape (n,); and whether each ID is another of the old ones."""
    old = positions_among(table.row_ids, before.row_ids)
    ids_are_old = bool((old >= 0).all()) and bool((np.bincount(old, minlength=1) <= 1).all())
    # A default path says nothing that the ID does not.
    told_by_id = {"id", "path"} if table.path_kind == before.path_kind == "default" else {"id"}
    for name in names:
        if name in told_by_id:
            continue
        column, other = table.column(name), before.column(name)
        for start in range(0, len(old), _ROWS_AT_ONCE):
            rows = np.flatnonzero(old[start : start + _ROWS_AT_ONCE] >= 0) + start
            same = same_values(column.select(rows), other.select(old[rows]))
            old[rows[~same]] = -1
    return old, ids_are_old


def _runs(old: Positions) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of new rows whose lines follow each other in the old file, or that all have none."""
    if not len(old):
        return
    goes_on = np.where(old[:-1] < 0, old[1:] < 0, old[1:] == old[:-1] + 1)
    starts = np.flatnonzero(~goes_on) + 1
    yield from zip([0, *starts.tolist()], [*starts.tolist(), len(old)], strict=True)
