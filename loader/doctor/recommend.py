"""From what was measured to what to do: which stage limits, and how many workers are worth having."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

HAND_OVER = "hand-over"
"""The stage that only worker processes have; the process that trains takes part in it."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Seconds and rates of batches, as they were measured.

    Attributes:
        stages: name of each stage, `HAND_OVER` among them -> seconds a batch.
        inline: seconds that each batch takes in the process that trains, without handing over.
        rates: number of worker processes, 0 for none, -> batches a second, once for each time they were measured.
        step_seconds: that a training step takes; None if nobody said.
    """

    stages: Mapping[str, float]
    inline: Sequence[float]
    rates: Mapping[int, Sequence[float]]
    step_seconds: float | None = None

    def rate(self, workers: int) -> float:
        """Return how many batches a second come from a number of workers."""
        return statistics.median(self.rates[workers])

    @property
    def inline_seconds(self) -> float:
        """What a batch usually takes in the process that trains."""
        return statistics.median(self.inline)


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """What to pass to a sequence, and why.

    Attributes:
        workers: worker processes; 0 for none.
        max_queue_size: batches that may be under way or wait ready.
        limit: the stage that takes most of a batch's time.
        limit_share: its part of that time, from 0 to 1.
        batches_per_second: that the feed then gives.
        waiting_share: the part of the time, from 0 to 1, that training then waits for data; None if no step was given.
        reason: the same in words.
    """

    workers: int
    max_queue_size: int
    limit: str
    limit_share: float
    batches_per_second: float
    waiting_share: float | None
    reason: str


def recommend(measured: Measured) -> Recommendation:
    """Return the least number of workers that is as good as the best, as far as the measurements tell the two apart."""
    workers = best_workers(measured)
    limit, share = limiting_stage(measured.stages, has_workers=workers > 0)
    step = measured.step_seconds
    waiting = None if step is None else max(0.0, 1 - step / statistics.median(_steps(measured, workers)))
    return Recommendation(
        workers=workers,
        max_queue_size=queue_size(measured, workers),
        limit=limit,
        limit_share=share,
        batches_per_second=measured.rate(workers),
        waiting_share=waiting,
        reason=_reason(measured, workers, limit, share, waiting),
    )


def best_workers(measured: Measured) -> int:
    """Return how many worker processes to have.

    If nobody said what a training step takes, the fastest feed is the best; and no worker at all is better only if handing a
    batch over costs the process that trains as much as making it.
    """
    counts = sorted(measured.rates)
    if measured.step_seconds is None and len(counts) > 1 and 0 in counts:
        if measured.stages[HAND_OVER] >= measured.inline_seconds:
            return 0
        counts.remove(0)
    steps = {workers: _inner(_steps(measured, workers)) for workers in counts}
    slowest_of_best = min(steps.values(), key=statistics.median)[-1]
    return next(workers for workers, values in steps.items() if values[0] <= slowest_of_best)


def limiting_stage(stages: Mapping[str, float], *, has_workers: bool) -> tuple[str, float]:
    """Return the stage that takes most of a batch's time, and its part of that, from 0 to 1.

    Args:
        stages: as in `Measured`.
        has_workers: whether batches are handed over.
    """
    taking = {name: seconds for name, seconds in stages.items() if has_workers or name != HAND_OVER}
    name = max(taking, key=taking.__getitem__)
    total = sum(taking.values())
    return name, taking[name] / total if total else 0.0


def queue_size(measured: Measured, workers: int) -> int:
    """Return how many batches must be under way or ready so that training does not notice a slow one.

    Each worker has one under way and the next one given to it; besides, there must be ready what training takes in the time by
    which a slow batch, the slowest of twenty, is later than usual.
    """
    if not workers:
        return 1
    slow = statistics.quantiles(measured.inline, n=20)[-1] if len(measured.inline) > 1 else measured.inline_seconds
    pace = max(measured.step_seconds or 0.0, 1 / measured.rate(workers))
    return 2 * workers + math.ceil(max(0.0, slow - measured.inline_seconds) / pace)


def _steps(measured: Measured, workers: int) -> list[float]:
    """Return what a training step takes with its share of waiting for data, for each measurement."""
    step = measured.step_seconds or 0.0
    if not workers:  # the process that trains makes the batch itself, before the step
        return [step + 1 / rate for rate in measured.rates[0]]
    return [max(step + measured.stages[HAND_OVER], 1 / rate) for rate in measured.rates[workers]]


def _inner(values: Sequence[float]) -> list[float]:
    """Return values in order, without the extremes if there are enough: other programs disturb a measurement now and then."""
    ordered = sorted(values)
    return ordered[1:-1] if len(ordered) > 3 else ordered


def _reason(measured: Measured, workers: int, limit: str, share: float, waiting: float | None) -> str:
    rate, step = measured.rate(workers), measured.step_seconds
    handing, making = _milliseconds(measured.stages[HAND_OVER]), _milliseconds(measured.inline_seconds)
    keeps_up = workers > 0 and step is not None and 1 / rate <= step
    words = [
        f"the step limits, not the feed; of a batch's time {share:.0%} is {limit}"
        if keeps_up
        else f"{limit} limits: {share:.0%} of the time"
    ]
    if workers:
        words.append(f"{workers} worker process{'es give' if workers > 1 else ' gives'} {_figure(rate)} batches/s")
        if 0 in measured.rates:
            words[-1] += f", none {_figure(measured.rate(0))}"
        words.append(f"training spends {handing} a batch on taking it instead of {making} on making it")
    else:
        words.append(f"without workers it is {_figure(rate)} batches/s")
        if len(measured.rates) > 1:
            best = max(measured.rate(count) for count in measured.rates if count)
            words[-1] += f", with them up to {_figure(best)}"
            words.append(f"handing a batch over would take {handing}, making it takes {making}")
    if step is not None and waiting is not None:
        end = "the feed keeps up" if keeps_up else f"training waits {waiting:.0%} of the time"
        words.append(f"a step of {_milliseconds(step)} asks for {_figure(1 / step)}: {end}")
    return "; ".join(words)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"


def _figure(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
