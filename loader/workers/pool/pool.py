"""Worker processes that all feeds of this process share: started once, kept over epochs, replaced when they die.

A worker is a fresh interpreter that runs `loader.workers.worker`; it never imports the caller's `__main__`, nor Keras. It is told
which batch to put into which slot of shared memory through one pipe, and answers through another. Waiting is `poll` on
those pipes: nothing spins, and the end of a process shows at once as the end of its pipe.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from loader.errors import TransformError, WorkerError
from loader.feed.feed import Key, Produced
from loader.feed.reading.shared_memory import SharedMemory, shared_place
from loader.workers.jobs import job_of, put_job
from loader.workers.messages import Admit, Dismiss, Done, Failed, Leaving, Order, Ready, Task
from loader.workers.pool.blame import WITHOUT_WORKERS, Deaths
from loader.workers.pool.member import Member
from loader.workers.pool.slots import Slots
from loader.workers.processes import END_SECONDS, Assignment, Process, end_all, end_process, start_process, wait_for

IDLE_SECONDS = 300.0
"""After so long without a task a worker leaves, to be started again when it is needed: TensorFlow holds on to every sequence that
`fit` was given until the process ends, so its workers cannot wait for the sequence to go. What was read ahead for such a sequence is
forgotten after the same time."""

_MOST_QUEUED = 256
"""Batches that one worker has to do at once. Its pipe holds the orders of more: else the two could wait for each other, this process
for room in a pipe and the worker for room in the other."""

_LOOK_SECONDS = 1.0
"""A worker's pipe does not end with it when a process that it started itself has inherited the pipe; so we look after so long."""


