"""The survey of a build on which nothing hangs: the headers of images come with the images, each of which is opened once."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NoReturn

import numpy as np

from manifests.joining import positions_among
from manifests.strings import PackedStrings, Positions
from prep.executors import Workers
from prep.known import DEPTHS
from prep.look import read_headers
from prep.prepare import Prepared
from prep.report import Reporter
from prep.survey import GO_TOGETHER, Survey, resolve_recipe
from prep.text import counted, shown
from prep.written import Written


def survey_built(prepared: Prepared, written: Written, workers: Workers, report: Reporter) -> None:
    """Take in what the build has found out, read what neither it nor an earlier one has, and tell and check it all.

    Args:
        prepared: a plan that awaits its survey; what is found out is added to what it has seen.
        written: records whose shards are new, be they of this build or of an earlier one that was ended.
        workers: where files are read.
        report: where notes and progress go.

    Raises:
        SourceError: the images do not go together.
    """
    seen, plan = prepared.seen, prepared.plan
    at = positions_among(plan.to_build.ids, seen.records.ids)[written.positions]
    if len(written.facts):
        there = written.facts["there"]
        seen.known.facts[at[there]] = written.facts[there]
    has_row = np.zeros(len(seen.records), dtype=np.bool_)
    has_row[at] = True
    has_row[seen.usable[plan.kept.owners]] = True
    unread = read_headers(prepared.listing.root, seen, np.flatnonzero(has_row & ~seen.known.facts["there"]), workers, report)
    if unread:
        names = shown([failure.source for failure in unread])
        report.note(f"kept as they are: {counted(len(unread), 'shard')} whose raw file cannot be read any more: {names}")
    known = np.flatnonzero(has_row & seen.known.facts["there"])
    survey = Survey(seen.records.ids.select(known), seen.known.facts[known])
    _, notes = resolve_recipe(prepared.listing.format, prepared.shards, survey)
    for note in [*survey.notes(), *notes]:
        report.note(note)


class DepthsMet:
    """The depths of the images that a build has met so far, so that those that do not go together end it when they meet, not overnight."""

    def __init__(self, prepared: Prepared) -> None:
        """Begin with what is known of images whose rows stay."""
        self._prepared = prepared
        self._written: set[int] = set()
        facts = prepared.seen.known.facts
        self._others = set(np.unique(facts["depth"][facts["there"]]).tolist())
        self._are_rows = False

    def add(self, each: Iterable[Written]) -> bool:
        """Take in what was written; return whether all images met so far go together."""
        for written in each:
            self._written.update(np.unique(written.facts["depth"][written.facts["there"]]).tolist())
        if _go_together(self._written | self._others):
            return True
        if not self._are_rows:  # some of what is known may be of images without a row
            self._others = set(np.unique(self._prepared.seen.known.facts["depth"][self._kept()]).tolist())
            self._are_rows = True
        return _go_together(self._written | self._others)

    def refuse(self, written: Written) -> NoReturn:
        """Refuse images that do not go together.

        Args:
            written: all that was written so far.

        Raises:
            SourceError: they do not.
        """
        seen, plan, kept = self._prepared.seen, self._prepared.plan, self._kept()
        there = np.flatnonzero(written.facts["there"])
        ids = PackedStrings.joined([seen.records.ids.select(kept), plan.to_build.ids.select(written.positions[there])])
        facts = np.concatenate([seen.known.facts[kept], written.facts[there]])
        resolve_recipe(self._prepared.listing.format, self._prepared.shards, Survey(ids, facts))
        raise AssertionError("images that do not go together have made a recipe")

    def _kept(self) -> Positions:
        """Return the positions of the records whose rows stay, and of which something is known."""
        seen = self._prepared.seen
        kept = seen.usable[self._prepared.plan.kept.owners]
        known: Positions = kept[seen.known.facts["there"][kept]]
        return known


def _go_together(depths: Collection[int]) -> bool:
    return len(depths) < 2 or GO_TOGETHER.issuperset(DEPTHS[code] for code in depths)
