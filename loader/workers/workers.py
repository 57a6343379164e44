"""Processes that make batches ahead for one feed; they are shared with the other feeds of the process."""

from __future__ import annotations

import weakref
from collections.abc import Iterable

from loader.feed.feed import Feed, Key, Produced
from loader.workers.pool.member import TIMEOUT_SECONDS, Member
from loader.workers.pool.pool import Pool
from loader.workers.pool.shared import shared_pool


class Workers:
    """Makes batches ahead in processes; `take` returns them in whatever order they are asked for."""

    def __init__(self, feed: Feed, count: int, queue_size: int, timeout: float = TIMEOUT_SECONDS, pool: Pool | None = None) -> None:
        """Get ready; processes start with the first batch.

        Args:
            feed: whose batches.
            count: processes.
            queue_size: batches that may be under way or wait ready.
            timeout: seconds that one batch may take.
            pool: whose processes; None for those that all feeds share.
        """
        self._pool = shared_pool() if pool is None else pool
        self._member = Member(feed, count, max(queue_size, count), timeout)
        weakref.finalize(self, self._pool.part_soon, self._member)

    def take(self, key: Key, ahead: Iterable[Key]) -> Produced:
        """Return a batch, and have others made ahead (see `loader.workers.pool.pool.Pool.take`)."""
        return self._pool.take(self._member, key, ahead)

    def are_ready(self) -> bool:
        """Return whether a process can be given work at once; one is started if there is none, and not waited for.

        Raises:
            WorkerError: none can be started.
            TransformError: a transform cannot be sent to it.
        """
        return self._pool.is_ready(self._member)

    def close(self) -> None:
        """Use the processes no longer, which ends them if nobody else does; the next `take` starts new ones."""
        self._pool.part(self._member)

    def let_go(self) -> None:
        """Do the same without waiting for anybody who uses them."""
        self._pool.part_soon(self._member)

    @property
    def process_ids(self) -> list[int]:
        """Process ids of the workers that run."""
        return self._pool.process_ids

    @property
    def ready(self) -> int:
        """Batches that wait ready."""
        return self._pool.ready(self._member)

    @property
    def restarts(self) -> int:
        """Workers that died while they worked for this feed or another."""
        return self._member.restarts
