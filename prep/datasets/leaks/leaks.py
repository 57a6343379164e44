"""Leaks: groups, identical shards and near-identical images that are in two splits or folds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from manifests.manifest import Manifest
from manifests.text import terminal_text
from prep.datasets.leaks.image_hash import Look, LookTask
from prep.text import counted, shown

DEFAULT_DISTANCE = 4
"""Bits of 64. A phash of two unrelated images differs in about 32; that it differs in at most 4 by chance has the odds
3.7e-14 if bits are independent, which is 0.02 pairs of a million images. docs/decisions has what storing an image anew changes."""

MAX_DISTANCE = 10

_TASK_ROWS = 256

Run = Callable[[Callable[[LookTask], list[Look]], Sequence[LookTask], Callable[[list[Look]], object]], None]
Kind = Literal["group", "identical", "near"]
Across = Literal["split", "fold"]


@dataclass(frozen=True, kw_only=True)
class Leak:
    """One thing in more than one place.

    Attributes:
        kind: IDs of one `group`; `identical` bytes; images that look the same, `near`.
        across: what it is in several of.
        name: of the group; empty otherwise.
        places: split or fold -> its IDs.
    """

    kind: Kind
    across: Across
    name: str
    places: Mapping[str, Sequence[str]]

    def __str__(self) -> str:
        where = "; ".join(f"{place}: {shown(list(ids), 10)}" for place, ids in self.places.items())
        what = {"group": f"group {self.name!r}", "identical": "identical bytes", "near": "near-identical images"}[self.kind]
        return f"leak: {what} in {counted(len(self.places), self.across)}: {where}"


@dataclass(frozen=True, kw_only=True)
class Leaks:
    """The outcome of looking for leaks.

    Attributes:
        found: groups first, then identical bytes, then near images.
        distance: bits by which near images may differ; None if they were not looked for.
        left_out: IDs of arrays that are no images, which only their bytes were compared of.
        flat: IDs of images of one colour, likewise.
        unread: IDs of shards that cannot be read.
        places: what the rows can leak across: splits, folds, both or nothing.
    """

    found: Sequence[Leak]
    distance: int | None
    left_out: Sequence[str]
    flat: Sequence[str]
    unread: Sequence[str]
    places: Sequence[Across]

    def notes(self) -> list[str]:
        """Say what was not compared, one sentence each."""
        notes = [] if self.places else ["leaks: the manifest has neither splits nor folds, so there is nothing to leak across"]
        for ids, why in (
            (self.left_out, "not an image: HxW, HxWx1 or HxWx3, with at least 8 pixels a side"),
            (self.flat, "an image of a single colour"),
        ):
            if ids and self.distance is not None:
                notes.append(f"leaks: {counted(len(ids), 'ID')} compared by bytes only ({why}): {shown(list(ids), 3)}")
        if self.unread:
            notes.append(f"leaks: {counted(len(self.unread), 'shard')} could not be read and compared: {shown(list(self.unread), 3)}")
        return notes

    def text(self) -> str:
        """Return a line for each leak."""
        return "".join(f"{terminal_text(str(leak))}\n" for leak in self.found)

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome for JSON."""
        return {
            "found": [{**vars(leak), "places": {place: list(ids) for place, ids in leak.places.items()}} for leak in self.found],
            "distance": self.distance,
            "left_out": list(self.left_out),
            "flat": list(self.flat),
            "unread": list(self.unread),
            "across": list(self.places),
        }


def look_tasks(manifest: Manifest, *, near: bool) -> list[LookTask]:
    """Cut the rows whose shards must be read into tasks: all of them for near images, else those without sha256."""
    frame, paths = manifest.frame, list(manifest.paths)
    absent = [""] * len(frame)
    sha256s, rows = (list(frame[name]) if name in frame.columns else absent for name in ("sha256", "row"))
    # The sha256 of a pack is not that of a row, and the digest of an array is not that of a file: all by one or all by the other.
    digested = not all(sha256s) or any(rows)
    positions = range(len(frame)) if near or digested else range(0)
    parts = [positions[start : start + _TASK_ROWS] for start in range(0, len(positions), _TASK_ROWS)]
    return [
        LookTask(
            root=os.fspath(manifest.root),
            positions=part,
            paths=[paths[position] for position in part],
            rows=[rows[position] for position in part],
            hashed=near,
            digested=[digested] * len(part),
        )
        for part in parts
    ]


