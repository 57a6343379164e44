"""The raw items of a source before any of them is read, and those that failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from manifests.format.metadata import LabelKind
from manifests.text import without_addresses
from prep.sources.items import Item
from prep.text import printable

if TYPE_CHECKING:
    import pyarrow as pa

NO_LABELS = "none"
"""`Listing.label_origin` of a source without labels."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One raw item that did not become a sample.

    Attributes:
        id: of the sample, or empty when none could be made from the item's name.
        source: the raw file, relative to the source's folder.
        stage: `find`, `read`, `transform`, `write`, `worker-died` or `timeout`.
        error: message in one line.
        type: name of the exception's type.
    """

    id: str
    source: str
    stage: str
    error: str
    type: str = "ItemError"


def failure_of(item: Item, stage: str, error: BaseException) -> Failure:
    """Return that an item failed by an error, which is of the type of what it came from in the first place."""
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    return Failure(id=item.id, source=item.source, stage=stage, error=printable(without_addresses(str(error))), type=type(root).__name__)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a source holds.

    Attributes:
        format: name of the reader of the raw files.
        root: the folder that the sources of items are relative to.
        items: the table of items, sorted by ID; IDs are safe and distinct on every disk.
        label_columns: columns that hold labels, the primary one called `label`; empty if there are none.
        label_names: label column -> its name in the table, where that is another.
        label_kinds: label column -> whether it holds classes or numbers, where the user said it.
        label_origin: where labels come from, in words: another origin would give the same IDs other labels.
        failures: raw items found that cannot become items of the table.
        notes: what was detected or left aside, one sentence each, for the user to see.
        is_ambiguous: whether it took the choice of a format to list the source.
        like_splits: top folders that are called like splits and were not taken as such.
        unnamed: number of files that no row of the table names; of a folder there are none.
    """

    format: str
    root: Path
    items: pa.Table
    label_columns: tuple[str, ...]
    label_origin: str
    failures: Sequence[Failure]
    notes: Sequence[str]
    label_names: Mapping[str, str] = field(default_factory=dict)
    label_kinds: Mapping[str, LabelKind] = field(default_factory=dict)
    is_ambiguous: bool = False
    like_splits: Sequence[str] = ()
    unnamed: int = 0
