"""The moments of a dataset's shards: from the parts of a build, from what was remembered, and else from the shards."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from manifests.columns import values_of
from manifests.errors import ArrayFileError
from manifests.names import resolve_inside
from manifests.npyfile import read_stream
from manifests.schema import STATE_FOLDER
from manifests.strings import Positions
from manifests.table import Table
from prep.digests import DigestFinder, Digests, digest_blocks
from prep.executors import Workers
from prep.known import DIGEST_BYTES
from prep.moments import moments_of
from prep.momentsource import MomentBlock, MomentSource
from prep.momentstore import StoredMoments, keep_moments
from prep.parts import read_moments
from prep.report import Reporter
from prep.shortage import check_shortage
from prep.text import shown
from prep.written import Written

_CHUNK_SHARDS = 256
_BLOCK = 4096
"""Rows whose moments are remembered together."""


@dataclass(frozen=True, kw_only=True)
class MomentsChunk:
    """Shards whose moments are to be worked out.

    Attributes:
        root: the dataset's folder.
        paths: of the shards, relative to it.
        sha256s: that they must have: uint8, shape (len(paths), 32).
    """

    root: Path
    paths: Sequence[str]
    sha256s: Digests


def moments_chunk(chunk: MomentsChunk) -> tuple[MomentBlock, list[str]]:
    """Read a chunk's shards; return the moments of those that are what the manifest says, and the paths of the others."""
    each = [_read(chunk.root, path, sha256.tobytes()) for path, sha256 in zip(chunk.paths, chunk.sha256s, strict=True)]
    good = [number for number, moments in enumerate(each) if moments is not None]
    found = [moments for moments in each if moments is not None]
    block = MomentBlock(digests=chunk.sha256s[good], lengths=np.array(list(map(len, found)), dtype=np.int64), moments=b"".join(found))
    return block, [path for path, moments in zip(chunk.paths, each, strict=True) if moments is None]


def _read(root: Path, path: str, sha256: bytes) -> bytes | None:
    try:
        inside = resolve_inside(root, path)
        content = b"" if inside is None else inside.read_bytes()
        return moments_of(read_stream(io.BytesIO(content), path)) if hashlib.sha256(content).digest() == sha256 else None
    except (OSError, ArrayFileError) as error:
        check_shortage(error, path)
        return None


class _PartMoments(MomentSource):
    """Moments in the parts of what a build has written."""

    def __init__(self, written: Written, stage: Path) -> None:
        super().__init__([part.rows for part in written.parts])
        self._parts, self._stage = written.parts, stage

    def load(self, number: int) -> MomentBlock:
        return read_moments(self._stage, self._parts[number])


class _ReadMoments(MomentSource):
    """Moments that were worked out just now."""

    def __init__(self, blocks: Sequence[MomentBlock]) -> None:
        super().__init__([len(block.digests) for block in blocks])
        self.digests: Digests = np.concatenate([np.zeros((0, DIGEST_BYTES), dtype=np.uint8), *(block.digests for block in blocks)])
        self._blocks = blocks

    def load(self, number: int) -> MomentBlock:
        return self._blocks[number]


