"""Workers for reading and hashing files: threads for few of them, processes for many."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from prep.parallel.executors import Workers, open_workers

MANY_FILES = 20_000
"""From here on processes pay for their start: threads wait for the interpreter lock between the short calls that small files cost."""


@contextmanager
def open_readers(count: int, files: int) -> Iterator[Workers]:
    """Give workers that read files, which are gone when the block ends; what waits is dropped if it ends by an error.

    Args:
        count: of workers.
        files: about how many there are to read.
    """
    if count == 1 or files >= MANY_FILES:
        with open_workers(count) as workers:
            yield workers
        return
    executor = ThreadPoolExecutor(count)
    try:
        yield Workers(executor, count)
    finally:
        executor.shutdown(cancel_futures=True)
