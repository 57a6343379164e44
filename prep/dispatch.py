"""Chunks of records over an executor whose workers may die: what is lost is done again, and a deadly item is found.

When a worker dies, every chunk under way is lost, and nobody knows whose fault it was. So each is done again, twice at most.
What was lost three times is suspect: it runs with nothing beside it, and if it is lost once more it is the culprit, which is
cut in halves until one item is left.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from prep.errors import WorkerError
from prep.executors import Workers
from prep.records import Failure, Record

Result = TypeVar("Result")

TRIES_AMONG_OTHERS = 3
"""How often a chunk is lost before it is suspect: the first time, and twice again."""

ENDED_ITS_WORKER = frozenset({"worker-died", "timeout"})
"""Stages of failures that are a process' end; without a process of its own, such an item may end the build."""

_STARTS = 3
"""How often a pool may break in a row before it has done anything at all."""

_HOPELESS_ITEMS = 16
"""So many items killed their worker and not one chunk was ever done: it is no item's fault."""

_POLL_SECONDS = 0.25
"""Between two looks at whether to stop, while nothing ends."""

_EXIT_CODES = re.compile(r"exit codes of the workers are \{(.+?)\}")


class RecordChunk(Protocol):
    """What a chunk must have: a frozen dataclass with records."""

    @property
    def records(self) -> Sequence[Record]:
        """What to work on."""


@dataclass(frozen=True)
class _Task:
    """A chunk and how often it was lost among others."""

    chunk: Any
    losses: int = 0

    @property
    def is_suspect(self) -> bool:
        """Whether it is to run with nothing beside it."""
        return self.losses >= TRIES_AMONG_OTHERS


def run_chunks(
    workers: Workers,
    function: Callable[[Any], Result],
    chunks: Iterable[RecordChunk],
    *,
    done: Callable[[Result], object],
    failed: Callable[[Failure], object],
    stop: Callable[[], bool] = lambda: False,
    note: Callable[[str], object] = lambda _: None,
) -> None:
    """Run a function on every chunk and hand each result on as it comes, in any order; few chunks are under way at a time.

    Args:
        workers: where to run; its executor is replaced when a worker died.
        function: from a chunk to a result; importable. It may be run again on the same records.
        chunks: frozen dataclasses with `records`; picklable. Taken one by one as workers come free.
        done: called in this thread with each result.
        failed: called with each record that kills its worker or takes too long.
        stop: asked now and then; once it says yes, no more is handed out, and what runs is waited for.
        note: told of each worker that died, and of waiting.

    Raises:
        WorkerError: workers die whatever they are given, or an executor that cannot be replaced broke.
    """
    run = _Run(workers, function, iter(chunks), failed, note)
    stopping = False
    while True:
        broken = None if stopping else run.hand_out(stop)
        if not run.running and broken is None:
            return
        results, lost, broken = run.wait(broken)
        for result in results:
            done(result)
        if stop() and not stopping:
            stopping = True
            run.hold()
        if broken is not None and not stopping:
            run.recover(lost, broken)


