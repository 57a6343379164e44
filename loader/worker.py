"""A worker process: reads batches into slots, as told, until the process that trains closes its pipe or ends."""

from __future__ import annotations

import os
import pickle
import select
import threading
import time

from loader.feed import Feed
from loader.messages import READY, REPLY, TASK, Job, pack_error, read_exactly, write_all
from loader.slots import SlotMemory

_PARENT_POLL_SECONDS = 1.0


def main(tasks: int, replies: int, memory: int, job_file: int) -> None:
    """Work until the pipe of tasks is closed, or nothing has been asked for in a while.

    Args:
        tasks: descriptor to read tasks from.
        replies: descriptor to write replies to.
        memory: descriptor of the shared memory.
        job_file: descriptor of the file with the job.
    """
    with open(job_file, "rb") as file:
        job: Job = pickle.load(file)  # noqa: S301  # from the process that started this one, in a file that nobody else has
    threading.Thread(target=_end_with, args=(job.parent,), daemon=True).start()
    feed = Feed(job.index, job.options)
    slots = SlotMemory(job.layout, memory).slots
    write_all(replies, REPLY.pack(READY, 0))
    poll = select.poll()
    poll.register(tasks, select.POLLIN)
    while poll.poll(job.idle * 1000) and (task := read_exactly(tasks, TASK.size)) is not None:
        slot, pass_, batch = TASK.unpack(task)
        try:
            reply = REPLY.pack(slot, feed.read_into(pass_, batch, slots[slot]))
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the caller's to see
            reply = pack_error(slot, error)
        write_all(replies, reply)


def run(tasks: int, replies: int, memory: int, job_file: int) -> None:
    """Be a worker: `main`, and quietly at its end."""
    try:
        main(tasks, replies, memory, job_file)
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(0)  # the parent is gone or goes; there is nobody to tell


def _end_with(parent: int) -> None:
    """End when the parent has, even while a read hangs; a pipe's end that another process inherited would hide it."""
    while os.getppid() == parent:
        time.sleep(_PARENT_POLL_SECONDS)
    os._exit(1)
