"""What earlier builds found out about raw files, so that an unchanged one is not opened again. Safe to delete.

A line of JSON that says what follows | arrays in NumPy's form, each at a multiple of 64 | SHA-256 of all before, 32 bytes
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import PIL
from numpy.lib import format as npy_format

from manifests.atomic import replacing
from manifests.joining import positions_among
from manifests.regularfile import open_regular
from manifests.strings import PackedStrings, Positions
from prep.records import UNKNOWN, Records
from prep.sources.facts import ImageFacts

NAME = "known"
"""File in the folder of the state of builds."""

FACTS = np.dtype([("height", "<i4"), ("width", "<i4"), ("gray", "?"), ("depth", "u1"), ("alpha", "?"), ("animated", "?"), ("there", "?")])
"""`ImageFacts` as one row; `there` is false for a file whose header nobody has read."""

DEPTHS = ("uint8", "uint16", "int32", "float32")

DIGEST_BYTES = 32

_MAGIC = {"known": 3, "pillow": PIL.__version__}
_ALIGNMENT = 64
_BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of raw files.

    Attributes:
        sources: of the files, relative to the source's folder.
        sizes, times: when they were looked into: int64, shape (n,).
        facts: of dtype `FACTS`, shape (n,).
        digests: SHA-256 of the content: uint8, shape (n, 32); all zero where nobody has read it.
        recipe: digest of the recipe that `prints` are for; empty if there are none.
        prints: fingerprints by size and time, of dtype `S32`, shape (n,) or (0,); empty where one is not known.
    """

    sources: PackedStrings
    sizes: npt.NDArray[np.int64]
    times: npt.NDArray[np.int64]
    facts: npt.NDArray[np.void]
    digests: npt.NDArray[np.uint8]
    recipe: str = ""
    prints: npt.NDArray[np.bytes_] = field(default_factory=lambda: np.zeros(0, dtype="S32"))

    @classmethod
    def nothing(cls, records: Records) -> Known:
        """Return that nothing is known of these records' files but what a look from outside tells."""
        return cls(
            sources=records.sources,
            sizes=records.sizes,
            times=records.times,
            facts=np.zeros(len(records), dtype=FACTS),
            digests=np.zeros((len(records), DIGEST_BYTES), dtype=np.uint8),
        )

    def of(self, records: Records) -> Known:
        """Return what of this still holds of these records' files, in their order; what is changed is unknown."""
        now = Known.nothing(records)
        at = positions_among(records.sources, self.sources)
        same = at >= 0
        same[same] = (self.sizes[at[same]] == records.sizes[same]) & (self.times[at[same]] == records.times[same])
        same &= records.sizes != UNKNOWN
        now.facts[same] = self.facts[at[same]]
        if self.digests.any():  # else the zeros would take memory that they do not take as long as nothing is written to them
            now.digests[same] = self.digests[at[same]]
        if not len(self.prints):
            return now
        prints = np.zeros(len(records), dtype="S32")
        prints[same] = self.prints[at[same]]
        return replace(now, recipe=self.recipe, prints=prints)

    def last_prints(self, recipe: str, sources: PackedStrings) -> npt.NDArray[np.bytes_]:
        """Return the fingerprints that files had when they were looked at, changed since or not: of dtype `S32`, shape (len(sources),).

        Args:
            recipe: of the fingerprints.
            sources: of the files; that of one of which nothing is known is empty.
        """
        at = positions_among(sources, self.sources)
        found = np.zeros(len(sources), dtype="S32")
        found[at >= 0] = self.prints_for(recipe, at[at >= 0])
        return found

    def prints_for(self, recipe: str, positions: Positions) -> npt.NDArray[np.bytes_]:
        """Return the fingerprints of some files by a recipe, empty where one is not known: of dtype `S32`, shape (k,)."""
        return self.prints[positions] if recipe == self.recipe and len(self.prints) else np.zeros(len(positions), dtype="S32")

    def with_prints(self, recipe: str, positions: Positions, prints: npt.NDArray[np.bytes_]) -> Known:
        """Return the same with the fingerprints of some files by a recipe."""
        if len(positions) == len(self.sources):
            return replace(self, recipe=recipe, prints=prints)
        every = np.zeros(len(self.sources), dtype="S32")
        every[positions] = prints
        return replace(self, recipe=recipe, prints=every)

    def updated(self, newer: Known) -> Known:
        """Return this with what another says of its files, those included of which this says nothing."""
        left = np.flatnonzero(positions_among(self.sources, newer.sources) < 0)
        return Known(
            sources=PackedStrings(chain(self.sources.select(left), newer.sources)),
            sizes=np.concatenate([self.sizes[left], newer.sizes]),
            times=np.concatenate([self.times[left], newer.times]),
            facts=np.concatenate([self.facts[left], newer.facts]),
            digests=np.concatenate([self.digests[left], newer.digests]),
            recipe=newer.recipe,
            prints=np.concatenate(
                [known.prints_for(newer.recipe, at) for known, at in ((self, left), (newer, np.arange(len(newer.sources))))]
            ),
        )

    def equals(self, other: Known) -> bool:
        """Return whether both say the same."""
        if self.recipe != other.recipe:
            return False
        mine, others = self._arrays(), other._arrays()
        return mine.keys() == others.keys() and all(np.array_equal(mine[name], others[name]) for name in mine)

    def save(self, path: Path) -> None:
        """Write this to a file.

        Raises:
            OSError: the file cannot be written.
        """
        arrays = self._arrays()
        with replacing(path, durable=False) as plain:
            file = _Digesting(plain)
            file.write(json.dumps({**_MAGIC, "recipe": self.recipe, "arrays": list(arrays)}).encode() + b"\n")
            for array in arrays.values():
                file.write(b"\0" * (-plain.tell() % _ALIGNMENT))
                npy_format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
            plain.write(file.digest.digest())

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        arrays = {f"source_{name}": array for name, array in self.sources.arrays().items()}
        arrays |= {"sizes": self.sizes, "times": self.times, "facts": self.facts}
        arrays |= {"prints": self.prints} if len(self.prints) else {}
        return arrays | ({"digests": self.digests} if self.digests.any() else {})

    @classmethod
    def load(cls, path: Path) -> Known | None:
        """Return what a file says, mapped into memory; None where there is none that this release can use."""
        try:
            with open_regular(path) as file:
                end = os.fstat(file.fileno()).st_size - DIGEST_BYTES
                if not _is_sound(file, end):
                    return None
                head = json.loads(file.readline())
                if not isinstance(head, dict) or {name: head.get(name) for name in _MAGIC} != _MAGIC:
                    return None
                arrays = {name: _mapped(file, path, end) for name in head["arrays"]}
            return cls._from(str(head["recipe"]), arrays)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # damaged or cut short: it is only a memory
            return None

    @classmethod
    def _from(cls, recipe: str, arrays: Mapping[str, npt.NDArray[Any]]) -> Known:
        prefix = "source_"
        sources = PackedStrings.of_arrays({name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)})
        count = len(sources)
        digests = arrays.get("digests", np.zeros((count, DIGEST_BYTES), dtype=np.uint8))
        kinds = {"sizes": (np.int64, (count,)), "times": (np.int64, (count,)), "facts": (FACTS, (count,))}
        if digests.shape != (count, DIGEST_BYTES) or any(
            arrays[name].dtype != dtype or arrays[name].shape != shape for name, (dtype, shape) in kinds.items()
        ):
            raise ValueError("arrays that do not belong together")
        prints = arrays.get("prints", np.zeros(0, dtype="S32"))
        if prints.dtype != np.dtype("S32") or len(prints) not in {0, count}:
            raise ValueError("fingerprints that do not belong to the files")
        columns = {name: arrays[name] for name in kinds}
        return cls(sources=sources, digests=digests, recipe=recipe, prints=prints, **columns)


