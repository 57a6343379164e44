"""A worker process: puts batches into slots, as told, until the process that trains closes its pipe or ends."""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections import deque
from dataclasses import replace

from loader.feed.feed import Feed
from loader.feed.reading.shared_memory import SharedMemory
from loader.workers.jobs import JobTicket, read_job
from loader.workers.messages import Admit, Dismiss, Done, Failed, Leaving, Order, Ready, Task, failed, packed, read_order, write_all

_PARENT_POLL_SECONDS = 1.0


def main(pipes: tuple[int, int], memory: int, parent: int, idle: int, number: int) -> None:
    """Work until the pipe of tasks is closed, or nothing has been asked for in a while.

    Args:
        pipes: descriptors, to read orders from and to write to what there is to say.
        memory: descriptor of the shared memory.
        parent: process id of the process that trains.
        idle: milliseconds without an order after which to leave.
        number: of this worker among those that share the memory.
    """
    tasks, replies = pipes
    for descriptor in (*pipes, memory):
        os.set_inheritable(descriptor, False)  # noqa: FBT003  # what a transform starts is not to hold them
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    shared = SharedMemory(memory)
    work, answered = Work(shared), 0
    write_all(replies, packed(Ready()))
    poll = select.poll()
    poll.register(tasks, select.POLLIN)
    orders: deque[Order] = deque()
    while orders or poll.poll(idle):
        # All that was said already, to know what comes after the batch in work.
        while not orders or poll.poll(0):
            order = read_order(tasks)
            if order is None:
                return
            orders.append(order)
        order = orders.popleft()
        if isinstance(order, Dismiss):
            work.dismiss(order)
            continue
        # A feed is admitted for the sake of the batch that comes next.
        shared.note_begun(number, answered + 1)
        if isinstance(order, Admit):
            work.admit(order)
        else:
            following = next((later for later in orders if isinstance(later, Task) and later.feed == order.feed), None)
            write_all(replies, work.done(order, following))
            answered += 1
    write_all(replies, packed(Leaving()))
    os.close(replies)  # a thread that a transform started may keep the process


class Work:
    """The feeds that a worker knows, and what it does with them."""

    def __init__(self, memory: SharedMemory) -> None:
        self._memory = memory
        self._feeds: dict[int, Feed | Failed] = {}

    def admit(self, order: Admit) -> None:
        """Take note of a feed; what is wrong with it is said when it is first asked for."""
        try:
            job = read_job(self._memory, JobTicket(number=order.feed, sizes=order.sizes))
            sys.path.extend(entry for entry in job.path if entry not in sys.path)
            self._feeds[order.feed] = Feed(job.index, job.options, job.transforms())
        except BaseException as error:  # noqa: BLE001  # a user's function can need anything to be imported
            self._feeds[order.feed] = failed(0, error)

    def dismiss(self, order: Dismiss) -> None:
        """Forget a feed."""
        self._feeds.pop(order.feed, None)

    def done(self, order: Task, following: Task | None = None) -> bytes:
        """Put a batch into a slot, and return what to say of it, packed.

        Args:
            order: which.
            following: what comes next of the same feed, if anything does.
        """
        feed = self._feeds[order.feed]
        if isinstance(feed, Failed):
            return packed(replace(feed, slot=order.slot))
        try:
            slot = self._memory.slot(order.slot)
            later = None if following is None else (following.pass_, following.batch)
            produced = feed.batch_into(order.pass_, order.batch, slot, later)
            start = time.perf_counter()
            description = slot.describe(produced.batch)
            read, transform, _ = produced.seconds
            done = Done(
                slot=order.slot,
                description=description,
                samples=produced.samples,
                skipped=tuple(produced.skipped),
                seconds=(read, transform, time.perf_counter() - start),
            )
            return packed(done)
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is the caller's to see
            return packed(failed(order.slot, error))


def run(tasks: int, replies: int, *others: int) -> None:
    """Be a worker: `main`, and quietly at its end."""
    try:
        main((tasks, replies), *others)
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(0)  # the parent is gone or goes; there is nobody to tell


def _end_with(parent: int) -> None:
    """End when the parent has, even while a read hangs; a pipe's end that another process inherited would hide it."""
    while os.getppid() == parent:
        time.sleep(_PARENT_POLL_SECONDS)
    os._exit(1)
