"""The survey of a build on which nothing hangs: the headers of images come with the images, each of which is opened once."""

from __future__ import annotations

import numpy as np

from prep.executors import Workers
from prep.joining import positions_among
from prep.look import read_headers
from prep.prepare import Prepared
from prep.report import Reporter
from prep.survey import Survey, resolve_recipe
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
    has_row[positions_among(plan.kept.records.ids, seen.records.ids)] = True
    unread = read_headers(prepared.listing.root, seen, np.flatnonzero(has_row & ~seen.known.facts["there"]), workers, report)
    if unread:
        names = shown([failure.source for failure in unread])
        report.note(f"kept as they are: {counted(len(unread), 'shard')} whose raw file cannot be read any more: {names}")
    known = np.flatnonzero(has_row & seen.known.facts["there"])
    survey = Survey(seen.records.ids.select(known), seen.known.facts[known])
    _, notes = resolve_recipe(prepared.listing.format, prepared.shards, survey)
    for note in [*survey.notes(), *notes]:
        report.note(note)
