"""What a part says, in columns: written by a worker, and read back as what a stranger may have written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from manifests.columns import Coded, ColumnBuilder
from manifests.metadata import is_dtype_name
from manifests.names import default_path, name_problem, name_problems
from manifests.strings import PackedStrings, Positions
from prep.known import DEPTHS, DIGEST_BYTES, FACTS, facts_row
from prep.limits import MAX_SAMPLES
from prep.moments import decode_moments, some_moments
from prep.momentsource import MomentBlock
from prep.sampleids import sample_ids
from prep.shards import WrittenShard, shard_bytes
from prep.sources.facts import ImageFacts
from prep.written import NO_FACTS, Numbers, for_each_kind, lengths_of_moments, samples_of

_MOST_PIXELS = np.iinfo(np.int32).max
_MOST_OF_FACTS = {"height": _MOST_PIXELS, "width": _MOST_PIXELS, "gray": 1, "depth": len(DEPTHS) - 1, "alpha": 1, "animated": 1, "there": 1}

_MOST_VALUES = float(1 << 53)
"""Of one channel of a shard: as many as float64 can count."""


@dataclass(frozen=True, kw_only=True)
class PartContent:
    """Records whose shards are written, k of them, and their n samples.

    Attributes:
        ids: of the records.
        fingerprints: of each one's shards.
        numbers: as of `prep.written.Written`, and so are `shapes`, `dtypes`, `sha256s` and `facts`.
        moments: of the samples, one behind the other.
    """

    ids: Sequence[str]
    fingerprints: Sequence[str]
    numbers: Numbers
    shapes: Coded
    dtypes: Coded
    sha256s: npt.NDArray[np.uint8]
    facts: npt.NDArray[np.void]
    moments: bytes

    @classmethod
    def of(
        cls, ids: Sequence[str], fingerprints: Sequence[str], shards: Sequence[Sequence[WrittenShard]], facts: Sequence[ImageFacts | None]
    ) -> PartContent:
        """Take what was written for records, the IDs of whose samples follow from theirs.

        Args:
            ids: of the records.
            fingerprints: of each one's shards.
            shards: of each one's samples.
            facts: what the header of each says.
        """
        samples = [shard for own in shards for shard in own]
        numbers = [0 if len(own) == 1 and own[0].id == id_ else len(own) for id_, own in zip(ids, shards, strict=True)]
        digests = np.frombuffer(bytes.fromhex("".join(shard.sha256 for shard in samples)), dtype=np.uint8)
        rows = [(0, 0, False, 0, False, False, False) if one is None else facts_row(one) for one in facts]
        return cls(
            ids=ids,
            fingerprints=fingerprints,
            numbers=np.array(numbers, dtype=np.int32),
            shapes=_coded([shard.shape for shard in samples]),
            dtypes=_coded([shard.dtype for shard in samples]),
            sha256s=digests.reshape(-1, DIGEST_BYTES),
            facts=NO_FACTS if all(one is None for one in facts) else np.array(rows, dtype=FACTS),
            moments=b"".join([shard.moments for shard in samples]),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def lengths(self) -> npt.NDArray[np.int64]:
        """Return how many bytes of moments each sample has: int64, shape (n,)."""
        return lengths_of_moments(self.shapes, self.dtypes)

    def sizes(self) -> npt.NDArray[np.int64]:
        """Return the size of each sample's file in bytes: int64, shape (n,)."""
        return for_each_kind(self.shapes, self.dtypes, shard_bytes)

    def paths(self) -> list[str]:
        """Return the paths of the samples' shards, relative to the folder of a dataset."""
        if not self.numbers.any():
            return list(map(default_path, self.ids))
        names = (sample_ids(id_, number) if number else [id_] for id_, number in zip(self.ids, self.numbers.tolist(), strict=True))
        return [default_path(name) for own in names for name in own]

    def select(self, which: Positions) -> PartContent:
        """Return some of the records, with their samples (int64, shape (j,))."""
        samples = samples_of(np.maximum(self.numbers, 1), which)
        return PartContent(
            ids=[self.ids[number] for number in which.tolist()],
            fingerprints=[self.fingerprints[number] for number in which.tolist()],
            numbers=self.numbers[which],
            shapes=self.shapes.select(samples),
            dtypes=self.dtypes.select(samples),
            sha256s=self.sha256s[samples],
            facts=self.facts[which] if len(self.facts) else NO_FACTS,
            moments=some_moments(self.moments, self.lengths(), samples),
        )

    def encode(self) -> bytes:
        """Return this as bytes: the columns in a line of JSON, and behind it the moments."""
        columns = {
            "ids": list(self.ids),
            "fingerprints": list(self.fingerprints),
            "numbers": self.numbers.tolist(),
            **{name: [list(column.distinct), column.codes.tolist()] for name, column in (("shapes", self.shapes), ("dtypes", self.dtypes))},
            "sha256s": self.sha256s.tobytes().hex(),
            "facts": {name: self.facts[name].astype(np.int64).tolist() for name in _MOST_OF_FACTS} if len(self.facts) else {},
        }
        return json.dumps(columns).encode() + b"\n" + self.moments

    @classmethod
    def decode(cls, content: bytes) -> PartContent:
        """Return what `encode` wrote, every value checked.

        Raises:
            ValueError, TypeError, KeyError, RecursionError: it is damaged, or no build has written it.
        """
        line, _, moments = content.partition(b"\n")
        raw = json.loads(line)
        if type(raw) is not dict or raw.keys() != _COLUMNS:
            raise ValueError("it has other columns")
        ids, fingerprints = (_texts(raw[name]) for name in ("ids", "fingerprints"))
        numbers = _integers(raw["numbers"], len(ids), MAX_SAMPLES)
        count = int(np.maximum(numbers, 1).sum())
        decoded = cls(
            ids=ids,
            fingerprints=fingerprints,
            numbers=numbers.astype(np.int32),
            shapes=_checked_column(raw["shapes"], count),
            dtypes=_checked_column(raw["dtypes"], count),
            sha256s=np.frombuffer(_digests(raw["sha256s"]), dtype=np.uint8).reshape(count, DIGEST_BYTES),
            facts=_checked_facts(raw["facts"], len(ids)),
            moments=moments,
        )
        decoded._check()
        return decoded

    def _check(self) -> None:
        """Refuse columns that each are sound and do not go together, and names that no build gives.

        Raises:
            ValueError: they are so.
        """
        if not self.ids or len(self.fingerprints) != len(self.ids) or len(set(self.ids)) < len(self.ids):
            raise ValueError("records without an ID or a fingerprint of their own")
        if not all(map(str.isascii, self.fingerprints)):
            raise ValueError("fingerprints of no build")
        several = np.flatnonzero(self.numbers).tolist()
        last = [sample_ids(self.ids[at], int(self.numbers[at]))[-1] for at in several]
        if name_problems(self.ids) or any(map(name_problem, last)):
            raise ValueError("unsafe IDs")
        if not all(map(is_dtype_name, self.dtypes.distinct)):
            raise ValueError("unknown dtypes")
        if len(self.moments) != self.lengths().sum():
            raise ValueError("moments of other arrays")
        values = decode_moments(self.moments)[:, :2]
        if not ((values >= 0) & (values <= _MOST_VALUES)).all():
            raise ValueError("moments of no array")


