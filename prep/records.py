"""Records: the raw items of a source before any of them is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

SourceFormat = Literal["images", "arrays"]

NO_LABELS = "none"
"""`Listing.label_origin` of a source without labels."""

_NO_COLUMNS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Record:
    """One raw item.

    Attributes:
        id: of the sample it becomes.
        source: the raw file, relative to the source's folder, with `/`.
        label: primary label, empty if there is none.
        columns: further manifest columns, under their own names.
    """

    id: str
    source: str
    label: str = ""
    columns: Mapping[str, str] = field(default_factory=lambda: _NO_COLUMNS)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One raw item that did not become a sample.

    Attributes:
        id: of the sample, or empty when none could be made from the item's name.
        source: the raw file, relative to the source's folder.
        stage: `find`, `read`, `transform` or `write`.
        error: type and message in one line.
    """

    id: str
    source: str
    stage: str
    error: str


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a source holds.

    Attributes:
        format: what the raw files are.
        root: the folder that `Record.source` is relative to.
        records: sorted by ID; IDs are safe and distinct on every disk.
        label_columns: columns that hold labels, the primary one called `label`; empty if there are none.
        label_origin: where labels come from, in words: another origin would give the same IDs other labels.
        failures: raw items found that cannot become records.
        notes: what was detected or left aside, one sentence each, for the user to see.
    """

    format: SourceFormat
    root: Path
    records: Sequence[Record]
    label_columns: tuple[str, ...]
    label_origin: str
    failures: Sequence[Failure]
    notes: Sequence[str]
