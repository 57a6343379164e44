"""Processes that read batches ahead: started once, kept over epochs, replaced when they die.

A worker is a fresh interpreter that runs `loader.worker`; it never imports the caller's `__main__`, nor Keras. It is told
which batch to read into which slot of shared memory through one pipe, and answers through another. Waiting is `poll` on
those pipes: nothing spins, and the end of a process shows at once as the end of its pipe.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
import weakref
from collections.abc import Iterable

import numpy as np

from loader.errors import WorkerError
from loader.feed import Batch, Feed, Key
from loader.messages import READY, TASK, Job, write_all
from loader.processes import END_SECONDS, Process, end_all, end_process, start_process
from loader.slots import SlotLayout, SlotMemory
from manifests.npyfile import AnyArray

TIMEOUT_SECONDS = 120.0
"""How long a worker may take for one batch before it counts as hung."""

START_SECONDS = 60.0
"""How long a worker may take to start, on whatever machine and however busy."""

IDLE_SECONDS = 300.0
"""After so long without a task a worker leaves, to be started again when it is needed: TensorFlow holds on to every sequence that
`fit` was given until the process ends, so its workers cannot wait for the sequence to go."""

MOST_ATTEMPTS = 2
"""A batch at which so many workers died is given up."""

_LENT = 6
"""Slots that may be lent at once; beyond that, batches are copied. TensorFlow keeps a few batches waiting by itself."""

_READ_BYTES = 65_536


class Workers:
    """Reads batches ahead in processes; `take` returns them in whatever order they are asked for."""

    def __init__(self, feed: Feed, count: int, queue_size: int, timeout: float = TIMEOUT_SECONDS, idle: float = IDLE_SECONDS) -> None:
        """Get ready; processes start with the first batch.

        Args:
            feed: what to read; its own reader serves where workers cannot.
            count: processes.
            queue_size: batches that may be under way or wait ready.
            timeout: seconds that one batch may take.
            idle: seconds without a task after which a process leaves.
        """
        self._feed = feed
        self._idle = idle
        self._count = count
        self._queue_size = max(queue_size, count)
        self._timeout = timeout
        self._lock = threading.RLock()
        self._owner = os.getpid()
        self._memory: SlotMemory | None = None
        self._processes: list[Process] = []
        self._free: list[int] = []
        self._lent: set[int] = set()
        self._failed_starts = 0
        self._under_way: set[Key] = set()
        self._done: dict[Key, tuple[int, int] | BaseException] = {}
        self._attempts: dict[Key, int] = {}
        self._is_amid = False  # whether a call is, or was when an interrupt ended it, in the middle of things
        self._end = weakref.finalize(self, end_all, self._processes)

    def take(self, key: Key, ahead: Iterable[Key]) -> Batch:
        """Return a batch, and have others read ahead.

        Args:
            key: the batch wanted now.
            ahead: those that will be wanted next, in their order; what is neither is forgotten.

        Raises:
            ShardError, BatchIndexError: as for `Feed.batch`, with the worker's traceback as a note.
            WorkerError: workers died at this batch, or none can be started.
        """
        if os.getpid() != self._owner:  # a fork of the process that the workers belong to
            return self._feed.batch(*key)
        with self._lock:
            if self._is_amid:
                # Ctrl-C comes between any two steps. What a worker was told, or said, may be lost then, and the next reply would be
                # taken for another batch's.
                self.close()
            self._is_amid = True
            wanted = [key, *(k for k, _ in zip(ahead, range(self._queue_size - 1), strict=False))]
            self._forget_others(set(wanted))
            self._start()
            self._dispatch(wanted)
            if key not in self._done and key not in self._under_way:
                self._is_amid = False
                return self._feed.batch(*key)  # no slot is free, and waiting for Keras to give one back could be for ever
            while key not in self._done:
                self._collect()
                self._dispatch(wanted)
            outcome = self._done.pop(key)
            self._attempts.pop(key, None)
            x = None if isinstance(outcome, BaseException) else self._hand_over(*outcome)
            self._is_amid = False
        if isinstance(outcome, BaseException):
            raise outcome
        assert x is not None  # noqa: S101  # for the type checker
        return self._feed.with_targets(x, self._feed.positions(*key))

    def close(self) -> None:
        """End the processes; the next `take` starts new ones."""
        with self._lock:
            self._is_amid = True  # until all of it is done
            end_all(self._processes)
            self._under_way.clear()
            self._done.clear()
            self._memory = None
            self._free = []
            self._is_amid = False

    @property
    def process_ids(self) -> list[int]:
        """Process ids of the workers that run."""
        return [process.popen.pid for process in self._processes]

    def _start(self) -> None:
        if self._memory is None:
            # Those under way or ready, those lent, and one to move in.
            slots = self._queue_size + _LENT + 1
            layout = SlotLayout(slots=slots, rows=self._feed.options.batch_size, shape=self._feed.shape, dtype=self._feed.dtype)
            self._free = list(range(slots))
            self._lent = set()
            self._memory = SlotMemory(layout)
        layout = self._memory.layout
        job = Job(index=self._feed.index, options=self._feed.options, layout=layout, parent=self._owner, idle=self._idle)
        while len(self._processes) < self._count:
            self._processes.append(start_process(job, self._memory))

    def _forget_others(self, wanted: set[Key]) -> None:
        """Drop what was read for a future that did not come."""
        for key in [key for key in self._done if key not in wanted]:
            outcome = self._done.pop(key)
            if not isinstance(outcome, BaseException):
                self._free.append(outcome[0])

    def _dispatch(self, wanted: Iterable[Key]) -> None:
        """Give out what is wanted and not yet under way, each to the worker with the least to do."""
        for key in wanted:
            if key in self._done or key in self._under_way:
                continue
            if not self._free or len(self._under_way) + len(self._done) >= self._queue_size:
                return
            process = min(self._processes, key=lambda process: len(process.queue))
            slot = self._free.pop()
            if process.ready and not process.queue:
                process.since = time.monotonic()
            process.queue.append((key, slot))
            self._under_way.add(key)
            with contextlib.suppress(BrokenPipeError):  # a dead worker shows at its other pipe, and its batches are given out again
                write_all(process.tasks, TASK.pack(slot, *key))

    def _collect(self) -> None:
        """Wait until a worker says something, dies, or has taken too long."""
        poll = select.poll()
        by_descriptor = {process.replies: process for process in self._processes}
        for descriptor in by_descriptor:
            poll.register(descriptor, select.POLLIN)
        now = time.monotonic()
        patience = min((self._deadline(process) for process in self._processes if process.queue), default=now) - now
        events = poll.poll(max(0.0, patience) * 1000)
        for descriptor, _ in events:
            process = by_descriptor[descriptor]
            data = os.read(descriptor, _READ_BYTES)
            if data:
                self._note_replies(process, data)
            else:
                self._replace(process, "died")
        if not events:
            for process in list(self._processes):
                if process.queue and time.monotonic() >= self._deadline(process):
                    self._replace(process, f"gave no answer for {self._timeout:g} s")

    def _deadline(self, process: Process) -> float:
        """Return when a worker that has something to do counts as hung, as `time.monotonic` counts."""
        return process.since + (self._timeout if process.ready else max(self._timeout, START_SECONDS))

    def _note_replies(self, process: Process, data: bytes) -> None:
        for said, outcome in process.parser.feed(data):
            process.ready = True
            self._failed_starts = 0
            process.since = time.monotonic()
            if said == READY:
                continue
            key, slot = process.queue.popleft()
            if said != slot:  # else one batch would be handed over as another
                raise WorkerError(f"a worker process answered for slot {said} while slot {slot} was in work; all are started anew")
            self._under_way.discard(key)
            if isinstance(outcome, BaseException):
                self._free.append(slot)
                self._done[key] = outcome
            else:
                self._done[key] = (slot, outcome)

    def _replace(self, process: Process, what: str) -> None:
        """End a worker that died or hangs, blame the batch it had in work, and let a new one take its place."""
        end_process(process, seconds=0 if process.queue and time.monotonic() >= self._deadline(process) else END_SECONDS)
        left = process.popen.returncode == 0  # of its own accord, having had nothing to do
        self._processes.remove(process)
        for key, slot in process.queue:
            self._under_way.discard(key)
            self._free.append(slot)
        if not process.ready:
            self._failed_starts += 1
            if self._failed_starts >= MOST_ATTEMPTS:
                self._failed_starts = 0
                raise WorkerError(
                    f"worker processes cannot start (exit status {process.popen.returncode}); their own message is on stderr. "
                    "Pass workers=0 to read in the process that trains"
                )
        elif process.queue and not left:
            key = process.queue[0][0]
            self._attempts[key] = self._attempts.get(key, 0) + 1
            if self._attempts[key] >= MOST_ATTEMPTS:
                ids = ", ".join(map(repr, self._feed.ids(*key)))
                status = process.popen.returncode
                self._done[key] = WorkerError(
                    f"{MOST_ATTEMPTS} worker processes {what} (exit status {status}) at batch {key[1]} of pass {key[0]}, with IDs {ids}"
                )
        self._start()

    def _hand_over(self, slot: int, rows: int) -> AnyArray:
        """Lend a slot, or copy it when Keras holds many: what it holds is never waited for."""
        assert self._memory is not None  # noqa: S101  # a batch is done only when there is memory that it lies in
        if len(self._lent) < _LENT:
            free, lent = self._free, self._lent
            lent.add(slot)

            def give_back(number: int) -> None:
                # A garbage collection can come here at any moment and in any thread, so nothing is waited for.
                lent.discard(number)
                free.append(number)

            return self._memory.lend(slot, rows, give_back)
        copy = np.array(self._memory.slots[slot].rows[:rows])
        self._free.append(slot)
        return copy