def facts_row(facts: ImageFacts) -> tuple[int, int, bool, int, bool, bool, bool]:
    """Return facts as a row of dtype `FACTS`."""
    return facts.height, facts.width, facts.gray, DEPTHS.index(facts.depth), facts.alpha, facts.animated, True


class _Digesting:
    """A file to write to, and the SHA-256 of what was written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)


def _is_sound(file: BinaryIO, end: int) -> bool:
    """Return whether a file's bytes up to `end` have the digest that stands behind them; then it is at its beginning again."""
    digest = hashlib.sha256()
    for start in range(0, end, _BLOCK):
        digest.update(file.read(min(_BLOCK, end - start)))
    stored = file.read()
    file.seek(0)
    return stored == digest.digest()


def _mapped(file: BinaryIO, path: Path, end: int) -> npt.NDArray[Any]:
    """Return the array that a file goes on with, and go behind it."""
    file.seek(-file.tell() % _ALIGNMENT, os.SEEK_CUR)
    version = npy_format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"an array of version {version}")
    shape, fortran, dtype = npy_format.read_array_header_1_0(file)
    if fortran or dtype.hasobject:
        raise ValueError("an array of another kind")
    count = int(np.prod(shape, dtype=np.int64))
    offset = file.tell()
    file.seek(count * dtype.itemsize, os.SEEK_CUR)
    if file.tell() > end:
        raise ValueError("cut short")
    if not count:
        return np.zeros(shape, dtype=dtype)
    return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape).view(np.ndarray)
