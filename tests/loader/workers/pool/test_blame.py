"""A worker's death is put down to the batch that it had begun, or to nothing; many to nothing are an error."""

from __future__ import annotations

from io import FileIO
from typing import Any

import pytest

from loader import WorkerError
from loader.workers.pool.blame import MOST_FAILED_STARTS, MOST_VAIN_DEATHS, MOST_VAIN_WAITS, Deaths
from loader.workers.processes import Assignment, Process


class Ended:
    """A process that was killed."""

    returncode = -9


BATCHES = [Assignment(feed=1, key=(0, batch), slot=batch, timeout=1.0) for batch in range(3)]


def ended(*, ready: bool = True, answered: int = 0, queue: list[Assignment] = BATCHES) -> Process:
    popen: Any = Ended()
    process = Process(popen, 1, FileIO("/dev/null", "wb"), FileIO("/dev/null", "rb"), answered=answered, ready=ready)
    process.queue.extend(queue)
    process.close()
    return process


def test_a_death_is_put_down_to_the_batch_in_work_alone() -> None:
    deaths = Deaths()
    assert deaths.culprit(ended(answered=4), 5, "died", is_late=False) is BATCHES[0]
    assert deaths.culprit(ended(answered=4), 4, "died", is_late=False) is None
    assert deaths.culprit(ended(answered=4, queue=[]), 5, "died", is_late=False) is None


def test_workers_that_cannot_start_are_an_error() -> None:
    deaths = Deaths()
    for _ in range(2):  # a start in between, and an error, let the count begin anew
        for _ in range(MOST_FAILED_STARTS - 1):
            assert deaths.culprit(ended(ready=False), 0, "died", is_late=False) is None
        deaths.note_start()
        for _ in range(MOST_FAILED_STARTS - 1):
            assert deaths.culprit(ended(ready=False), 0, "died", is_late=False) is None
        with pytest.raises(WorkerError, match=r"cannot start \(exit status -9\).*workers=0"):
            deaths.culprit(ended(ready=False), 0, "died", is_late=False)


def test_many_deaths_for_nothing_are_an_error_unless_batches_are_done_between() -> None:
    deaths = Deaths()
    for _ in range(2):
        for _ in range(MOST_VAIN_DEATHS - 1):
            assert deaths.culprit(ended(), 0, "died", is_late=False) is None
        deaths.note_batch()
        for _ in range(MOST_VAIN_DEATHS - 1):
            deaths.note_start()  # which a worker says of itself before it can do anything
            assert deaths.culprit(ended(), 0, "died", is_late=False) is None
        with pytest.raises(WorkerError, match=f"{MOST_VAIN_DEATHS} worker processes in a row died before they began.*workers=0"):
            deaths.culprit(ended(), 0, "died", is_late=False)


def test_fewer_are_waited_for_in_vain() -> None:
    deaths = Deaths()
    for _ in range(MOST_VAIN_WAITS - 1):
        assert deaths.culprit(ended(), 0, "gave no answer", is_late=True) is None
        assert deaths.culprit(ended(), 0, "died", is_late=False) is None
    with pytest.raises(WorkerError, match=f"{2 * MOST_VAIN_WAITS - 1} worker processes in a row gave no answer before they began"):
        deaths.culprit(ended(), 0, "gave no answer", is_late=True)