def moments_in(content: bytes) -> MomentBlock:
    """Return the moments of what `PartContent.encode` gave, which is known to be as it was."""
    line, _, moments = content.partition(b"\n")
    raw = json.loads(line)
    shapes, dtypes = (
        Coded(codes=np.array(codes, dtype=np.uint64), distinct=PackedStrings(texts)) for texts, codes in (raw["shapes"], raw["dtypes"])
    )
    digests = np.frombuffer(bytes.fromhex(raw["sha256s"]), dtype=np.uint8).reshape(-1, DIGEST_BYTES)
    return MomentBlock(digests=digests, lengths=lengths_of_moments(shapes, dtypes), moments=moments)


_COLUMNS = {"ids", "fingerprints", "numbers", "shapes", "dtypes", "sha256s", "facts"}


def _coded(values: Sequence[str]) -> Coded:
    builder = ColumnBuilder(few=None)
    builder.add(values)
    return builder.coded()


def _texts(raw: object) -> list[str]:
    if type(raw) is not list or not all(type(item) is str for item in raw):
        raise TypeError("no list of texts")
    return raw


def _integers(raw: object, count: int, most: int) -> npt.NDArray[np.int64]:
    """Return integers from 0 to the greatest that is allowed."""
    array = np.array(raw if type(raw) is list else [])
    if array.shape != (count,) or array.dtype != np.int64 or (array < 0).any() or (array > most).any():
        raise TypeError("no list of such integers")
    return array


def _checked_column(raw: Any, count: int) -> Coded:
    distinct, codes = raw
    texts = _texts(distinct)
    if len(set(texts)) < len(texts):
        raise ValueError("values that stand twice")
    smallest = np.min_scalar_type(max(len(texts) - 1, 0))
    return Coded(codes=_integers(codes, count, len(texts) - 1).astype(smallest), distinct=PackedStrings(texts))


def _digests(raw: str) -> bytes:
    digests = bytes.fromhex(raw)
    if digests.hex() != raw:
        raise ValueError("no digests")
    return digests


def _checked_facts(raw: Any, count: int) -> npt.NDArray[np.void]:
    if raw == {}:
        return NO_FACTS
    if type(raw) is not dict or raw.keys() != _MOST_OF_FACTS.keys():
        raise ValueError("other facts")
    facts = np.zeros(count, dtype=FACTS)
    for name, most in _MOST_OF_FACTS.items():
        facts[name] = _integers(raw[name], count, most)
    return facts
