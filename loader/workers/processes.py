"""A worker process as its parent sees it: how it is started, and how it is ended for certain."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from io import FileIO

from loader.feed.reading.shared_memory import SharedMemory
from loader.workers.messages import Order, Replies, packed, write_all

END_SECONDS = 2.0
"""How long processes may take to end by themselves, all of them together."""

START_SECONDS = 60.0
"""How long a worker may take to start, on whatever machine and however busy."""

_READ_BYTES = 65_536

_BOOTSTRAP = (
    "import json, sys; safe, path = json.loads(sys.argv[1]); sys.path[:] = safe; from loader.workers.worker import run; "
    "sys.path[:] = path; run(*map(int, sys.argv[2:]))"
)

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""Libraries that would start a thread for each core, in each worker, read these when they are imported."""


@dataclass
class Assignment:
    """A batch that a worker has to do.

    Attributes:
        feed: number of its feed.
        key: number of its pass, and its own.
        slot: where it goes.
        timeout: seconds that it may take.
    """

    feed: int
    key: tuple[int, int]
    slot: int
    timeout: float


@dataclass
class Process:
    """A worker as its parent sees it.

    Attributes:
        popen: the process.
        number: of the worker among those that share its memory.
        tasks: pipe to write orders to.
        replies: pipe to read from what it says.
        parser: of what comes through it.
        queue: what it has to do, the batch in work first.
        answered: batches that it has done, or said why it cannot.
        feeds: numbers of the feeds that it was told of.
        ready: whether it has said that it has started.
        leaves: whether it has said that it ends.
        since: when the batch in work came to be so, as `time.monotonic` counts.
    """

    popen: subprocess.Popen[bytes]
    number: int
    tasks: FileIO
    replies: FileIO
    parser: Replies = field(default_factory=Replies)
    queue: deque[Assignment] = field(default_factory=deque)
    answered: int = 0
    feeds: set[int] = field(default_factory=set)
    ready: bool = False
    leaves: bool = False
    since: float = 0.0

    @property
    def deadline(self) -> float:
        """When a worker that has something to do counts as hung, as `time.monotonic` counts."""
        timeout = self.queue[0].timeout
        return self.since + (timeout if self.ready else max(timeout, START_SECONDS))

    def tell(self, *orders: Order) -> None:
        """Send orders; a worker that is dead shows it at its other pipe."""
        try:
            write_all(self.tasks.fileno(), b"".join(map(packed, orders)))
        except BrokenPipeError:
            return

    def close(self) -> None:
        """Close the pipes."""
        self.tasks.close()
        self.replies.close()


def _is_current_folder(entry: str) -> bool:
    try:
        return os.path.realpath(entry) == os.path.realpath(os.curdir)
    except FileNotFoundError:  # it was removed
        return not entry


def start_process(processes: list[Process], number: int, memory: SharedMemory, parent: int, idle: float) -> None:
    """Start a worker, and put it into a list.

    Args:
        processes: where it is put, at once: an interrupt could come before the caller gets to it.
        number: of the worker, which no other that was given this memory has or had.
        memory: that it shares.
        parent: process id of the process that trains.
        idle: seconds without an order after which it leaves.

    Raises:
        OSError: the system has no process, or no descriptor, to give.
    """
    task_read, task_write = _pipe()
    reply_read, reply_write = _pipe()
    inherited = (task_read.fileno(), reply_write.fileno(), memory.descriptor)
    # -P, and the current folder last: a queue.py that lies there is not imported in place of Python's own. Modules of the user's, which
    # come later, are looked for as the caller does.
    entries = [entry for entry in list[object](sys.path) if isinstance(entry, str)]
    path = json.dumps([sorted(entries, key=_is_current_folder), entries])
    numbers = (*inherited, parent, int(idle * 1000), number)
    arguments = [sys.executable, "-P", "-c", _BOOTSTRAP, path, *map(str, numbers)]
    try:
        # A session of its own: Ctrl-C in a terminal is for the process that trains, which ends its workers itself.
        popen = subprocess.Popen(  # noqa: S603  # our own module
            arguments,
            stdin=subprocess.DEVNULL,
            pass_fds=inherited,
            start_new_session=True,
            env=dict.fromkeys(_ONE_THREAD, "1") | os.environ,
        )
        processes.append(Process(popen, number, task_write, reply_read, since=time.monotonic()))
    except BaseException:  # a worker whose pipes are closed ends
        task_write.close()
        reply_read.close()
        raise
    finally:
        task_read.close()
        reply_write.close()


def wait_for(processes: list[Process], seconds: float) -> list[tuple[Process, bytes]]:
    """Wait until workers say something, or end, for so many seconds at most.

    Returns:
        What each of them said, nothing of one that has ended.
    """
    poll = select.poll()
    by_descriptor = {process.replies.fileno(): process for process in processes}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLIN)
    return [(by_descriptor[descriptor], os.read(descriptor, _READ_BYTES)) for descriptor, _ in poll.poll(seconds * 1000)]


def _pipe() -> tuple[FileIO, FileIO]:
    """Return the ends of a pipe, to read from and to write to, as objects: an interrupt cannot come before they are known."""
    read, write = map(FileIO, os.pipe(), ("rb", "wb"))
    return read, write


def end_process(process: Process, *, seconds: float) -> None:
    """Close a worker's pipes and see to its end: by itself within some seconds, else killed by its id.

    What the kernel cannot end either, such as a read from a file server that is gone, is not waited for.
    """
    process.close()
    try:
        process.popen.wait(seconds)
    except subprocess.TimeoutExpired:
        process.popen.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.popen.wait(END_SECONDS)


def end_all(processes: list[Process]) -> None:
    """Close the pipes of all, see to their end, and empty the list."""
    for process in processes:
        process.close()  # all of them notice at the same time
    deadline = time.monotonic() + END_SECONDS
    for process in processes:
        end_process(process, seconds=max(0.0, deadline - time.monotonic()))
    processes.clear()
