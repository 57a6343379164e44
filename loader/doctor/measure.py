"""What making a batch costs, stage by stage and with any number of worker processes, on the disk where the shards lie."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from loader.feed.feed import Feed, Key
from loader.feed.index.index import Index
from loader.feed.options import FeedOptions
from loader.feed.reading.folders import Folders
from loader.feed.reading.shard_reader import ShardReader
from loader.feed.transforms import Transform, Transforms
from loader.feed.tree import leaves
from loader.workers.pool.pool import Pool
from loader.workers.workers import Workers

STAGES = ("open", "read", "transform", "copy", "hand-over")
"""In the order in which a batch goes through them."""

_ROUNDS = 6
"""Times that the same batches are walked through; the first shows nothing but how workers start."""


@dataclass(frozen=True, kw_only=True)
class Stages:
    """Seconds that each batch took in one process, one number a batch; differences of what was measured, so one can be below 0.

    Attributes:
        open: opening and closing its shards.
        read: bringing their bytes to memory, waiting for the disk included.
        transform: in the user's function.
        copy: putting what was read together to a batch, with its labels.
        hand_over: from a worker process to the one that trains; what both of them spend on it.
    """

    open: Sequence[float]
    read: Sequence[float]
    transform: Sequence[float]
    copy: Sequence[float]
    hand_over: Sequence[float]

    def usual(self) -> dict[str, float]:
        """Return the median of each stage, by its name in `STAGES`: other programs disturb a batch now and then."""
        parts = (self.open, self.read, self.transform, self.copy, self.hand_over)
        return {name: max(0.0, statistics.median(part)) for name, part in zip(STAGES, parts, strict=True)}

    def inline(self) -> list[float]:
        """Return what each batch takes where it is not handed over."""
        return [sum(parts) for parts in zip(self.open, self.read, self.transform, self.copy, strict=True)]


class Bench:
    """A set of batches, measured in several ways.

    Attributes:
        keys: the batches that are measured.
        samples: how many they have together.
        batch_bytes: of the arrays of one.
    """

    def __init__(
        self, index: Index, options: FeedOptions, transform: Transform | None, *, samples: int, seconds: float, is_cold: bool
    ) -> None:
        """Read batches until time is up, which tells how many are measured, and brings them into memory.

        Args:
            index: the samples.
            options: what decides the batches, which are the first ones of pass 0.
            transform: the user's function.
            samples: that are measured at most.
            seconds: that one walk through the batches may take, about.
            is_cold: whether to have the system forget the shards before each walk.
        """
        self._index = index
        self._is_cold = is_cold
        self._timed = None if transform is None else _Timed(transform)
        self._feed = Feed(index, options, Transforms(sample=transform))
        self._timed_feed = Feed(index, options, Transforms(sample=self._timed))
        self._reader = ShardReader(index, varied=self._feed.shape is None)
        self._folders = Folders(index.root)
        self.keys: list[Key] = []
        self.samples = self.batch_bytes = 0
        spent = 0.0
        for batch in range(self._feed.num_batches):
            key = (0, batch)
            if is_cold:
                self._forget([key], written_lately=True)
            start = time.perf_counter()
            produced = self._feed.batch(*key)
            spent += time.perf_counter() - start
            self.keys.append(key)
            self.samples += produced.samples
            self.batch_bytes = max(self.batch_bytes, _size(produced.batch))
            if spent > seconds or self.samples >= samples:
                break

    def stages(self) -> Stages:
        """Measure each stage of each batch in this process, and what a worker process needs to hand one over."""
        opened, read, transformed, copied = [], [], [], []
        for number, key in enumerate(self.keys):
            positions = self._feed.positions(*key)
            paths = self._index.paths.take_bytes(positions)
            seconds: dict[str, float] = {}
            measures = {"open": partial(self._open, paths), "read": partial(self._read, positions), "whole": partial(self._whole, key)}
            # What comes later finds more in the processor's caches, so each comes before the other in half of the batches.
            for name in sorted(measures, reverse=number % 2 > 0):
                self._forget_if_cold([key])
                seconds[name] = _seconds(measures[name])
            transforming = 0.0 if self._timed is None else self._timed.take()
            opened.append(seconds["open"])
            read.append(seconds["read"] - seconds["open"])
            transformed.append(transforming)
            copied.append(seconds["whole"] - seconds["read"] - transforming)
        return Stages(open=opened, read=read, transform=transformed, copy=copied, hand_over=self._hand_over())

    def rates(self, workers: int) -> list[float]:
        """Return how many batches a second come from a number of worker processes, 0 for none, in walks of the same batches."""
        if not workers:
            return [self._rate(lambda key, _: self._feed.batch(*key)) for _ in range(_ROUNDS)][1:]
        team = Workers(self._feed, workers, 2 * workers, pool=Pool())
        try:
            return [self._rate(team.take) for _ in range(_ROUNDS)][1:]
        finally:
            team.close()

    def cached_share(self) -> float | None:
        """Return which part of the shards the system still holds in memory after it was told to forget them; None if nothing tells."""
        nowait = getattr(os, "RWF_NOWAIT", 0)
        if not nowait:
            return None
        self._forget(self.keys)
        cached = 0
        for file in self._files(self.keys):
            with contextlib.suppress(OSError):
                cached += os.preadv(file, [bytearray(1)], 0, nowait) > 0
        return cached / self.samples

    def close(self) -> None:
        """Close what was opened."""
        self._reader.let_go()
        self._folders.let_go()

    def _rate(self, take: Callable[[Key, Sequence[Key]], Any]) -> float:
        self._forget_if_cold(self.keys)
        start = time.perf_counter()
        for number, key in enumerate(self.keys, start=1):
            take(key, self.keys[number:])
        return len(self.keys) / (time.perf_counter() - start)

    def _hand_over(self) -> list[float]:
        team = Workers(self._feed, 1, 4, pool=Pool())
        spent = []
        try:
            for number, key in enumerate(self.keys, start=1):
                start = time.thread_time()  # which stands still while the worker is waited for
                produced = team.take(key, self.keys[number:])
                spent.append(time.thread_time() - start + produced.seconds[2])
        finally:
            team.close()
        # What starting the worker took is no part of it.
        return [statistics.median(spent[1:] or spent)] * len(spent)

    def _open(self, paths: Sequence[bytes]) -> None:
        for path in paths:
            os.close(self._folders.open(path))

    def _whole(self, key: Key) -> None:
        self._timed_feed.batch(*key)

    def _read(self, positions: Any) -> None:
        if self._reader.shape is None:
            self._reader.read_each(positions.copy())
        else:
            self._reader.read(positions.copy())

    def _forget_if_cold(self, keys: Sequence[Key]) -> None:
        if self._is_cold:
            self._forget(keys)

    def _forget(self, keys: Sequence[Key], *, written_lately: bool = False) -> None:
        for file in self._files(keys):
            with contextlib.suppress(OSError):  # it is only advice
                if written_lately:
                    os.fsync(file)  # what is not on the disk yet cannot be forgotten
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)

    def _files(self, keys: Sequence[Key]) -> Any:
        """Yield an open descriptor of each shard of some batches."""
        for key in keys:
            for path in self._index.paths.take_bytes(self._feed.positions(*key)):
                file = self._folders.open(path)
                try:
                    yield file
                finally:
                    os.close(file)


class _Timed:
    """A transform that adds up the time spent in it."""

    def __init__(self, function: Transform) -> None:
        self._function = function
        self._seconds = 0.0

    def take(self) -> float:
        """Return what was added up since the last time."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    def __call__(self, x: Any, y: Any, rng: np.random.Generator) -> Any:
        start = time.perf_counter()
        try:
            return self._function(x, y, rng)
        finally:
            self._seconds += time.perf_counter() - start


def _seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _size(batch: Any) -> int:
    return sum(array.nbytes for array in leaves(batch))