class Pool:
    """Worker processes and the memory that they share with this one."""

    def __init__(self, idle: float = IDLE_SECONDS) -> None:
        """Get ready; processes start with the first batch.

        Args:
            idle: seconds without a task after which a process leaves.
        """
        self._idle = idle
        self._owner = os.getpid()
        self._lock = threading.RLock()
        self._slots: Slots | None = None  # as long as there are members
        self._processes: list[Process] = []
        self._members: dict[int, Member] = {}
        self._numbers = 0
        self._gone: list[Member] = []
        self._started = 0
        self._deaths = Deaths()
        self._is_amid = False  # whether a call is, or was when an interrupt ended it, in the middle of things
        self._is_within = False  # whether one is
        self._end = weakref.finalize(self, _end_own, self._owner, self._processes)

    def take(self, member: Member, key: Key, ahead: Iterable[Key]) -> Produced:
        """Return a batch, and have others made ahead.

        Args:
            member: whose batch.
            key: the batch wanted now.
            ahead: those that will be wanted next, in their order; what is neither is forgotten.

        Raises:
            ShardError, TransformError, BatchIndexError: as for `Feed.batch`, with the worker's traceback as a note; and
                whatever a transform raises.
            WorkerError: workers died at this batch, or none can be started.
        """
        if os.getpid() != self._owner:  # a fork of the process that the workers belong to
            return member.feed.batch(*key)
        try:
            with self._lock, self._amid():
                outcome = self._taken(member, key, ahead)
        finally:
            self._see_to_gone()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def _taken(self, member: Member, key: Key, ahead: Iterable[Key]) -> Produced | BaseException:
        """Return a batch, or why there is none."""
        try:
            self._join(member)
        except TransformError as error:  # nobody was told anything yet
            return error
        wanted = [key, *(k for k, _ in zip(ahead, range(member.queue_size - 1), strict=False))]
        self._forget_others(member, set(wanted))
        self._start(member.count)
        # One order at a time would wake a worker for each batch, which costs the training thread its processor.
        if key not in member.done or 2 * (len(member.under_way) + len(member.done)) <= member.queue_size:
            self._dispatch(member, wanted)
        while key not in member.done:
            self._collect(member)
            self._dispatch(member, wanted)
        outcome = member.done.pop(key)
        member.attempts.pop(key, None)
        return outcome if isinstance(outcome, BaseException) else self._places.hand_over(member, outcome)

    def is_ready(self, member: Member) -> bool:
        """Return whether a process can be given work at once; some are started if there are none, and not waited for.

        Raises:
            WorkerError: none can be started.
            TransformError: a transform cannot be sent to them.
        """
        if os.getpid() != self._owner:
            return False
        try:
            with self._lock, self._amid():
                if not any(process.ready for process in self._processes):
                    self._join(member)
                    self._start(member.count)
                    self._collect(member, most=0.0)
                return any(process.ready for process in self._processes)
        finally:
            self._see_to_gone()

    def part(self, member: Member) -> None:
        """Let a feed take part no longer; without any, the processes end. The next `take` starts anew."""
        if os.getpid() != self._owner:
            return
        with self._lock, self._amid():
            self._part(member)
        self._see_to_gone()

    def part_soon(self, member: Member) -> None:
        """Do the same without waiting, as from a garbage collection, which can come amid anything, and in any thread."""
        if os.getpid() != self._owner:
            return
        self._gone.append(member)
        self._see_to_gone()

    def _see_to_gone(self) -> None:
        """Part from feeds that were collected as garbage; whoever is amid something does it after that."""
        while self._gone and self._lock.acquire(blocking=False):
            try:
                if self._is_within:
                    return
                with self._amid():
                    self._part_from_gone()
            finally:
                self._lock.release()

    @contextmanager
    def _amid(self) -> Iterator[None]:
        """Note what an interrupt would leave half done; whoever comes next then starts over.

        Ctrl-C comes between any two steps. What a worker was told, or said, may be lost then, and the next reply would be taken
        for another batch's.
        """
        self._is_within = True
        try:
            if self._is_amid:
                self._start_over()
            self._is_amid = True
            yield
            self._is_amid = False
        finally:
            self._is_within = False

    @property
    def _places(self) -> Slots:
        assert self._slots is not None  # noqa: S101  # whoever needs them has joined, and they stay as long as there are members
        return self._slots

    @property
    def process_ids(self) -> list[int]:
        """Process ids of the workers that run."""
        return [process.popen.pid for process in self._processes]

    def ready(self, member: Member) -> int:
        """Return how many batches of a feed wait ready, as far as their workers were heard."""
        return len(member.done)

    def _join(self, member: Member) -> None:
        now = time.monotonic()
        member.used = now
        if member.number is None:
            job = job_of(member.feed)
            self._numbers += 1
            try:
                if self._slots is None:
                    self._slots = Slots(SharedMemory())
                member.ticket = put_job(self._slots.memory, self._numbers, job)
            except OSError as error:
                raise WorkerError(
                    f"there is no room for what worker processes share with this one, which lies in {shared_place()}: "
                    f"{error.strerror or error}; make room there. {WITHOUT_WORKERS}"
                ) from error
            # In this order: what is done after an interrupt is done for those that are listed.
            self._members[self._numbers] = member
            member.number = self._numbers
        for other in self._members.values():
            if other.done and now - other.used > self._idle:
                self._forget_others(other, set())

    def _part(self, member: Member) -> None:
        if member.number is None:
            return
        self._forget_others(member, set())
        for process in self._processes:
            if member.number in process.feeds:
                process.feeds.discard(member.number)
                process.tell(Dismiss(feed=member.number))
        if self._slots is not None and member.ticket is not None:
            self._slots.memory.drop_job(member.ticket.number, member.ticket.sizes)
        number, member.number, member.ticket = member.number, None, None
        member.under_way.clear()
        member.attempts.clear()
        member.lent = set()
        self._members.pop(number, None)
        if not self._members:
            self._start_over()
        elif self._slots is not None:
            self._slots.clear_free()

    def _part_from_gone(self) -> None:
        while self._gone:
            self._part(self._gone.pop())

    def _start_over(self) -> None:
        """End all processes and forget what they were doing."""
        end_all(self._processes)
        for member in self._members.values():
            member.number = member.ticket = None
            member.under_way.clear()
            member.done.clear()
            member.lent = set()
        self._members.clear()
        self._slots = None

    def _start(self, count: int) -> None:
        while len(self._processes) < count:
            try:
                self._started += 1
                start_process(self._processes, self._started, self._places.memory, self._owner, self._idle)
            except OSError as error:
                raise WorkerError(f"worker processes cannot start ({error}). {WITHOUT_WORKERS}") from error

    def _forget_others(self, member: Member, wanted: set[Key]) -> None:
        """Drop what was made for a future that did not come."""
        for key in [key for key in member.done if key not in wanted]:
            outcome = member.done.pop(key)
            if isinstance(outcome, Done):
                self._places.give_back(outcome.slot)

    def _dispatch(self, member: Member, wanted: Iterable[Key]) -> None:
        """Give out what is wanted and not yet under way, each to the worker with the least to do."""
        assert member.number is not None and member.ticket is not None  # noqa: S101, PT018  # whoever dispatches has joined
        orders: dict[int, tuple[Process, list[Order]]] = {}
        for key in wanted:
            if key in member.done or key in member.under_way:
                continue
            if len(member.under_way) + len(member.done) >= member.queue_size:
                break
            process = min(self._processes[: member.count], key=lambda process: len(process.queue))
            if len(process.queue) >= _MOST_QUEUED:
                break
            _, said = orders.setdefault(process.popen.pid, (process, []))
            if member.number not in process.feeds:
                process.feeds.add(member.number)
                said.append(Admit(feed=member.number, sizes=member.ticket.sizes))
            slot = self._places.take()
            if process.ready and not process.queue:
                process.since = time.monotonic()
            process.queue.append(Assignment(member.number, key, slot, member.timeout))
            member.under_way.add(key)
            said.append(Task(feed=member.number, slot=slot, pass_=key[0], batch=key[1]))
        for process, said in orders.values():
            process.tell(*said)

    def _collect(self, member: Member, most: float = _LOOK_SECONDS) -> None:
        """Wait until a worker says something, dies, or has taken too long; for so many seconds at most."""
        now = time.monotonic()
        patience = min((process.deadline for process in self._processes if process.queue), default=now) - now
        events = wait_for(self._processes, min(max(0.0, patience), most))
        for process, data in events:
            if data:
                self._note(process, data)
            else:
                self._replace(process, "died")
        if not events:
            for process in list(self._processes):
                if process.popen.poll() is not None:
                    self._replace(process, "died")
                elif process.queue and time.monotonic() >= process.deadline:
                    self._replace(process, f"gave no answer for {process.queue[0].timeout:g} s")
        self._start(member.count)

    def _note(self, process: Process, data: bytes) -> None:
        for said in process.parser.feed(data):
            process.ready = True
            process.since = time.monotonic()
            if isinstance(said, Leaving):
                process.leaves = True
            elif isinstance(said, Ready):
                self._deaths.note_start()
            else:
                self._note_batch(process, said)

    def _note_batch(self, process: Process, said: Done | Failed) -> None:
        if not process.queue:
            raise WorkerError("a worker process answered though nothing was in work; all are started anew")
        self._deaths.note_batch()
        process.answered += 1
        work = process.queue.popleft()
        if said.slot != work.slot:  # else one batch would be handed over as another
            raise WorkerError(f"a worker process answered for slot {said.slot} while slot {work.slot} was in work; all are started anew")
        member = self._members.get(work.feed)
        if member is None:  # it parted meanwhile
            self._places.give_back(work.slot)
            return
        member.under_way.discard(work.key)
        if isinstance(said, Failed):
            self._places.give_back(work.slot)
            member.done[work.key] = said.exception()
        else:
            member.done[work.key] = said

    def _replace(self, process: Process, what: str) -> None:
        """End a worker that died or hangs, and blame the batch it had in work."""
        is_late = bool(process.queue) and time.monotonic() >= process.deadline
        end_process(process, seconds=0 if is_late else END_SECONDS)
        self._processes.remove(process)
        for work in process.queue:
            if process.popen.returncode is not None:  # else it may yet write there
                self._places.give_back(work.slot)
            if work.feed in self._members:
                self._members[work.feed].under_way.discard(work.key)
        if process.leaves:
            return
        for member in self._members.values():
            member.restarts += 1
        self._blame(process, what, is_late=is_late)

    def _blame(self, process: Process, what: str, *, is_late: bool) -> None:
        status = process.popen.returncode
        room = f", as it has no room left for a batch in {shared_place()}" if status == -signal.SIGBUS else ""
        what = f"{what} (exit status {status}{room})"
        work = self._deaths.culprit(process, self._places.memory.begun(process.number), what, is_late=is_late)
        if work is not None and work.feed in self._members:
            self._members[work.feed].blame(work.key, what)


def _end_own(owner: int, processes: list[Process]) -> None:
    """End a pool's processes; in a fork of their parent, only close the pipes that it inherited."""
    if os.getpid() == owner:
        end_all(processes)
    else:
        for process in processes:
            process.close()
