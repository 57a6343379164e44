"""What earlier builds know of each raw file, so that an unchanged one is not opened again: `.prep/state.arrow`. Safe to delete.

One row per raw file, as it was when it was last looked into; what the last build was asked for stands in the file's metadata.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from manifests.files.atomic import replacing
from manifests.format.schema import STATE_FOLDER
from manifests.rows import arrow
from manifests.rows.buffers import coded_array, codes_of, fixed, fixed_array, numbers, positions_of
from manifests.rows.table import select
from prep.build.state.digests import DIGEST_BYTES
from prep.build.state.fingerprints import Prints, are_prints, as_prints, no_prints
from prep.build.state.sealed import UnsealedError, read_sealed, sealed_writer, sound_table
from prep.readers.headers import parsed
from prep.readers.reader import SurveyedReader
from prep.readers.registry import reader_of
from prep.sources.items import UNKNOWN

if TYPE_CHECKING:
    import pyarrow as pa

STATE_NAME = "state.arrow"
"""File in the folder of the state of builds."""

_ABOUT = b"shardfeed"
_UNREADABLE = (OSError, UnsealedError, LookupError, TypeError, ValueError, AttributeError, RecursionError)
"""What reading a file raises that no build of this release has written."""


def _schema(*, content: bool) -> pa.Schema:
    pa = arrow.pa
    columns = {
        "source": pa.large_string(),
        "size": pa.int64(),
        "mtime": pa.int64(),
        "header": pa.dictionary(pa.int32(), pa.string()),
        "fingerprint": pa.binary(DIGEST_BYTES),
        **({"content": pa.binary(DIGEST_BYTES)} if content else {}),
    }
    return pa.schema(list(columns.items()))


def _nothing() -> pa.Table:
    table: pa.Table = _schema(content=False).empty_table()
    return table


@dataclass(frozen=True, kw_only=True)
class State:
    """What earlier builds know.

    Attributes:
        items: a row per raw file, with `source`, `size`, `mtime`, `header`, `fingerprint` and, if the content of any was read,
            `content`; as `prep.sources.items` has them.
        recipe: digest of the recipe that the fingerprints are for, which are those by size and time.
        read_by: reader that has read the headers, with its libraries (`reader_key`).
        about: what the last build was asked for, as JSON has it; empty if none has come to its end.
    """

    items: pa.Table = field(default_factory=_nothing)
    recipe: str = ""
    read_by: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, out: Path) -> State:
        """Return what the builds of a dataset have left; nothing where there is nothing that this release can use."""
        try:
            reader = read_sealed(out / STATE_FOLDER / STATE_NAME)
            head = json.loads(reader.schema.metadata[_ABOUT])
            items = sound_table(reader, _schema(content="content" in reader.schema.names))
            if not are_prints(items["fingerprint"]):
                return cls()
            about, read_by = dict(head["about"]), dict(head["read by"])
            return cls(items=items.replace_schema_metadata(None), recipe=str(head["recipe"]), read_by=read_by, about=about)
        except _UNREADABLE:  # it is only a memory
            return cls()

    def save(self, out: Path) -> None:
        """Keep this for later builds; that it cannot be kept is no reason to stop, and costs the next build time."""
        about = json.dumps({"read by": dict(self.read_by), "recipe": self.recipe, "about": dict(self.about)}).encode()
        with contextlib.suppress(OSError), replacing(out / STATE_FOLDER / STATE_NAME, durable=False) as file:
            items = self.items.select(_schema(content="content" in self.items.column_names).names).unify_dictionaries()
            items = items.replace_schema_metadata({_ABOUT: about})
            with sealed_writer(file, items.schema) as writer:
                writer.write_table(items)

    def equals(self, other: State) -> bool:
        """Return whether both say the same."""
        mine, others = ((state.recipe, state.read_by, state.about) for state in (self, other))
        return mine == others and self.items.equals(other.items)

    def with_headers_of(self, format_: str) -> State:
        """Return the same without headers that another reader has read, or another release of it, or that are none of its."""
        reader, key = reader_of(format_), reader_key(format_)
        codes, texts = codes_of(self.items["header"])
        kept = [""] * len(texts)
        if self.read_by == key and isinstance(reader, SurveyedReader):
            kept = [text if parsed(text, reader.parse_header) is not None else "" for text in texts]
        if kept == texts:
            return replace(self, read_by=key)
        header = arrow.pa.chunked_array([coded_array(codes, kept)])
        return replace(self, items=self.items.set_column(self.items.column_names.index("header"), "header", header), read_by=key)

    def places_of(self, items: pa.Table) -> npt.NDArray[np.int64]:
        """Return where the file of each item stands among those that are known, changed since or not: int64; -1 for nowhere."""
        if self.items["source"].equals(items["source"]):
            return np.arange(len(items))
        return positions_of(items["source"], self.items["source"])

    def unchanged(self, items: pa.Table, places: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return which items' files are as they were when they were last looked at, by size and time: bool, shape (n,)."""
        sizes, mtimes = numbers(items["size"], np.int64), numbers(items["mtime"], np.int64)
        same: npt.NDArray[np.bool_] = (places >= 0) & (sizes != UNKNOWN)
        at = places[same]
        same[same] = (numbers(self.items["size"], np.int64)[at] == sizes[same]) & (
            numbers(self.items["mtime"], np.int64)[at] == mtimes[same]
        )
        return same

    def known_prints(self, items: pa.Table, places: npt.NDArray[np.int64], recipe: str) -> Prints:
        """Return the fingerprints by size and time of files that are unchanged; empty for the others: of dtype `S32`, shape (n,)."""
        return np.where(self.unchanged(items, places), self.prints_at(places, recipe), b"")

    def prints_at(self, places: npt.NDArray[np.int64], recipe: str) -> Prints:
        """Return the fingerprints by size and time that files had when they were last looked at; empty where one is not known.

        Args:
            places: of the files, as `places_of` has them.
            recipe: digest of the recipe that the fingerprints must be for.
        """
        prints = no_prints(len(places))
        if recipe == self.recipe and len(self.items):
            prints[places >= 0] = as_prints(self.items["fingerprint"])[places[places >= 0]]
        return prints


