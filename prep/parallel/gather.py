"""Chunks out to workers, outcomes handed on as they come, with a bar: what a survey and a build have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

from prep.errors import StoppedError
from prep.parallel.executors import Workers
from prep.parallel.interrupts import Terminated, first_one_stops
from prep.parallel.lost_workers import ItemChunk, run_chunks
from prep.progress.report import Reporter
from prep.sources.listing import Failure
from prep.text import counted


class ChunkOutcome(Protocol):
    """What became of a chunk's items."""

    @property
    def failures(self) -> Sequence[Failure]:
        """Of those that failed."""

    def __len__(self) -> int:
        """Return how many did not fail."""


Outcome = TypeVar("Outcome", bound=ChunkOutcome)


def gather(
    workers: Workers,
    function: Callable[[Any], Outcome],
    chunks: Iterable[ItemChunk],
    *,
    take: Callable[[Outcome], object],
    what: str,
    report: Reporter,
    total: int | None = None,
    stop_after: int | None = None,
    on_interrupt: Callable[[int], str] | None = None,
) -> list[Failure]:
    """Run a function on every chunk of items; an item that kills its worker or takes too long is a failure.

    The first Ctrl-C or SIGTERM lets the chunks under way come to their end, and takes effect then.

    Args:
        workers: where to run.
        function: from a chunk to what became of its items; importable.
        chunks: with an attribute `items`; picklable.
        take: is given the outcome of each chunk, in any order, which nothing may depend on.
        what: the bar's name.
        report: shows the bar.
        total: items in all chunks; without it they are counted first.
        stop_after: so many failures end it early.
        on_interrupt: from the number of items that are done and well to the note that Ctrl-C or SIGTERM carries on.

    Returns:
        The failures of all chunks, likewise in any order.

    Raises:
        WorkerError: workers die, whatever they are given.
        StoppedError: as many items failed as were to end it.
    """
    if total is None:
        chunks = list(chunks)
        total = sum(len(chunk.items) for chunk in chunks)
    gathered: _Gathered[Outcome] = _Gathered(take, report, stop_after)
    with _noting(gathered, on_interrupt), first_one_stops() as interrupted, report.progress(total, what) as advance:
        run_chunks(
            workers,
            function,
            chunks,
            done=lambda done: advance(*gathered.take(done)),
            failed=lambda failure: advance(1, gathered.fail(failure)),
            stop=lambda: interrupted() or gathered.is_enough,
            note=report.note,
        )
    if gathered.is_enough:
        raise stopped(len(gathered.failures), gathered.well + len(gathered.failures), total, what)
    return gathered.failures


class _Gathered(Generic[Outcome]):
    """What has come back so far.

    Attributes:
        failures: of the chunks, and of items that brought down their workers.
        well: items that did not fail.
    """

    def __init__(self, take: Callable[[Outcome], object], report: Reporter, stop_after: int | None) -> None:
        self.failures: list[Failure] = []
        self.well = 0
        self._take = take
        self._report = report
        self._stop_after = stop_after

    @property
    def is_enough(self) -> bool:
        return self._stop_after is not None and len(self.failures) >= self._stop_after

    def take(self, outcome: Outcome) -> tuple[int, int]:
        """Hand on what became of a chunk; return of how many items that is, and how many of them failed."""
        self._take(outcome)
        self.well += len(outcome)
        for failure in outcome.failures:
            self.fail(failure)
        return len(outcome) + len(outcome.failures), len(outcome.failures)

    def fail(self, failure: Failure) -> int:
        """Add a failure; return that it is one."""
        self.failures.append(failure)
        self._report.failed(failure)
        return 1


@contextmanager
def _noting(gathered: _Gathered[Any], on_interrupt: Callable[[int], str] | None) -> Iterator[None]:
    """Let what a signal raises say how much was done."""
    try:
        yield
    except (KeyboardInterrupt, Terminated) as interrupt:
        if on_interrupt is not None:
            interrupt.add_note(on_interrupt(gathered.well))
        raise


def stopped(failed: int, done: int, total: int, what: str) -> StoppedError:
    """Return the error of a build that was to end after so many failures."""
    return StoppedError(
        f"stopped after {counted(failed, 'failure')} ({what}: {done:,} of {counted(total, 'item')} done), as --stop-after-failures asked"
        "; the dataset is as it was"
    )
