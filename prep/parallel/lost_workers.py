"""Chunks of items over an executor whose workers may die: what is lost is done again, and a deadly item is found.

When a worker dies, every chunk under way is lost, and nobody knows whose fault it was. So each is done again, twice at most.
What was lost three times is suspect: it runs with nothing beside it, and if it is lost once more it is the culprit, which is
cut in halves until one item is left.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from prep.errors import WorkerError
from prep.parallel.executors import POLL_SECONDS, Workers, lost_with_its_worker
from prep.sources.items import Item
from prep.sources.listing import Failure
from prep.text import counted

Result = TypeVar("Result")

TRIES_AMONG_OTHERS = 3
"""How often a chunk is lost before it is suspect: the first time, and twice again."""

ENDED_ITS_WORKER = frozenset({"worker-died", "timeout"})
"""Stages of failures that are a process' end; without a process of its own, such an item may end the build."""

_STARTS = 3
"""How often a pool may break in a row before it has done anything at all."""

_HOPELESS_ITEMS = 16
"""So many items killed their worker and not one chunk was ever done: it is no item's fault."""

_CANCELLATIONS = 3
"""How often a chunk that was lost without its worker's death, as when somebody restarts a cluster, is handed out again."""

_EXIT_CODES = re.compile(r"exit codes of the workers are \{(.+?)\}")


class ItemChunk(Protocol):
    """What a chunk must have: a frozen dataclass with items."""

    @property
    def items(self) -> Sequence[Item]:
        """What to work on."""


@dataclass(frozen=True)
class _Task:
    """A chunk, how often it was lost with its worker among others, and how often it was cancelled by others than this build."""

    chunk: Any
    losses: int = 0
    cancellations: int = 0

    @property
    def is_suspect(self) -> bool:
        """Whether it is to run with nothing beside it."""
        return self.losses >= TRIES_AMONG_OTHERS


def run_chunks(
    workers: Workers,
    function: Callable[[Any], Result],
    chunks: Iterable[ItemChunk],
    *,
    done: Callable[[Result], object],
    failed: Callable[[Failure], object],
    stop: Callable[[], bool] = lambda: False,
    note: Callable[[str], object] = lambda _: None,
) -> None:
    """Run a function on every chunk and hand each result on as it comes, in any order; few chunks are under way at a time.

    Args:
        workers: where to run; its executor is replaced when a worker died.
        function: from a chunk to a result; importable. It may be run again on the same items.
        chunks: frozen dataclasses with `items`; picklable. Taken one by one as workers come free.
        done: called in this thread with each result.
        failed: called with each item that kills its worker or takes too long.
        stop: asked now and then; once it says yes, no more is handed out, and what runs is waited for.
        note: told of each worker that died, and of waiting.

    Raises:
        WorkerError: workers die whatever they are given, or an executor that cannot be replaced broke, or has no workers.
    """
    run = _Run(workers, function, iter(chunks), failed, note)
    stopping = False
    try:
        while True:
            broken = None if stopping else run.hand_out(stop)
            if not run.running and broken is None:
                return
            ended = run.wait(broken)
            for result in ended.results:
                done(result)
            if stop() and not stopping:
                stopping = True
                run.hold()
            if not stopping:
                run.recover(ended)
    except BaseException as error:
        left = workers.outlast(run.running, error)
        if left:
            note(f"{counted(left, 'chunk')} not waited for: whatever still runs of it writes nothing more once this build has ended")
        raise


@dataclass(frozen=True, kw_only=True)
class _Ended(Generic[Result]):
    """What has become of tasks that are under way no more.

    Attributes:
        results: of those that came to their end.
        lost: those that were lost with their workers.
        cancelled: those that somebody else has cancelled.
        broken: the error of a worker that died.
    """

    results: Sequence[Result]
    lost: Sequence[_Task]
    cancelled: Sequence[_Task]
    broken: BaseException | None


