"""Threads that read batches ahead, in the process that trains: they share the interpreter lock with it, but start at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

from loader.feed.feed import Feed, Key, Produced


class Threads:
    """Reads batches ahead in threads; `take` returns them in whatever order they are asked for."""

    def __init__(self, feed: Feed, count: int, queue_size: int) -> None:
        """Get ready; threads start with the first batch.

        Args:
            feed: what to read.
            count: threads.
            queue_size: batches that may be under way or wait ready.
        """
        self._feed = feed
        self._count = count
        self._queue_size = max(queue_size, count)
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._executor: ThreadPoolExecutor | None = None
        self._futures: dict[Key, Future[Produced]] = {}

    def take(self, key: Key, ahead: Iterable[Key]) -> Produced:
        """Return a batch, and have others made ahead (see `loader.workers.pool.pool.Pool.take`).

        Raises:
            ShardError, TransformError, BatchIndexError: as for `Feed.batch`.
        """
        if os.getpid() != self._owner:  # a fork has none of the threads
            return self._feed.batch(*key)
        with self._lock:
            wanted = [key, *(k for k, _ in zip(ahead, range(self._queue_size - 1), strict=False))]
            for stale in set(self._futures).difference(wanted):
                self._futures.pop(stale).cancel()
            if self._executor is None:
                self._executor = ThreadPoolExecutor(self._count, thread_name_prefix="shardfeed")
            for other in wanted:
                if other not in self._futures:
                    self._futures[other] = self._executor.submit(self._feed.batch, *other)
            future = self._futures.pop(key)
        try:
            return future.result()
        except CancelledError:  # someone closed the threads meanwhile
            return self._feed.batch(*key)

    def close(self) -> None:
        """End the threads, and wait for it; the next `take` starts new ones."""
        self._end(waits=True)

    def let_go(self) -> None:
        """End the threads, each as soon as it has read the batch it is at; the next `take` starts new ones."""
        self._end(waits=False)

    def _end(self, *, waits: bool) -> None:
        if os.getpid() != self._owner:
            return
        with self._lock:
            executor, self._executor = self._executor, None
            self._futures.clear()
        if executor is not None:
            executor.shutdown(wait=waits, cancel_futures=True)

    @property
    def ready(self) -> int:
        """Batches that wait ready."""
        with self._lock:
            return sum(future.done() for future in self._futures.values())

    @property
    def restarts(self) -> int:
        """Threads that died: none ever does by itself."""
        return 0
