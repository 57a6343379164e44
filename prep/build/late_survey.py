"""The survey after the build, where no option depends on it: headers are read along with the images, so each file is opened once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from manifests.rows import arrow
from manifests.rows.buffers import codes_of, number_array, numbers
from manifests.rows.table import select
from prep.build.execute.journal import Collected
from prep.build.plan.prepare import Prepared
from prep.build.recipe.resolve import resolve_recipe
from prep.build.scan.scan import read_headers
from prep.build.state.state import Facts, remembered_items
from prep.parallel.executors import Workers
from prep.progress.report import Reporter
from prep.readers.headers import Headers, parsed
from prep.readers.reader import SurveyedReader
from prep.readers.registry import reader_of
from prep.text import counted, shown

if TYPE_CHECKING:
    import pyarrow as pa


def survey_built(prepared: Prepared, written: pa.Table, workers: Workers, report: Reporter) -> Prepared:
    """Take in what the build has found out, read what neither it nor an earlier one has, and tell and check it all.

    Args:
        prepared: a plan that awaits its survey.
        written: items whose shards are new, be they of this build or of an earlier one that was ended.
        workers: where files are read.
        report: where notes and progress go.

    Returns:
        The same, with what was found out.

    Raises:
        SourceError: the items do not go together.
    """
    seen, plan = prepared.seen, prepared.plan
    facts = Facts.of(seen.items)
    codes, texts = codes_of(written["header"])
    at = seen.usable[plan.due[numbers(written["position"], np.int64)]]
    reader = _reader(prepared)
    texts = [text if parsed(text, reader.parse_header) is not None else "" for text in texts]
    known = np.array([facts.code_of(text) for text in texts] or [0], dtype=np.int32)[codes]
    facts.codes[at[known > 0]] = known[known > 0]
    has_row = np.zeros(len(seen.items), dtype=np.bool_)
    has_row[at] = True
    has_row[seen.usable[plan.owners[plan.kept_rows]]] = True
    unread = np.flatnonzero(has_row & ~facts.have_header)
    seen, failed = read_headers(replace(seen, items=facts.put_into(seen.items)), unread, workers, report)
    if failed:
        names = shown([failure.source for failure in failed])
        report.note(f"kept as they are: {counted(len(failed), 'shard')} whose raw file cannot be read any more: {names}")
    rows = select(seen.items.select(["id", "header"]), has_row)
    headers = Headers(rows["id"], rows["header"], reader.parse_header)
    _, notes = resolve_recipe(prepared.listing.format, prepared.shards, headers)
    for note in [*reader.describe(headers), *notes]:
        report.note(note)
    items = seen.items.append_column("fingerprint", prepared.state.items["fingerprint"])
    return replace(prepared, seen=seen, state=replace(prepared.state, items=remembered_items(items)))


class KindsMet:
    """The kinds of items that a build has met so far, so that those that do not go together end it when they meet, not overnight."""

    def __init__(self, prepared: Prepared) -> None:
        """Begin with what is known of items whose rows stay."""
        self._prepared, self._reader = prepared, _reader(prepared)
        plan = prepared.plan
        self._kept = plan.items.select(["id", "header"]).take(number_array(np.unique(plan.owners[plan.kept_rows])))
        self._kinds = self._kinds_of(self._kept)

    def add(self, written: pa.Table, collected: Collected) -> None:
        """Take in what was written.

        Args:
            written: as `prep.build.execute.journal.WRITTEN` has it.
            collected: all that was written so far.

        Raises:
            SourceError: items do not go together.
        """
        kinds = self._kinds | self._kinds_of(written)
        if len(kinds) < 2 or kinds == self._kinds:
            self._kinds = kinds
            return
        self._kinds = kinds
        table = collected.table()
        new = self._prepared.plan.to_build["id"].take(number_array(numbers(table["position"], np.int64)))
        both = arrow.pa.concat_tables([self._kept, arrow.pa.table({"id": new, "header": table["header"]})]).unify_dictionaries()
        headers = Headers(both["id"], both["header"], self._reader.parse_header)
        resolve_recipe(self._prepared.listing.format, self._prepared.shards, headers)

    def _kinds_of(self, rows: pa.Table) -> set[str]:
        facts = [parsed(text, self._reader.parse_header) for text in codes_of(rows["header"])[1]]
        return {self._reader.kind(each) for each in facts if each is not None}


def _reader(prepared: Prepared) -> SurveyedReader[Any]:
    reader = reader_of(prepared.listing.format)
    if not isinstance(reader, SurveyedReader):
        raise TypeError(f"{reader.name} are not surveyed")
    return reader