class _Run(Generic[Result]):
    """What runs, and what is still to do."""

    def __init__(
        self,
        workers: Workers,
        function: Callable[[Any], Result],
        fresh: Iterator[ItemChunk],
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
                self.running[self._workers.submit(self._function, task.chunk)] = task
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

    def wait(self, broken: BaseException | None) -> _Ended[Result]:
        """Wait until something ends, or a moment.

        Raises:
            WorkerError: nothing will ever end.
        """
        finished = wait(self.running, POLL_SECONDS, FIRST_COMPLETED).done if broken is None else set()
        broken = next((error for future in finished if (error := lost_with_its_worker(future)) is not None), broken)
        if isinstance(broken, BrokenExecutor):
            finished = wait(self.running).done  # all of them: a broken executor gives each its error
        elif not finished:
            self._workers.check_trouble()
        results, lost, cancelled = [], [], []
        for future in finished:
            task = self.running.pop(future)
            if lost_with_its_worker(future) is not None:
                lost.append(task)
            elif future.cancelled():
                cancelled.append(task)
            elif (result := self._workers.result_of(future)) is not None:
                results.append(result)
                self._any_done = True
        return _Ended(results=results, lost=lost, cancelled=cancelled, broken=broken)

    def hold(self) -> None:
        """Take back what is handed out but has not begun, and let each worker end with the item that it is at."""
        if not self._workers.call_off():
            # Those cancelled are not waited for: of a pool that breaks now, nobody would ever say so. Where workers can be told, none is
            # cancelled: Dask says so of tasks that run on.
            self.running = {future: task for future, task in self.running.items() if not future.cancel()}
        if self.running:
            second = "ends them at once" if self._workers.view is None else "does not wait for them"
            self._note(f"stopping: the items under way are finished first; a second Ctrl-C {second}")

    def recover(self, ended: _Ended[Result]) -> None:
        """Decide what becomes of chunks that were lost, and put new workers in the place of those that died."""
        for task in ended.cancelled:
            if task.cancellations >= _CANCELLATIONS:
                raise WorkerError(
                    f"a chunk was cancelled {task.cancellations + 1} times, and not by this build; nothing was changed; "
                    "run again when nobody restarts the workers"
                )
            self._requeue(replace(task, cancellations=task.cancellations + 1))
        if ended.broken is not None:
            self._replace_dead(ended.lost, ended.broken)

    def _replace_dead(self, lost: Sequence[_Task], broken: BaseException) -> None:
        cause, watch = _cause(broken), self._workers.watch
        late = frozenset() if watch is None else watch.take_late()
        self._note(f"a worker process {'took too long over an item' if late else f'died ({cause})'}; what it had is done again")
        # An executor that lives on has replaced the worker, and done its tasks again, itself: what it gives up has killed several.
        losses = 1 if isinstance(broken, BrokenExecutor) else TRIES_AMONG_OTHERS
        for task in sorted(lost, key=lambda task: task.chunk.items[0].id):
            if watch is not None and late:
                self._without_late(task, late, watch.seconds)
            elif task.is_suspect:
                self._convict(task, cause)
            else:
                self._requeue(replace(task, losses=task.losses + losses))
        if self._blamed >= _HOPELESS_ITEMS and not self._any_done:
            raise WorkerError(
                f"{self._blamed} items one after the other killed their worker ({cause}) and not one was done, so it is none of theirs; "
                "nothing was changed; is there enough memory? try --workers 1"
            )
        if isinstance(broken, BrokenExecutor):
            _renew(self._workers, self._function)

    def _without_late(self, task: _Task, late: frozenset[str], seconds: float) -> None:
        """Give up the items at which workers are known to have hung; the others are not to blame."""
        items = task.chunk.items
        for item in items:
            if item.id in late:
                self._failed(_late_failure(item, seconds))
        rest = [item for item in items if item.id not in late]
        if rest:
            self._requeue(replace(task, chunk=replace(task.chunk, items=rest)))

    def _convict(self, task: _Task, cause: str) -> None:
        """Narrow down a chunk that has killed a worker with nothing beside it."""
        items = task.chunk.items
        if len(items) == 1:
            self._blamed += 1
            self._failed(_death_failure(items[0], cause))
            return
        middle = len(items) // 2
        for half in (items[middle:], items[:middle]):
            self._requeue(replace(task, chunk=replace(task.chunk, items=half)), first=True)


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


def _cause(error: BaseException) -> str:
    """Return what is known of how a worker died: its signal or exit code."""
    known = _EXIT_CODES.search(str(error))
    return known[1] if known else type(error).__name__


def _late_failure(item: Item, seconds: float) -> Failure:
    error = f"took longer than {seconds:g} s; if that is no fault, give a greater --item-timeout"
    return Failure(id=item.id, source=item.source, stage="timeout", type="TimeoutError", error=error)


def _death_failure(item: Item, cause: str) -> Failure:
    error = f"its worker process dies of it ({cause})"
    return Failure(id=item.id, source=item.source, stage="worker-died", type="WorkerError", error=error)
