"""A worker process as its parent sees it: how it is started, and how it is ended for certain."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass, field

from loader.feed import Key
from loader.messages import Job, Replies, write_all
from loader.slots import SlotMemory, anonymous_file

END_SECONDS = 2.0
"""How long processes may take to end by themselves, all of them together."""

_BOOTSTRAP = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from loader.worker import run; run(*map(int, sys.argv[2:]))"


@dataclass
class Process:
    """A worker as its parent sees it.

    Attributes:
        popen: the process.
        tasks: descriptor to write tasks to.
        replies: descriptor to read replies from.
        parser: of what comes through it.
        queue: batches and their slots, the one in work first.
        ready: whether it has said that it has started.
        since: when the batch in work came to be so, as `time.monotonic` counts.
    """

    popen: subprocess.Popen[bytes]
    tasks: int
    replies: int
    parser: Replies = field(default_factory=Replies)
    queue: deque[tuple[Key, int]] = field(default_factory=deque)
    ready: bool = False
    since: float = 0.0

    def close(self) -> None:
        """Close the pipes, once: a number that is closed twice may be another file's by then."""
        descriptors = self.tasks, self.replies
        self.tasks = self.replies = -1  # first: an interrupt may come in between
        for descriptor in descriptors:
            if descriptor >= 0:
                os.close(descriptor)


def start_process(job: Job, memory: SlotMemory) -> Process:
    """Start a worker with its job."""
    job_file = _file_of(pickle.dumps(job))
    task_read, task_write = os.pipe()
    reply_read, reply_write = os.pipe()
    inherited = (task_read, reply_write, memory.descriptor, job_file)
    # -P: nothing is imported from the current folder before the path is the caller's, not even a json.py that lies there.
    path = json.dumps([entry for entry in list[object](sys.path) if isinstance(entry, str)])
    arguments = [sys.executable, "-P", "-c", _BOOTSTRAP, path, *map(str, inherited)]
    try:
        # A session of its own: Ctrl-C in a terminal is for the process that trains, which ends its workers itself.
        popen = subprocess.Popen(  # noqa: S603  # our own module
            arguments, stdin=subprocess.DEVNULL, pass_fds=inherited, start_new_session=True
        )
    except BaseException:
        os.close(task_write)
        os.close(reply_read)
        raise
    finally:
        os.close(task_read)
        os.close(reply_write)
        os.close(job_file)
    return Process(popen, task_write, reply_read, since=time.monotonic())


def _file_of(data: bytes) -> int:
    """Return a file that holds some bytes: a pipe takes no more than a few before a worker that hangs has to read them."""
    descriptor = anonymous_file()
    try:
        write_all(descriptor, data)
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def end_process(process: Process, *, seconds: float) -> None:
    """Close a worker's pipes and see to its end: by itself within some seconds, else killed by its id."""
    process.close()
    try:
        process.popen.wait(seconds)
    except subprocess.TimeoutExpired:
        process.popen.kill()
        process.popen.wait()


def end_all(processes: list[Process]) -> None:
    """Close the pipes of all, see to their end, and empty the list."""
    for process in processes:
        process.close()  # all of them notice at the same time
    deadline = time.monotonic() + END_SECONDS
    for process in processes:
        end_process(process, seconds=max(0.0, deadline - time.monotonic()))
    processes.clear()
