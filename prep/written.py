"""What was written for many records, in columns: some tens of bytes a record, where objects would take a kilobyte."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from manifests.columns import Coded, ColumnBuilder, joined_codes
from manifests.schema import parse_shape
from manifests.strings import PackedStrings, Positions, are_all
from prep.known import DIGEST_BYTES, FACTS
from prep.moments import moment_bytes
from prep.sampleids import sample_ids

Numbers = npt.NDArray[np.int32]

NO_FACTS: npt.NDArray[np.void] = np.zeros(0, dtype=FACTS)

_BLOCK = 65_536
_MOST = np.iinfo(np.int64).max


@dataclass(frozen=True, kw_only=True)
class PartRows:
    """Where the moments of some samples are.

    Attributes:
        digest: SHA-256 of what a part says, in hex; its name follows from it.
        rows: samples that it tells of.
    """

    digest: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class Written:
    """Records whose shards are written, k of them, and their n samples, which stand in the order of their records.

    Attributes:
        positions: of the records among those that are to be built: int64, shape (k,).
        numbers: how many samples of each carry a number behind its ID: int32, shape (k,); 0 for a record that is itself the sample.
        shapes, dtypes: of the samples, in the manifest's notation: n rows.
        sha256s: of the shards' files: uint8, shape (n, 32).
        facts: what the headers of images say, of dtype `FACTS`: shape (k,), or (0,) if nothing is known of any.
        parts: that tell of these samples, and perhaps of others.
        rows: of each sample, among those of all parts one behind the other: int64, shape (n,).
    """

    positions: Positions
    numbers: Numbers
    shapes: Coded
    dtypes: Coded
    sha256s: npt.NDArray[np.uint8]
    facts: npt.NDArray[np.void]
    parts: tuple[PartRows, ...]
    rows: Positions

    @classmethod
    def nothing(cls) -> Written:
        """Return that nothing is written."""
        none: Positions = np.zeros(0, dtype=np.int64)
        column = Coded(codes=np.zeros(0, dtype=np.uint8), distinct=PackedStrings())
        sha256s = np.zeros((0, DIGEST_BYTES), dtype=np.uint8)
        return cls(
            positions=none,
            numbers=np.zeros(0, dtype=np.int32),
            shapes=column,
            dtypes=column,
            sha256s=sha256s,
            facts=NO_FACTS,
            parts=(),
            rows=none,
        )

    @classmethod
    def joined(cls, each: Sequence[Written]) -> Written:
        """Return all in one, in the order of the records; each record is in one of them."""
        each = sorted((one for one in each if len(one)), key=lambda one: int(one.positions[0]))
        if not each:
            return cls.nothing()
        whole = _concatenated(each)
        # Each chunk is in order, and where a build goes on from an earlier one, their chunks may reach into each other.
        return whole if (np.diff(whole.positions) > 0).all() else whole.select(np.argsort(whole.positions, kind="stable"))

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def counts(self) -> Numbers:
        """How many samples each record has: int32, shape (k,)."""
        return np.maximum(self.numbers, 1)

    def owners(self) -> Positions:
        """Return the position of each sample's record: int64, shape (n,)."""
        return np.repeat(self.positions, self.counts) if self.numbers.any() else self.positions

    def ids(self, records: PackedStrings) -> PackedStrings:
        """Return the samples' IDs.

        Args:
            records: IDs of all records that are to be built.
        """
        if not self.numbers.any():
            return records if are_all(self.positions, len(records)) else records.select(self.positions)
        builder = ColumnBuilder(few=0)
        names: list[str] = []
        for start in range(0, len(self), _BLOCK):
            block = slice(start, start + _BLOCK)
            for id_, number in zip(records.take(self.positions[block]), self.numbers[block].tolist(), strict=True):
                names += sample_ids(id_, number) if number else [id_]
                if len(names) >= _BLOCK:
                    builder.add(names)
                    names = []
        builder.add(names)
        return builder.strings()

    def select(self, which: Positions) -> Written:
        """Return some of the records, with their samples; the parts stay as they are.

        Args:
            which: int64, shape (j,): from 0 to k - 1.
        """
        samples = samples_of(self.counts, which)
        return replace(
            self,
            positions=self.positions[which],
            numbers=self.numbers[which],
            shapes=self.shapes.select(samples),
            dtypes=self.dtypes.select(samples),
            sha256s=self.sha256s[samples],
            facts=self.facts[which] if len(self.facts) else NO_FACTS,
            rows=self.rows[samples],
        )

    def cut(self, sizes: Sequence[tuple[int, int]]) -> Iterator[Written]:
        """Yield again what was put together of one part each.

        Args:
            sizes: how many records and samples each has.
        """
        record = sample = first = 0
        for part, (records, samples) in zip(self.parts, sizes, strict=True):
            own, theirs = slice(record, record + records), slice(sample, sample + samples)
            yield Written(
                positions=self.positions[own],
                numbers=self.numbers[own],
                shapes=Coded(codes=self.shapes.codes[theirs], distinct=self.shapes.distinct),
                dtypes=Coded(codes=self.dtypes.codes[theirs], distinct=self.dtypes.distinct),
                sha256s=self.sha256s[theirs],
                facts=self.facts[own],
                parts=(part,),
                rows=self.rows[theirs] - first,
            )
            record, sample, first = record + records, sample + samples, first + part.rows

    def without_facts(self) -> Written:
        """Return the same without what is known of headers."""
        return replace(self, facts=NO_FACTS)