class _Run(Generic[Result]):
    """What runs, and what is still to do."""

    def __init__(
        self,
        workers: Workers,
        function: Callable[[Any], Result],
        fresh: Iterator[RecordChunk],
        failed: Callable[[Failure], object],
        note: Callable[[str], object],
    ) -> None:
        self.running: dict[Future[Result], _Task] = {}
        self._workers = workers
        self._function = function
        self._failed = failed
        self._note = note
        self._fresh = fresh
        self._again: deque[_Task] = deque()
        self._suspects: deque[_Task] = deque()
        self._any_done = False
        self._blamed = 0

    def hand_out(self, stop: Callable[[], bool]) -> BaseException | None:
        """Submit as many tasks as may be under way, a suspect with nothing beside it; return the error of a broken executor."""
        while not stop() and len(self.running) < (1 if self._suspects else self._workers.in_flight):
            task = self._next()
            if task is None:
                return None
            try:
                self.running[self._workers.executor.submit(self._function, task.chunk)] = task
            except BrokenExecutor as error:
                self._requeue(task, first=True)  # it was not begun, so nothing can be said against it
                return error
            if task.is_suspect:
                return None
        return None

    def _next(self) -> _Task | None:
        if self._suspects:
            return self._suspects.popleft()
        if self._again:
            return self._again.popleft()
        return next((_Task(chunk) for chunk in self._fresh), None)

    def _requeue(self, task: _Task, *, first: bool = False) -> None:
        queue = self._suspects if task.is_suspect else self._again
        (queue.appendleft if first else queue.append)(task)

    def wait(self, broken: BaseException | None) -> tuple[list[Result], list[_Task], BaseException | None]:
        """Wait until something ends, or a moment; return the results, the tasks lost with their workers, and the error if any are."""
        finished = wait(self.running, _POLL_SECONDS, FIRST_COMPLETED).done if broken is None else set()
        broken = next((error for future in finished if (error := _death(future)) is not None), broken)
        if isinstance(broken, BrokenExecutor):
            finished = wait(self.running).done  # all of them: a broken executor gives each its error
        results, lost = [], []
        for future in finished:
            task = self.running.pop(future)
            if _death(future) is not None:
                lost.append(task)
            elif not future.cancelled():
                results.append(future.result())
                self._any_done = True
        return results, lost, broken

    def hold(self) -> None:
        """Take back what is handed out but has not begun, and let each worker end with the item that it is at."""
        if self._workers.watch is not None:
            self._workers.watch.stop()
        # Those cancelled are not waited for: of a pool that breaks now, nobody would ever say so.
        self.running = {future: task for future, task in self.running.items() if not future.cancel()}
        if self.running:
            self._note("stopping: the items under way are finished first; a second Ctrl-C ends them at once")

    def recover(self, lost: Sequence[_Task], broken: BaseException) -> None:
        """Decide what becomes of chunks that were lost with a worker, and put new workers in its place."""
        cause, watch = _cause(broken), self._workers.watch
        late = frozenset() if watch is None else watch.take_late()
        self._note(f"a worker process {'took too long over an item' if late else f'died ({cause})'}; what it had is done again")
        for task in sorted(lost, key=lambda task: task.chunk.records[0].id):
            if watch is not None and late:
                self._without_late(task, late, watch.seconds)
            elif task.is_suspect:
                self._convict(task, cause)
            else:
                self._requeue(replace(task, losses=task.losses + 1))
        if self._blamed >= _HOPELESS_ITEMS and not self._any_done:
            raise WorkerError(
                f"{self._blamed} items one after the other killed their worker ({cause}) and not one was done, so it is none of theirs; "
                "nothing was changed; is there enough memory? try --workers 1"
            )
        if isinstance(broken, BrokenExecutor):
            _renew(self._workers, self._function)

    def _without_late(self, task: _Task, late: frozenset[str], seconds: float) -> None:
        """Give up the items at which workers are known to have hung; the others are not to blame."""
        records = task.chunk.records
        for record in records:
            if record.id in late:
                self._failed(_late_failure(record, seconds))
        rest = [record for record in records if record.id not in late]
        if rest:
            self._requeue(replace(task, chunk=replace(task.chunk, records=rest)))

    def _convict(self, task: _Task, cause: str) -> None:
        """Narrow down a chunk that has killed a worker with nothing beside it."""
        records = task.chunk.records
        if len(records) == 1:
            self._blamed += 1
            self._failed(_death_failure(records[0], cause))
            return
        middle = len(records) // 2
        for half in (records[middle:], records[:middle]):
            self._requeue(replace(task, chunk=replace(task.chunk, records=half)), first=True)


def _renew(workers: Workers, function: Callable[..., object]) -> None:
    """Replace a broken executor by one that is seen to work."""
    for _ in range(_STARTS):
        workers.renew()
        try:
            workers.executor.submit(_can_load, function).result()
        except BrokenExecutor as error:
            broken = error
        else:
            return
    raise WorkerError(
        f"worker processes die as soon as they start ({_cause(broken)}), before they are given an item; nothing was changed; "
        "is there enough memory? try --workers 1"
    ) from broken


def _can_load(_function: object) -> int:
    """Run in a new worker: by then it has imported all that the function needs."""
    return os.getpid()


def _death(future: Future[Any]) -> BaseException | None:
    """Return the error that says that a call was lost with its worker; None if it came to an end of its own."""
    try:
        error = future.exception(0) if future.done() else None
    except CancelledError:
        return None
    # Dask's word for a task whose workers died; the package is not needed for knowing it.
    return error if isinstance(error, BrokenExecutor) or type(error).__name__ == "KilledWorker" else None


def _cause(error: BaseException) -> str:
    """Return what is known of how a worker died: its signal or exit code."""
    known = _EXIT_CODES.search(str(error))
    return known[1] if known else type(error).__name__


def _late_failure(record: Record, seconds: float) -> Failure:
    error = f"took longer than {seconds:g} s; if that is no fault, give a greater --item-timeout"
    return Failure(id=record.id, source=record.source, stage="timeout", type="TimeoutError", error=error)


def _death_failure(record: Record, cause: str) -> Failure:
    error = f"its worker process dies of it ({cause})"
    return Failure(id=record.id, source=record.source, stage="worker-died", type="WorkerError", error=error)