def reader_key(format_: str) -> dict[str, Any]:
    """Return what tells a reader from others and from its other releases."""
    return {"format": format_, "libraries": dict(reader_of(format_).libraries())}


def last_about(out: Path) -> Mapping[str, Any]:
    """Return what the last build of a dataset was asked for, by a look at the head of its state; empty if nothing is known of it."""
    try:
        about = json.loads(read_sealed(out / STATE_FOLDER / STATE_NAME, checked=False).schema.metadata[_ABOUT])["about"]
    except _UNREADABLE:
        return {}
    return about if isinstance(about, dict) else {}


class Facts:
    """What is known of the files of some items, while it is found out.

    Attributes:
        codes: which of `texts` is the header of each: int32, shape (n,); 0 for none that is known.
        texts: distinct headers, of which the first is empty.
        content: SHA-256 of each file: uint8, shape (n, 32); all zero where it is not known.
    """

    def __init__(self, count: int) -> None:
        """Begin with nothing."""
        self.codes = np.zeros(count, dtype=np.int32)
        self.texts = [""]
        self.content = np.zeros((count, DIGEST_BYTES), dtype=np.uint8)
        self._number = {"": 0}

    @classmethod
    def of(cls, items: pa.Table) -> Facts:
        """Begin with what the columns of a table say."""
        facts = cls(len(items))
        codes, texts = codes_of(items["header"])
        facts.codes = np.array([facts.code_of(text) for text in texts] or [0], dtype=np.int32)[codes]
        facts.content = fixed(items["content"]).copy()
        return facts

    @classmethod
    def known(cls, state: State, items: pa.Table) -> Facts:
        """Begin with what earlier builds know of files that have not changed since."""
        facts, known, places = cls(len(items)), state.items, state.places_of(items)
        same = state.unchanged(items, places)
        codes, texts = codes_of(known["header"])
        facts.codes[same] = np.array([facts.code_of(text) for text in texts] or [0], dtype=np.int32)[codes[places[same]]]
        if "content" in known.column_names:
            facts.content[same] = fixed(known["content"])[places[same]]
        return facts

    @property
    def have_header(self) -> npt.NDArray[np.bool_]:
        """Whether the header of each file is known: bool, shape (n,)."""
        return self.codes > 0

    def code_of(self, text: str) -> int:
        """Return the code of a header."""
        code = self._number.setdefault(text, len(self.texts))
        if code == len(self.texts):
            self.texts.append(text)
        return code

    def set_headers(self, at: Any, texts: Sequence[str]) -> None:
        """Take in what the headers of some files say."""
        self.codes[at] = [self.code_of(text) for text in texts]

    def put_into(self, items: pa.Table) -> pa.Table:
        """Return the items with what is known as columns."""
        for name, column in (("header", coded_array(self.codes, self.texts)), ("content", fixed_array(self.content))):
            if name in items.column_names:
                items = items.drop_columns(name)
            items = items.append_column(name, column)
        return items


def remembered_items(items: pa.Table) -> pa.Table:
    """Return the columns of items that are remembered; those whose content nobody has read have none."""
    names = ["source", "size", "mtime", "header", "fingerprint"]
    return items.select([*names, "content"] if fixed(items["content"]).any() else names)


def together(older: State, newer: State) -> State:
    """Return what both say, of a file of which both know something what the newer one says."""
    others = select(older.items, positions_of(older.items["source"], newer.items["source"]) < 0)
    if older.recipe != newer.recipe:
        others = _with_zeros(others.drop_columns("fingerprint"), "fingerprint")
    parts = [others, newer.items]
    if any("content" in part.column_names for part in parts):
        parts = [part if "content" in part.column_names else _with_zeros(part, "content") for part in parts]
    items = arrow.pa.concat_tables([part.select(parts[-1].column_names) for part in parts])
    return State(items=items.combine_chunks(), recipe=newer.recipe, read_by=newer.read_by, about=older.about)


def _with_zeros(items: pa.Table, name: str) -> pa.Table:
    return items.append_column(name, fixed_array(np.zeros((len(items), DIGEST_BYTES), dtype=np.uint8)))
