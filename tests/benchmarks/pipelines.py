"""Ways to iterate over the same files, each at several settings, and what it takes to hold them against each other.

Worker processes of other libraries import this file, so it imports little.
"""

from __future__ import annotations

import gc
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

HEADER_BYTES = 128
"""Before the elements in every shard that is measured; NumPy pads a header to a multiple of 64."""

END_SECONDS = 10.0

Begin = Callable[[], Iterator[Any]]
Open = Callable[[], AbstractContextManager[Begin]]
"""What opens a pipeline: within the context, a function begins a new pass over shuffled batches."""


@dataclass(frozen=True)
class Files:
    """The files of a run, for who does not read manifests; labels are 0 to 9."""

    paths: list[str]
    labels: list[int]
    shape: tuple[int, ...]
    batch_size: int

    def read(self, number: int) -> Any:
        """Read one sample the fast way for a known header: `np.load` takes several times as long."""
        count = int(np.prod(self.shape))
        return np.fromfile(self.paths[number], np.float32, count, offset=HEADER_BYTES).reshape(self.shape)


class Walk:
    """One pipeline that is walked again and again.

    A pass is begun and its first batch taken before anything is timed, so that nobody's start counts; what a pipeline has
    read ahead by then is its own gain. Nothing is read ahead into the next pass, which would cost the other's time.
    """

    def __init__(self, open_: Open, batches: int) -> None:
        self._open = open_
        self._batches = batches
        self._stack = ExitStack()
        self._pass: Iterator[Any] | None = None

    def __enter__(self) -> Self:
        self._begin = self._stack.enter_context(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        del self._begin
        self._stack.close()

    def start(self) -> Any:
        """Begin a pass and return its first batch."""
        self.stop()
        self._pass = self._begin()
        return next(self._pass)

    def finish(self) -> None:
        """Take the other batches of the pass."""
        assert self._pass is not None
        for _ in range(self._batches - 1):
            next(self._pass)

    def stop(self) -> None:
        """Give up the pass, so that nothing goes on behind the next measurement."""
        close = getattr(self._pass, "close", None)
        if close is not None:
            close()
        self._pass = None


def fastest(runs: Mapping[str, Callable[[], float]], tries: int) -> str:
    """Return the setting with the shortest of its runs, each of which returns how many seconds it took."""
    best = {setting: min(run() for _ in range(tries)) for setting, run in runs.items()}
    return min(best, key=best.__getitem__)


def fastest_walk(settings: Mapping[str, Open], batches: int, tries: int) -> str:
    """Return the setting with the fastest walk through a pass; where there is but one, nothing is walked."""
    if len(settings) == 1:
        return next(iter(settings))

    def run(open_: Open) -> float:
        with Walk(open_, batches) as walk:
            times = []
            for _ in range(tries):
                walk.start()
                start = time.perf_counter()
                walk.finish()
                times.append(time.perf_counter() - start)
            return min(times)

    return fastest({setting: lambda open_=open_: run(open_) for setting, open_ in settings.items()}, 1)


def counted(number: int, what: str, plural: str = "s") -> str:
    """Return how a setting is called in the table."""
    return f"{number or 'no'} {what}{'' if number == 1 else plural}"


@contextmanager
def ended_processes() -> Iterator[None]:
    """See to the end of all processes that were started within by Python's `multiprocessing`."""
    before = set(multiprocessing.active_children())
    try:
        yield
    finally:
        gc.collect()  # their owners end them when nobody needs them any more
        for process in set(multiprocessing.active_children()) - before:
            process.join(END_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()
