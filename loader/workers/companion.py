"""What `fit` uses by default: batches are made inline until one worker process is worth its start, and in that process then."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable

from loader.errors import WorkerError
from loader.feed.feed import Feed, Key, Produced
from loader.workers.workers import Workers

WORTH_SECONDS = 0.25
"""Seconds of making batches after which one worker process is started: about what the start of one costs. Who ends before has paid
nothing for it, and who goes on pays at most twice what knowing the future would have cost."""


class Companion:
    """Makes batches in the caller's thread at first, and in one worker process as soon as that is worth it and has started.

    On a machine with one processor, and where no process can be started, it stays as it began.
    """

    def __init__(self, feed: Feed, queue_size: int, timeout: float) -> None:
        """Get ready; nothing starts yet.

        Args:
            feed: whose batches.
            queue_size: batches that may be under way or wait ready.
            timeout: seconds that one batch may take in the process.
        """
        self._feed = feed
        self._workers = Workers(feed, 1, queue_size, timeout)
        self._left = WORTH_SECONDS
        self._helps = False
        self._is_alone = _processors() == 1

    def take(self, key: Key, ahead: Iterable[Key]) -> Produced:
        """Return a batch, and have others made ahead (see `loader.workers.pool.pool.Pool.take`).

        Args:
            key: the batch wanted now.
            ahead: those that will be wanted next, in their order.
        """
        if self._helps or self._is_there():
            return self._workers.take(key, ahead)
        following = next(iter(ahead), None)
        produced = self._feed.batch(*key, following=following)
        self._left -= sum(produced.seconds)
        return produced

    def _is_there(self) -> bool:
        """Return whether the process can be given work; it is started if need be, and not waited for."""
        if self._left > 0 or self._is_alone:
            return False
        try:
            self._helps = self._workers.are_ready()
        except WorkerError as error:
            self._is_alone = True
            warnings.warn(f"batches are made in the process that trains: {error}", RuntimeWarning, stacklevel=5)
        return self._helps

    def close(self) -> None:
        """Use the process no longer; the next `take` starts another one."""
        self._helps = False
        self._workers.close()

    def let_go(self) -> None:
        """Do the same without waiting for anybody who uses it."""
        self._helps = False
        self._workers.let_go()

    @property
    def ready(self) -> int:
        """Batches that wait ready."""
        return self._workers.ready

    @property
    def restarts(self) -> int:
        """Processes that died meanwhile."""
        return self._workers.restarts


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
