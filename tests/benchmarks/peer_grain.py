"""Grain over per-ID files. Its worker processes import this file, so it imports little."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import grain
from absl import flags
from pipelines import Begin, Files, Open, counted, ended_processes

if not flags.FLAGS.is_parsed():  # Grain asks them when it starts processes, and only programs of absl parse them
    flags.FLAGS.mark_as_parsed()

# Threads that read, and what they may have read ahead; the last are Grain's own defaults.
THREADS = ((0, 0), (1, 10), (2, 10), (16, 500))
WORKERS = (1, 2, 4)


class FilesSource:
    """One file a record."""

    def __init__(self, files: Files) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files.paths)

    def __getitem__(self, number: int) -> tuple[Any, int]:
        return self.files.read(number), self.files.labels[number]


def walks(files: Files, threads: tuple[tuple[int, int], ...] = THREADS, workers: tuple[int, ...] = WORKERS) -> dict[str, Open]:
    """Return what opens Grain for walking, by its threads that read and by its worker processes."""

    def opens(options: grain.ReadOptions, count: int) -> Callable[[], Any]:
        return lambda: _open(files, options, count)

    by_threads = {counted(n, "reading thread"): opens(grain.ReadOptions(n, ahead), 0) for n, ahead in threads}
    by_workers = {counted(n, "worker process", "es"): opens(grain.ReadOptions(0, 0), n) for n in workers}
    return by_threads | by_workers


@contextmanager
def _open(files: Files, options: grain.ReadOptions, workers: int) -> Iterator[Begin]:
    seeds = count()

    def begin() -> Iterator[Any]:
        batches = grain.MapDataset.source(FilesSource(files)).shuffle(seed=next(seeds)).batch(files.batch_size, drop_remainder=True)
        ahead = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=4)
        return iter(batches.to_iter_dataset(options).mp_prefetch(ahead))

    with ended_processes():
        yield begin
