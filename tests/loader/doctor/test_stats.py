"""The figures of a feed, with a clock that stands still unless it is told to go on."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest

from loader.doctor.stats import MOST_REASONS, Ledger, Stats


class Clock:
    """Seconds that only pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("loader.doctor.stats.time", clock)
    return clock


def hand_over(
    ledger: Ledger,
    clock: Clock,
    waiting: float = 0.0,
    *,
    walks: bool = True,
    samples: int = 10,
    ready: int = 0,
    seconds: Sequence[float] = (0.0, 0.0, 0.0),
    skipped: Sequence[tuple[str, str]] = (),
) -> None:
    asked = ledger.asked(walks=walks)
    clock.now += waiting
    ledger.handed_over(asked, samples, ready, seconds, skipped)


def stats_of(ledger: Ledger, restarts: int = 0) -> Stats:
    return ledger.stats(max_queue_size=10, restarts=restarts)


NOTHING = Stats(
    batches=0,
    samples=0,
    waiting_seconds=0,
    training_seconds=0,
    read_seconds=0,
    transform_seconds=0,
    hand_over_seconds=0,
    ready=0,
    max_queue_size=10,
    skipped=0,
    restarts=0,
)


def test_a_new_ledger_has_nothing_in_it() -> None:
    assert stats_of(Ledger()) == NOTHING
    assert NOTHING.samples_per_second == 0
    assert NOTHING.waiting_share == 0


def test_everything_is_added_up(clock: Clock) -> None:
    ledger = Ledger()
    hand_over(ledger, clock, 2, samples=64, ready=3, seconds=(1, 2, 3), skipped=[("a", "broken"), ("b", "gone")])
    clock.now += 6
    hand_over(ledger, clock, 1, samples=36, ready=0, seconds=(10, 20, 30), skipped=[("a", "broken")])
    stats = stats_of(ledger, restarts=4)
    assert stats == Stats(
        batches=2,
        samples=100,
        waiting_seconds=3,
        training_seconds=6,
        read_seconds=11,
        transform_seconds=22,
        hand_over_seconds=33,
        ready=1.5,
        max_queue_size=10,
        skipped=3,
        restarts=4,
    )
    assert stats.samples_per_second == pytest.approx(100 / 9)
    assert stats.waiting_share == pytest.approx(3 / 9)
    assert ledger.skipped == 3
    assert ledger.reasons == {"a": "broken", "b": "gone"}


def test_time_after_the_last_batch_of_a_walk_is_no_training(clock: Clock) -> None:
    ledger = Ledger()
    hand_over(ledger, clock)
    ledger.pause()
    clock.now += 100
    hand_over(ledger, clock)
    assert stats_of(ledger).training_seconds == 0


def test_time_around_a_look_at_one_batch_is_no_training(clock: Clock) -> None:
    ledger = Ledger()
    hand_over(ledger, clock)
    clock.now += 5
    hand_over(ledger, clock, 1, walks=False)
    assert stats_of(ledger).training_seconds == 0
    assert stats_of(ledger).waiting_seconds == 1


def test_asking_again_while_a_batch_is_waited_for_is_no_training(clock: Clock) -> None:
    ledger = Ledger()
    hand_over(ledger, clock)
    clock.now += 5
    first = ledger.asked(walks=True)
    clock.now += 7
    second = ledger.asked(walks=True)
    ledger.handed_over(first, 1, 0, (0, 0, 0), ())
    ledger.handed_over(second, 1, 0, (0, 0, 0), ())
    assert stats_of(ledger).training_seconds == 5
    assert stats_of(ledger).waiting_seconds == 7


def test_what_was_added_since(clock: Clock) -> None:
    ledger = Ledger()
    hand_over(ledger, clock, 2, samples=64, ready=8, seconds=(1, 2, 3), skipped=[("a", "broken")])
    clock.now += 6
    before = stats_of(ledger, restarts=1)
    for _ in range(2):
        hand_over(ledger, clock, 3, samples=10, ready=2, seconds=(10, 20, 30), skipped=[("b", "gone")])
        clock.now += 1
    added = stats_of(ledger, restarts=3).since(before)
    assert added == Stats(
        batches=2,
        samples=20,
        waiting_seconds=6,
        training_seconds=7,
        read_seconds=20,
        transform_seconds=40,
        hand_over_seconds=60,
        ready=2,
        max_queue_size=10,
        skipped=2,
        restarts=2,
    )
    assert before.since(before) == NOTHING
    assert before.since(NOTHING) == replace(before)


def test_reasons_are_kept_for_so_many_ids_and_all_are_counted(clock: Clock) -> None:
    ledger = Ledger()
    n = MOST_REASONS + 5
    hand_over(ledger, clock, skipped=[(f"s{i}", "gone") for i in range(n)])
    assert stats_of(ledger).skipped == n
    assert list(ledger.reasons) == [f"s{i}" for i in range(MOST_REASONS)]


def test_threads_may_write_at_the_same_time() -> None:
    ledger = Ledger()

    def work() -> None:
        for _ in range(500):
            ledger.handed_over(ledger.asked(walks=True), 2, 1, (1, 1, 1), [("a", "gone")])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = stats_of(ledger)
    assert (stats.batches, stats.samples, stats.ready, stats.skipped, stats.read_seconds) == (2000, 4000, 1, 2000, 2000)