class Collected:
    """Collects what was written as it comes, each of one part.

    Small arrays by the ten thousand would leave holes in the memory when they go: they are put into larger ones as they come.
    """

    def __init__(self, each: Sequence[Written] = ()) -> None:
        """Begin with what is written already."""
        self._pending: list[Written] = []
        self._large: list[tuple[Written, list[tuple[int, int]]]] = []
        self._count = 0
        self._records = 0
        self.add(each)

    def __len__(self) -> int:
        """Return how many records there are so far."""
        return self._records

    def are_here(self, count: int) -> npt.NDArray[np.bool_]:
        """Return of each of so many records that are to be built whether it is here: bool, shape (count,)."""
        here = np.zeros(count, dtype=np.bool_)
        for written in self.each():
            here[written.positions] = True
        return here

    def each(self) -> Iterator[Written]:
        """Yield what is here, in any order."""
        yield from self._pending
        yield from (written for written, _ in self._large)

    def add(self, each: Sequence[Written]) -> None:
        """Take in more."""
        for written in each:
            if len(written):
                self._pending.append(written)
                self._count += len(written.rows)
                self._records += len(written)
            if self._count >= _BLOCK:
                self._put_together()

    def joined(self) -> Written:
        """Return all in one, in the order of the records; nothing is left here."""
        self._put_together()
        large, self._large, self._records = self._large, [], 0
        return Written.joined([part for written, sizes in large for part in written.cut(sizes)])

    def _put_together(self) -> None:
        pending, self._pending, self._count = self._pending, [], 0
        if pending:
            self._large.append((_concatenated(pending), [(len(written), len(written.rows)) for written in pending]))


def _concatenated(each: Sequence[Written]) -> Written:
    """Return all in one, as they come."""
    behind = np.cumsum([0, *(part.rows for one in each for part in one.parts)])
    firsts = behind[np.cumsum([0, *(len(one.parts) for one in each)])[:-1]].tolist()
    return Written(
        positions=np.concatenate([one.positions for one in each]),
        numbers=np.concatenate([one.numbers for one in each]),
        shapes=joined_codes([one.shapes for one in each]),
        dtypes=joined_codes([one.dtypes for one in each]),
        sha256s=np.concatenate([one.sha256s for one in each]),
        facts=_joined_facts(each),
        parts=tuple(part for one in each for part in one.parts),
        rows=np.concatenate([one.rows + first for one, first in zip(each, firsts, strict=True)]),
    )


def samples_of(counts: Numbers, which: Positions) -> Positions:
    """Return where the samples of some records stand, of records that have so many each: int64."""
    firsts = np.cumsum(counts, dtype=np.int64) - counts
    own = counts[which]
    within = np.arange(own.sum()) - np.repeat(np.cumsum(own, dtype=np.int64) - own, own)
    samples: Positions = np.repeat(firsts[which], own) + within
    return samples


def for_each_kind(shapes: Coded, dtypes: Coded, function: Callable[[str, str], int]) -> npt.NDArray[np.int64]:
    """Return for each sample what a function gives for its shape and dtype, at most the greatest int64: shape (n,)."""
    width = max(len(dtypes.distinct), 1)
    values = np.zeros(len(shapes), dtype=np.int64)
    for start in range(0, len(shapes), _BLOCK):
        block = slice(start, start + _BLOCK)
        kinds, inverse = np.unique(shapes.codes[block].astype(np.int64) * width + dtypes.codes[block].astype(np.int64), return_inverse=True)
        pairs = [(shapes.distinct[kind // width], dtypes.distinct[kind % width]) for kind in kinds.tolist()]
        values[block] = np.array([min(function(*pair), _MOST) for pair in pairs], dtype=np.int64)[inverse]
    return values


def lengths_of_moments(shapes: Coded, dtypes: Coded) -> npt.NDArray[np.int64]:
    """Return how many bytes of moments each sample has: int64, shape (n,)."""
    return for_each_kind(shapes, dtypes, lambda shape, dtype: moment_bytes(parse_shape(shape), dtype))


def _joined_facts(each: Sequence[Written]) -> npt.NDArray[np.void]:
    if not any(len(one.facts) for one in each):
        return NO_FACTS
    return np.concatenate([one.facts if len(one.facts) else np.zeros(len(one), dtype=FACTS) for one in each])
