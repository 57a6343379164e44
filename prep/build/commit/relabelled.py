"""The same bytes under two labels: a file that moved to another class folder and left its row, and rows that contradict each other."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from manifests.manifest import Manifest
from manifests.rows import arrow
from manifests.rows.buffers import mask_array, number_array, positions_of
from manifests.rows.table import is_in, select, strings
from manifests.verification.shard_checks import Finding
from prep.sources.numbered_samples import SAMPLE_OF_SEVERAL, record_ids_of
from prep.text import counted

if TYPE_CHECKING:
    import pyarrow as pa

_SHOWN = 10

_Item = tuple[str, str, Hashable]
"""ID and label of a raw item, and what tells its bytes."""


@dataclass(frozen=True, kw_only=True)
class Relabelled:
    """A raw item that is gone, and one that is there with the same bytes under another label.

    Attributes:
        gone: ID of the item that is gone; its row is still there.
        gone_label: its label.
        id: ID of the other item.
        label: its label.
        by: what was compared: `bytes`; or `size and time` of the raw files, which is no proof.
    """

    gone: str
    gone_label: str
    id: str
    label: str
    by: Literal["bytes", "size and time"]

    def __str__(self) -> str:
        return f"{self.gone!r} ({self.gone_label}) -> {self.id!r} ({self.label})"


def relabelled_rows(rows: pa.Table, gone: pa.ChunkedArray | pa.Array, *, several: bool) -> list[Relabelled]:
    """Find raw items that are gone and whose shards have the bytes of another item's under another label, by the rows' SHA-256.

    Args:
        rows: of the dataset.
        gone: IDs of those whose raw item is gone.
        several: whether an item may have several samples; then all of them must be the same.
    """
    if not len(gone) or not {"label", "sha256"}.issubset(rows.column_names):
        return []
    rows = rows.select(["id", "label", "sha256"])
    is_gone = positions_of(rows["id"], gone) >= 0
    is_alike = (positions_of(rows["sha256"], select(rows, is_gone)["sha256"]) >= 0) & ~is_in(rows["sha256"], [""])
    one, other = (_items(select(rows, is_alike & which), several=several) for which in (is_gone, ~is_gone))
    return _paired(one, other, "bytes")


def relabelled_by_plan(due: pa.Table, gone: pa.Table, *, several: bool, by_content: bool) -> list[Relabelled]:
    """Find raw items that are gone and, by their fingerprint, will be built again under another label.

    Args:
        due: the items that a build has to write: `id`, `label` and `fingerprint`.
        gone: the rows that are there of items that are gone: `id`, `label` and `fingerprint`.
        several: whether an item may have several samples.
        by_content: whether fingerprints tell content; else they tell size and time of change.
    """
    prints = due["fingerprint"].cast(arrow.pa.large_binary()).cast(arrow.pa.large_string())
    gone = select(gone, positions_of(gone["fingerprint"], prints) >= 0)
    is_due = positions_of(prints, gone["fingerprint"]) >= 0
    due, prints = select(due, is_due), prints.filter(mask_array(is_due))
    ids = record_ids_of(gone["id"]) if several else gone["id"]
    ones = {one[0]: one for one in zip(strings(ids), strings(gone["label"]), strings(gone["fingerprint"]), strict=True)}
    others = zip(strings(due["id"]), strings(due["label"]), strings(prints), strict=True)
    return _paired(ones.values(), others, "bytes" if by_content else "size and time")


def warning_of(found: Sequence[Relabelled], gone: int) -> str:
    """Say in one line which items are gone and there under another label, and what to do.

    Args:
        found: the items; at least one.
        gone: number of rows without a raw item.
    """
    names = ", ".join(map(str, found[:_SHOWN])) + (f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else "")
    one = len(found) == 1
    how = "the same bytes as" if all(pair.by == "bytes" for pair in found) else "the same bytes, or size and time, as"
    return (
        f"warning: {counted(len(found), 'item')} that {'is' if one else 'are'} gone from the source {'has' if one else 'have'} {how} "
        f"{'an item' if one else 'items'} under another label: {names}; the old {'row stays' if one else 'rows stay'}, so the dataset has "
        f"{'it' if one else 'them'} under both labels; pass --prune to remove "
        f"{'it' if gone == 1 else f'all {gone:,} rows of items that are gone'}"
    )


def contradictions(manifest: Manifest) -> list[Finding]:
    """Find rows whose shards have the same bytes and whose labels differ, by their SHA-256; no file is read.

    Rows of a pack, measured numbers as labels, and tiles are left out: of a pack the SHA-256 is that of many rows, a measurement may
    differ from time to time, and tiles of different images may well show the same plain background.

    Returns:
        One finding for each row whose label is not that of the first row of the same bytes.
    """
    rows = manifest.table
    if not {"label", "sha256"}.issubset(rows.column_names) or manifest.label_kind("label") == "number":
        return []
    first = positions_of(rows["sha256"], rows["sha256"])
    is_taken = (np.bincount(first, minlength=len(rows))[first] > 1) & ~is_in(rows["sha256"], [""])
    if "row" in rows.column_names:
        is_taken &= is_in(rows["row"], [""])
    taken = np.flatnonzero(is_taken)
    some = rows.take(number_array(taken))
    ids, labels = strings(some["id"]), strings(some["label"])
    tiles = _tiles(rows, some)
    others: dict[int, int] = {}
    findings = []
    for number, digest in enumerate(first[taken].tolist()):
        if number in tiles:
            continue
        other = others.setdefault(digest, number)
        if labels[number] != labels[other]:
            message = (
                f"has the bytes of ID {ids[other]!r}, which has the label {labels[other]!r}, and the label {labels[number]!r} itself; "
                "remove the raw file whose label is wrong and build again with --prune"
            )
            path = manifest.paths[int(taken[number])]
            findings.append(Finding(kind="label", path=path, id=ids[number], message=message))
    return findings


def _tiles(rows: pa.Table, some: pa.Table) -> set[int]:
    """Return which of some rows are one of several samples of a raw item: others have its raw file and its ID with another number.

    Args:
        rows: of the dataset.
        some: of them.

    Returns:
        Positions among `some`.
    """
    if "source" not in rows.column_names:
        return set()
    numbered = [number for number, id_ in enumerate(strings(some["id"])) if SAMPLE_OF_SEVERAL.fullmatch(id_)]
    sources = strings(some["source"])
    beside = select(rows.select(["id", "source"]), is_in(rows["source"], {sources[number] for number in numbered}))
    counts = Counter(zip(strings(record_ids_of(beside["id"])), strings(beside["source"]), strict=True))
    stems = strings(record_ids_of(some["id"]))
    return {number for number in numbered if counts[stems[number], sources[number]] > 1}


def _items(rows: pa.Table, *, several: bool) -> list[_Item]:
    """Return the raw items of some rows, with the SHA-256 of their samples in the order of these."""
    found: dict[str, tuple[str, list[str]]] = {}
    ids = record_ids_of(rows["id"]) if several else rows["id"]
    for id_, label, sha256 in zip(strings(ids), strings(rows["label"]), strings(rows["sha256"]), strict=True):
        found.setdefault(id_, (label, []))[1].append(sha256)
    return [(id_, label, tuple(sha256s)) for id_, (label, sha256s) in found.items()]


def _paired(gone: Iterable[_Item], others: Iterable[_Item], by: Literal["bytes", "size and time"]) -> list[Relabelled]:
    """Return each item that is gone with one of the same bytes, if none of these has its label: of the same file name if there is one."""
    alike: dict[Hashable, list[tuple[str, str]]] = defaultdict(list)
    for id_, label, content in others:
        alike[content].append((id_, label))
    found = []
    for id_, label, content in gone:
        candidates = alike.get(content, [])
        if not candidates or any(other == label for _, other in candidates):
            continue
        name = id_.rpartition("/")[2]
        new, new_label = next((pair for pair in candidates if pair[0].rpartition("/")[2] == name), candidates[0])
        found.append(Relabelled(gone=id_, gone_label=label, id=new, label=new_label, by=by))
    return found