class ShardMoments:
    """The moments of a dataset's shards; they are numbered through all the places in which they lie."""

    def __init__(self, written: Written, stage: Path, root: Path, workers: Workers) -> None:
        """Take what a build knows.

        Args:
            written: what this build wrote.
            stage: the folder in which its parts lie.
            root: the dataset's folder, in which the other shards lie.
            workers: read the shards of which nothing is known.
        """
        self._written = written
        self._parts = _PartMoments(written, stage)
        self._read = _ReadMoments([])
        self._root = root
        self._workers = workers

    @cached_property
    def _stored(self) -> StoredMoments:
        return StoredMoments(self._root / STATE_FOLDER)

    def of_rows(self, rows: Table, report: Reporter) -> Callable[[], Iterator[MomentBlock]] | None:
        """Return what gives the moments of all rows' shards, in any order; None if one is not what its row says, which is told."""
        at = self._places(rows)
        missing = np.flatnonzero(at < 0)
        if len(missing):
            wrong = self._read_shards(rows, missing, report)
            if wrong:
                report.note(
                    f"statistics: left out, as shards are missing or not what the manifest says: {shown(sorted(wrong))}; "
                    f"see prep verify {os.fspath(self._root)}"
                )
                return None
            at = self._places(rows)
        at.sort()
        return lambda: self._moments(at)

    def remember(self, table: Table) -> None:
        """Keep the moments of all rows of which they are known, and no others, for the next build; nothing if none is new."""
        if not len(self._written) and not len(self._read.digests):
            return
        at = self._places(table)
        is_new = np.ones(int(self._firsts[-1]) + 1, dtype=np.bool_)
        is_new[-1] = False  # that of -1

        def blocks() -> Iterator[MomentBlock]:
            for start in range(0, len(at), _BLOCK):
                _, first = np.unique(at[start : start + _BLOCK], return_index=True)
                block = at[start : start + _BLOCK][np.sort(first)]
                block = block[is_new[block]]
                is_new[block] = False
                found = list(self._moments(block))
                if found:
                    yield MomentBlock(
                        digests=np.concatenate([one.digests for one in found]),
                        lengths=np.concatenate([one.lengths for one in found]),
                        moments=b"".join([one.moments for one in found]),
                    )

        keep_moments(blocks(), self._root / STATE_FOLDER)

    def _moments(self, at: Positions) -> Iterator[MomentBlock]:
        """Yield moments by their numbers, in this order."""
        place = np.searchsorted(self._firsts, at, side="right") - 1
        cuts = [0, *(np.flatnonzero(np.diff(place)) + 1).tolist(), len(at)]
        for start, stop in pairwise(cuts):
            if start < stop:
                number = int(place[start])
                yield from (self._parts, self._stored, self._read)[number].read(at[start:stop] - self._firsts[number])

    @property
    def _firsts(self) -> Positions:
        """The first number of each place, and behind them how many numbers there are: int64, shape (4,)."""
        return np.cumsum([0, *(source.firsts[-1] for source in (self._parts, self._stored, self._read))])

    def _places(self, rows: Table) -> Positions:
        """Return the number of each row's moments: int64, shape (len(rows),); -1 where they are not known."""
        at = np.full(len(rows), -1, dtype=np.int64)
        places = ((self._written.sha256s, self._written.rows), (self._stored.digests, None), (self._read.digests, None))
        for (digests, numbers), first in zip(places, self._firsts.tolist(), strict=False):
            if not len(digests) or (at >= 0).all():
                continue
            finder = DigestFinder(digests)
            for block, sought in digest_blocks(rows):
                found = finder.positions(sought)
                found = np.where(found >= 0, (found if numbers is None else numbers[found]) + first, -1)
                at[block] = np.where(at[block] >= 0, at[block], found)
        return at

    def _read_shards(self, rows: Table, missing: Positions, report: Reporter) -> list[str]:
        """Work out the moments of some rows' shards; return the paths of those that are not what they must be."""
        is_missing = np.zeros(len(rows), dtype=np.bool_)
        is_missing[missing] = True
        rows = rows.select(is_missing)
        paths, digests = rows.column("path"), np.concatenate([digests for _, digests in digest_blocks(rows)])
        items = np.ascontiguousarray(digests).view(f"V{DIGEST_BYTES}").reshape(-1)
        _, last = np.unique(items[::-1], return_index=True)
        which = len(items) - 1 - last  # of shards that are the same bytes, one
        which.sort()
        chunks = (
            MomentsChunk(root=self._root, paths=values_of(paths.select(part)), sha256s=digests[part])
            for part in (which[start : start + _CHUNK_SHARDS] for start in range(0, len(which), _CHUNK_SHARDS))
        )
        wrong: list[str] = []
        found: list[MomentBlock] = []
        with report.progress(len(which), "statistics") as advance:

            def take(done: tuple[MomentBlock, list[str]]) -> None:
                found.append(done[0])
                wrong.extend(done[1])
                advance(len(done[0].digests) + len(done[1]))

            self._workers.run(moments_chunk, chunks, take)
        self._read = _ReadMoments(found)
        return wrong
