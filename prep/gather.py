"""Chunks out to workers, outcomes back by ID, with a bar: what a survey and a build have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from prep.executors import Workers
from prep.records import Failure, Record
from prep.report import Reporter

Outcome = TypeVar("Outcome")


def gather(
    workers: Workers,
    function: Callable[[Any], list[tuple[Record, Outcome | Failure]]],
    chunks: Sequence[Any],
    *,
    what: str,
    report: Reporter,
) -> tuple[dict[str, Outcome], list[Failure]]:
    """Run a function on every chunk of records.

    Args:
        workers: where to run.
        function: from a chunk to each of its records with what became of it; importable.
        chunks: with an attribute `records`; picklable.
        what: the bar's name.
        report: shows the bar.

    Returns:
        ID -> outcome of the records that did not fail, by ID; and the failures, in any order.

    Raises:
        WorkerError: a worker process died.
    """
    outcomes: dict[str, Outcome] = {}
    failures: list[Failure] = []
    with report.progress(sum(len(chunk.records) for chunk in chunks), what) as advance:

        def take(done: list[tuple[Record, Outcome | Failure]]) -> None:
            for record, outcome in done:
                if isinstance(outcome, Failure):
                    failures.append(outcome)
                else:
                    outcomes[record.id] = outcome
            advance(len(done))

        workers.run(function, chunks, take)
    # By ID, so that nothing depends on which worker was first.
    return dict(sorted(outcomes.items())), failures
