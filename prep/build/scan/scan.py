"""What is known of the raw files, from earlier builds and, where that does not tell, from looking into them now."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from manifests.rows import arrow
from manifests.rows.buffers import Positions, number_array, numbers
from manifests.rows.table import select, strings
from prep.build.execute.chunk import chunks_of
from prep.build.scan.headers import LookChunk, Looked, look_chunk
from prep.build.state.digests import DIGEST_BYTES
from prep.build.state.state import Facts, State
from prep.parallel.executors import Workers
from prep.parallel.gather import gather
from prep.progress.report import Reporter
from prep.readers.parameters import ReaderOptions
from prep.readers.reader import SurveyedReader
from prep.readers.registry import reader_of
from prep.sources.items import UNKNOWN, Item, items_at
from prep.sources.listing import Failure, Listing

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What is known of the raw files of a source.

    Attributes:
        root: the source's folder.
        format: name of the reader of the raw files.
        items: of the listing, with the columns `header` and `content`.
        usable: positions of those that could be read, as far as they had to be: int64.
        failures: of the others.
    """

    root: Path
    format: str
    items: pa.Table
    usable: Positions
    failures: Sequence[Failure]

    @property
    def usable_items(self) -> pa.Table:
        """The items that could be read."""
        if len(self.usable) == len(self.items):
            return self.items
        keep = np.zeros(len(self.items), dtype=np.bool_)
        keep[self.usable] = True
        return select(self.items, keep)


def scan(
    listing: Listing,
    state: State,
    workers: Workers,
    report: Reporter,
    *,
    header: bool,
    content: bool,
    stop_after: int | None = None,
) -> Scan:
    """Find out what the survey and the plan need.

    Args:
        listing: of the source.
        state: what earlier builds know.
        workers: where files are read.
        report: shows how far it is.
        header: whether headers must be known, if the reader has any.
        content: whether to tell changed files by all their bytes, which are then read whatever is known.
        stop_after: so many failures end it early.
    """
    items = _look_from_outside(listing.root, listing.items)
    seen = Scan(root=listing.root, format=listing.format, items=items, usable=np.arange(len(items)), failures=[])
    facts = Facts.known(state, items)
    header &= isinstance(reader_of(listing.format), SurveyedReader)
    due = np.full(len(items), content) | (numbers(items["size"], np.int64) == UNKNOWN) | (~facts.have_header if header else False)
    look = _Look(seen, facts, workers, report)
    failures = look.into(np.flatnonzero(due), header=header, content=content, stop_after=stop_after)
    return replace(seen, items=facts.put_into(items), usable=np.delete(seen.usable, sorted(failures)), failures=list(failures.values()))


def read_headers(seen: Scan, positions: Positions, workers: Workers, report: Reporter) -> tuple[Scan, Sequence[Failure]]:
    """Return the same with the headers of some items; and of which it cannot be read, and stays unknown."""
    facts = Facts.of(seen.items)
    failed = _Look(seen, facts, workers, report).into(positions, header=True)
    return replace(seen, items=facts.put_into(seen.items)), list(failed.values())


def read_contents(seen: Scan, positions: Positions, workers: Workers, report: Reporter) -> Scan:
    """Return the same with the digests of some files; one that cannot be read has none, and is told when it is built."""
    facts = Facts.of(seen.items)
    _Look(seen, facts, workers, report).into(positions, content=True)
    return replace(seen, items=facts.put_into(seen.items))


def unreadable(seen: Scan, positions: Positions, options: ReaderOptions, workers: Workers, report: Reporter) -> Positions:
    """Return which of some items cannot be read in full, as far as it matters: up to the first that can be.

    Args:
        seen: what is known of the raw files.
        positions: of the items among the usable ones (int64), in the order in which to try.
        options: of the reader.
        workers: where items are read, as one may bring its process down.
        report: where notes and progress go.

    Returns:
        Some of the positions: int64.
    """
    look = _Look(seen, Facts(0), workers, report)
    start, count = 0, 1
    while start < len(positions):  # ever more at a time, as hardly ever more than one is needed
        some = positions[start : start + count]
        failed = look.into(seen.usable[some], whole=options)
        good = np.flatnonzero(~np.isin(seen.usable[some], list(failed)))
        if len(good):
            return positions[: start + int(good[0])]
        start, count = start + count, count * 4
    return positions


class _Look:
    """Looks into files in the workers, some thousands at a time."""

    def __init__(self, seen: Scan, facts: Facts, workers: Workers, report: Reporter) -> None:
        self._root = Path(os.path.abspath(seen.root))  # workers may have another current folder
        self._format, self._items, self._facts = seen.format, seen.items, facts
        self._workers, self._report = workers, report

    def into(
        self,
        positions: Positions,
        *,
        header: bool = False,
        content: bool = False,
        whole: ReaderOptions | None = None,
        stop_after: int | None = None,
    ) -> dict[int, Failure]:
        """Fill in what is known of the files at these positions; return the failures by position."""
        failures: dict[int, Failure] = {}
        for start in range(0, len(positions), arrow.ROWS_AT_ONCE):
            block = positions[start : start + arrow.ROWS_AT_ONCE]
            some: list[Item] = items_at(self._items, block)
            chunks = [
                LookChunk(root=self._root, format=self._format, items=part, header=header, content=content, whole=whole)
                for part in chunks_of(some, self._workers.count)
            ]
            position_of = {item.id: position for position, item in zip(block.tolist(), some, strict=True)}

            def take(looked: Looked, position_of: Mapping[str, int] = position_of) -> None:
                at = [position_of[id_] for id_ in looked.ids]
                if header:
                    self._facts.set_headers(at, looked.headers)
                if content and at:
                    self._facts.content[at] = np.frombuffer(b"".join(looked.contents), dtype=np.uint8).reshape(-1, DIGEST_BYTES)

            left = None if stop_after is None else stop_after - len(failures)
            failed = gather(self._workers, look_chunk, chunks, take=take, what="survey", report=self._report, stop_after=left)
            failures |= {position_of[failure.id]: failure for failure in failed}
        return dict(sorted(failures.items()))


def _look_from_outside(root: Path, items: pa.Table) -> pa.Table:
    """Fill in size and time of the files that the listing does not tell them of."""
    sizes, mtimes = numbers(items["size"], np.int64), numbers(items["mtime"], np.int64)
    unknown = np.flatnonzero(sizes == UNKNOWN)
    if not len(unknown):
        return items
    sizes, mtimes = sizes.copy(), mtimes.copy()
    for position, source in zip(unknown.tolist(), strings(items["source"].take(number_array(unknown))), strict=True):
        with contextlib.suppress(OSError):
            status = os.stat(root / source)
            sizes[position], mtimes[position] = status.st_size, status.st_mtime_ns
    for name, column in (("size", sizes), ("mtime", mtimes)):
        items = items.set_column(items.column_names.index(name), name, number_array(column))
    return items
