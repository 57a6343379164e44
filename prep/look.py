"""What is known of the raw files, from earlier builds and, where that does not tell, from looking into them now."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from manifests.schema import STATE_FOLDER
from manifests.strings import Positions
from prep.chunk import chunks_of
from prep.executors import Workers
from prep.gather import gather
from prep.known import NAME, Known
from prep.looking import LookChunk, Looked, look_chunk
from prep.records import UNKNOWN, Failure, Listing, Record, Records
from prep.report import Reporter

_BLOCK = 65_536
"""Records looked into before what was found is packed."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What is known of a listing's raw files.

    Attributes:
        records: of the listing.
        known: of each of them.
        usable: positions of those that could be read, as far as they had to be: int64.
        failures: of the others.
    """

    records: Records
    known: Known
    usable: Positions
    failures: Sequence[Failure]


def read_known(out: Path) -> Known | None:
    """Return what earlier builds found out, if they left it."""
    return Known.load(out / STATE_FOLDER / NAME)


def keep_known(known: Known, out: Path) -> None:
    """Keep what was found out for later builds; that it cannot be kept is no reason to stop."""
    before = read_known(out)
    if before is None or not before.equals(known):
        with contextlib.suppress(OSError):
            known.save(out / STATE_FOLDER / NAME)


def look_into(
    listing: Listing,
    before: Known | None,
    workers: Workers,
    report: Reporter,
    *,
    header: bool,
    content: bool,
    stop_after: int | None = None,
) -> Seen:
    """Find out what the survey and the plan need.

    Args:
        listing: of the source.
        before: what earlier builds found out, or None.
        workers: where files are read.
        report: shows how far it is.
        header: whether the headers of images must be known.
        content: whether to tell changed files by all their bytes, which are then read whatever is known.
        stop_after: so many failures end it early.
    """
    records = listing.records
    _look_again_from_outside(listing.root, records)
    known = Known.nothing(records) if before is None else before.of(records)
    header &= listing.format == "images"
    due = np.full(len(records), content) | (records.sizes == UNKNOWN) | (~known.facts["there"] if header else False)
    seen = Seen(records=records, known=known, usable=np.arange(len(records)), failures=[])
    failures = _read(listing.root, seen, np.flatnonzero(due), workers, report, header=header, content=content, stop_after=stop_after)
    return Seen(records=records, known=known, usable=np.delete(seen.usable, sorted(failures)), failures=list(failures.values()))


def read_headers(root: Path, seen: Seen, positions: Positions, workers: Workers, report: Reporter) -> Sequence[Failure]:
    """Read headers of images; return of which that cannot be done, and nothing is known."""
    failed = _read(root, seen, positions, workers, report, header=True, content=False)
    return list(failed.values())


def read_contents(root: Path, seen: Seen, positions: Positions, workers: Workers, report: Reporter) -> None:
    """Read files for their digests; one that cannot be read has none, and is told when it is built."""
    _read(root, seen, positions, workers, report, header=False, content=True)


def _read(
    root: Path,
    seen: Seen,
    positions: Positions,
    workers: Workers,
    report: Reporter,
    *,
    header: bool,
    content: bool,
    stop_after: int | None = None,
) -> dict[int, Failure]:
    """Fill in what is known of the files at these positions; return the failures by position."""
    failures: dict[int, Failure] = {}
    for start in range(0, len(positions), _BLOCK):
        block = positions[start : start + _BLOCK]
        records: list[Record] = seen.records.take(block)
        chunks = [LookChunk(root=root, records=part, header=header, content=content) for part in chunks_of(records, workers.count)]
        position_of = {record.id: position for position, record in zip(block.tolist(), records, strict=True)}

        def take(looked: Looked, position_of: Mapping[str, int] = position_of) -> None:
            at = [position_of[id_] for id_ in looked.ids]
            if header:
                seen.known.facts[at] = looked.facts
            if content:
                seen.known.digests[at] = looked.sha256s

        left = None if stop_after is None else stop_after - len(failures)
        failed = gather(workers, look_chunk, chunks, take=take, what="survey", report=report, stop_after=left)
        failures |= {position_of[failure.id]: failure for failure in failed}
    return dict(sorted(failures.items()))


def _look_again_from_outside(root: Path, records: Records) -> None:
    """Fill in size and time of the files that the listing does not tell them of."""
    for position in np.flatnonzero(records.sizes == UNKNOWN).tolist():
        with contextlib.suppress(OSError):
            status = os.stat(root / records.sources[position])
            records.sizes[position], records.times[position] = status.st_size, status.st_mtime_ns