def find_leaks(manifest: Manifest, looks: Sequence[Look], *, distance: int | None) -> Leaks:
    """Find what stands in two splits or folds although it is one thing.

    Args:
        manifest: the whole dataset's.
        looks: at the rows of `look_tasks`, in any order.
        distance: bits by which near images may differ; None leaves them.
    """
    frame, ids = manifest.frame, manifest.ids
    looks = sorted(looks, key=lambda look: look.position)
    places: dict[Across, list[str]] = {name: list(frame[name]) for name in ("split", "fold") if name in frame.columns and frame[name].any()}
    groups = list(frame["group"]) if "group" in frame.columns else [""] * len(frame)
    digests = list(frame["sha256"]) if "sha256" in frame.columns else [""] * len(frame)
    for look in looks:
        if look.digest:
            digests[look.position] = look.digest
        elif look.kind == "unread":
            digests[look.position] = ""
    found: list[Leak] = []
    alike = _near(looks, digests, distance) if distance is not None and places else []
    for across, of_row in places.items():
        found += _across("group", across, ids, of_row, candidates=_equal(groups), names=groups)
    for across, of_row in places.items():
        found += _across("identical", across, ids, of_row, candidates=_equal(digests))
    for across, of_row in places.items():
        found += _across("near", across, ids, of_row, candidates=alike)
    kinds = {kind: [ids[look.position] for look in looks if look.kind == kind] for kind in ("other", "flat", "unread")}
    return Leaks(
        found=found,
        distance=distance,
        left_out=kinds["other"] if distance is not None else [],
        flat=kinds["flat"],
        unread=kinds["unread"],
        places=list(places),
    )


def _equal(values: Sequence[str]) -> list[list[int]]:
    """Return the positions of each value that appears more than once; the empty one is none."""
    found: dict[str, list[int]] = {}
    for position, value in enumerate(values):
        if value:
            found.setdefault(value, []).append(position)
    return [positions for positions in found.values() if len(positions) > 1]


def _near(looks: Sequence[Look], digests: Sequence[str], distance: int) -> list[list[int]]:
    """Return positions of images that look alike, those of identical bytes alone left out."""
    images = [look for look in looks if look.kind == "image"]
    hashes, of_image = np.unique(np.array([look.hash for look in images], dtype=np.uint64), return_inverse=True)
    of_hash: list[list[int]] = [[] for _ in hashes]
    for look, number in zip(images, of_image.tolist(), strict=True):
        of_hash[number].append(look.position)
    joined = clusters(len(hashes), near_pairs(hashes, distance))
    alone = set(range(len(hashes))).difference(*joined) if joined else set(range(len(hashes)))
    candidates = [sorted(position for number in cluster for position in of_hash[number]) for cluster in joined]
    candidates += [of_hash[number] for number in alone]
    return sorted(members for members in candidates if len({digests[position] or str(position) for position in members}) > 1)


def _across(
    kind: Kind, across: Across, ids: Sequence[str], of_row: Sequence[str], *, candidates: Sequence[Sequence[int]], names: Sequence[str] = ()
) -> Iterator[Leak]:
    for members in candidates:
        places: dict[str, list[str]] = {}
        for position in members:
            if of_row[position]:
                places.setdefault(of_row[position], []).append(ids[position])
        if len(places) > 1:
            yield Leak(kind=kind, across=across, name=names[members[0]] if names else "", places=dict(sorted(places.items())))


BITS = 64

Hashes = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]


def near_pairs(hashes: Hashes, distance: int) -> Iterator[tuple[Positions, Positions]]:
    """Yield pairs of positions whose hashes differ in at most `distance` bits; a pair may come more than once.

    Of `distance + 1` bands of bits, two such hashes agree in at least one (the pigeonhole principle): only hashes that
    agree in a band are compared. Sorted by a band, these stand together, and each is compared with those behind it.

    Args:
        hashes: distinct, shape (n,).
        distance: from 0; less than 64.
    """
    bounds = np.linspace(0, BITS, distance + 2).astype(int)
    for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        band = (hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(band, kind="stable")
        band = band[order]
        starts = np.flatnonzero(np.r_[True, band[1:] != band[:-1]]) if len(band) else np.zeros(0, dtype=np.int64)
        lengths = np.diff(np.r_[starts, len(band)])
        behind = np.repeat(starts + lengths, lengths) - np.arange(len(band)) - 1  # how many follow in the same band
        left = np.flatnonzero(behind > 0)
        step = 1
        while len(left):
            one, other = order[left], order[left + step]
            near = np.bitwise_count(hashes[one] ^ hashes[other]) <= distance
            if near.any():
                yield one[near], other[near]
            step += 1
            left = left[behind[left] >= step]


def clusters(count: int, pairs: Iterator[tuple[Positions, Positions]]) -> list[list[int]]:
    """Return what pairs connect, directly or through others: sorted positions of each cluster of two or more, by its first.

    Args:
        count: of positions.
        pairs: arrays of positions, of equal length.
    """
    parent = list(range(count))

    def root(position: int) -> int:
        while parent[position] != position:
            parent[position] = parent[parent[position]]
            position = parent[position]
        return position

    for one, other in pairs:
        for left, right in zip(one.tolist(), other.tolist(), strict=True):
            low, high = sorted((root(left), root(right)))
            parent[high] = low
    found: dict[int, list[int]] = {}
    for position in range(count):
        found.setdefault(root(position), []).append(position)
    return [members for members in found.values() if len(members) > 1]
