"""One feed in the shared pool of workers: its batches under way and ready, and the batches at which workers died."""

from __future__ import annotations

from dataclasses import dataclass, field

from loader.errors import WorkerError
from loader.feed.feed import Feed, Key
from loader.workers.jobs import JobTicket
from loader.workers.messages import Done

TIMEOUT_SECONDS = 120.0
"""How long a worker may take for one batch before it counts as hung."""

MOST_ATTEMPTS = 2
"""A batch at which so many workers died is given up."""


@dataclass(eq=False)
class Member:
    """A feed that takes part in a pool.

    Attributes:
        feed: which; its own reader serves where workers cannot.
        count: processes that may work for it.
        queue_size: batches that may be under way or wait ready.
        timeout: seconds that one batch may take.
        number: of its job; None when it takes no part at the moment.
        ticket: where its job lies.
        under_way: batches that were given out.
        done: batches that are in their slots, and errors.
        attempts: workers that died at a batch.
        lent: slots that arrays of the caller look into.
        used: when it last asked for a batch, as `time.monotonic` counts.
        restarts: workers that died while it took part.
    """

    feed: Feed
    count: int
    queue_size: int
    timeout: float = TIMEOUT_SECONDS
    number: int | None = None
    ticket: JobTicket | None = None
    under_way: set[Key] = field(default_factory=set)
    done: dict[Key, Done | BaseException] = field(default_factory=dict)
    attempts: dict[Key, int] = field(default_factory=dict)
    lent: set[int] = field(default_factory=set)
    used: float = 0.0
    restarts: int = 0

    def blame(self, key: Key, what: str) -> None:
        """Count a worker that died at a batch, which is given up as an error with its IDs when that were enough.

        Args:
            key: the batch.
            what: became of the workers.
        """
        attempts = self.attempts[key] = self.attempts.get(key, 0) + 1
        if attempts >= MOST_ATTEMPTS:
            pass_, batch = key
            ids = ", ".join(map(repr, self.feed.ids(pass_, batch)))
            self.done[key] = WorkerError(f"{MOST_ATTEMPTS} worker processes {what} at batch {batch} of pass {pass_}, with IDs {ids}")
