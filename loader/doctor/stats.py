"""What a feed has done so far, in figures."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

MOST_REASONS = 1000
"""Samples whose reason for being skipped is kept."""


@dataclass(frozen=True, kw_only=True)
class Stats:
    """Sums since the sequence was made.

    Attributes:
        batches: handed over.
        samples: handed over.
        waiting_seconds: between being asked for a batch and handing it over.
        training_seconds: between handing over a batch and being asked for the next one of the same walk. On TensorFlow, which asks
            ahead, this is the time in which its buffer was full.
        read_seconds: spent on reading, in all workers together.
        transform_seconds: spent on the user's transforms and on putting samples together, likewise.
        hand_over_seconds: spent on what lay in no shared memory yet, likewise; 0 without worker processes.
        ready: batches that waited ready when one was asked for, on average; 0 without workers.
        max_queue_size: the most that can be under way or wait ready.
        skipped: samples for which another one stood because they could not be read.
        restarts: worker processes that died.
    """

    batches: int
    samples: int
    waiting_seconds: float
    training_seconds: float
    read_seconds: float
    transform_seconds: float
    hand_over_seconds: float
    ready: float
    max_queue_size: int
    skipped: int
    restarts: int

    @property
    def samples_per_second(self) -> float:
        """Samples handed over a second, from the first time a batch was asked for."""
        seconds = self.waiting_seconds + self.training_seconds
        return self.samples / seconds if seconds else 0.0

    @property
    def waiting_share(self) -> float:
        """The part of the time that went into waiting for data, from 0 to 1."""
        seconds = self.waiting_seconds + self.training_seconds
        return self.waiting_seconds / seconds if seconds else 0.0

    def since(self, before: Stats) -> Stats:
        """Return what was added since an earlier moment."""
        batches = self.batches - before.batches
        return Stats(
            batches=batches,
            samples=self.samples - before.samples,
            waiting_seconds=self.waiting_seconds - before.waiting_seconds,
            training_seconds=self.training_seconds - before.training_seconds,
            read_seconds=self.read_seconds - before.read_seconds,
            transform_seconds=self.transform_seconds - before.transform_seconds,
            hand_over_seconds=self.hand_over_seconds - before.hand_over_seconds,
            ready=(self.ready * self.batches - before.ready * before.batches) / batches if batches else 0.0,
            max_queue_size=self.max_queue_size,
            skipped=self.skipped - before.skipped,
            restarts=self.restarts - before.restarts,
        )


class Ledger:
    """Adds up what becomes of batches; threads may write at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._batches = self._samples = 0
        self._waiting = self._training = 0.0
        self._stages = [0.0, 0.0, 0.0]
        self._ready = 0
        self._left: float | None = None
        self.skipped = 0
        self.reasons: dict[str, str] = {}
        self.unreadable: set[str] = set()

    def asked(self, *, walks: bool) -> float:
        """Note that a batch is asked for, and return when."""
        now = time.perf_counter()
        with self._lock:
            if walks and self._left is not None:
                self._training += now - self._left
            self._left = None
        return now

    def handed_over(self, asked: float, samples: int, ready: int, seconds: Sequence[float], skipped: Sequence[tuple[str, str]]) -> None:
        """Note what was handed over to who asked at `asked`."""
        with self._lock:
            self._left = time.perf_counter()
            self._batches += 1
            self._samples += samples
            self._waiting += self._left - asked
            self._ready += ready
            for stage, spent in enumerate(seconds):
                self._stages[stage] += spent
            self.skipped += len(skipped)
            self.unreadable.update(id_ for id_, _ in skipped)
            for id_, reason in skipped:
                if len(self.reasons) < MOST_REASONS:
                    self.reasons[id_] = reason

    def pause(self) -> None:
        """Note that what comes next is no training: an epoch ended."""
        with self._lock:
            self._left = None

    def stats(self, *, max_queue_size: int, restarts: int) -> Stats:
        """Return the sums."""
        with self._lock:
            read, transform, hand_over = self._stages
            return Stats(
                batches=self._batches,
                samples=self._samples,
                waiting_seconds=self._waiting,
                training_seconds=self._training,
                read_seconds=read,
                transform_seconds=transform,
                hand_over_seconds=hand_over,
                ready=self._ready / self._batches if self._batches else 0.0,
                max_queue_size=max_queue_size,
                skipped=self.skipped,
                restarts=restarts,
            )
