"""What a worker needs to know of a feed, and how it comes to it: through shared memory, in which its arrays stay."""

from __future__ import annotations

import pickle
import sys
from dataclasses import dataclass

from loader.feed.feed import Feed
from loader.feed.index.index import Index
from loader.feed.options import FeedOptions
from loader.feed.reading.shared_memory import SharedMemory
from loader.feed.transforms import Transforms
from loader.workers.pickling import portable


@dataclass(frozen=True, kw_only=True)
class Job:
    """A feed as it is sent to workers.

    Attributes:
        index: the samples.
        options: what decides the batches.
        path: where modules are imported from.
        functions: the user's `Transforms`, pickled, since they may need that path; empty if there are none.
    """

    index: Index
    options: FeedOptions
    path: tuple[str, ...]
    functions: bytes

    def transforms(self) -> Transforms:
        """Return the user's functions."""
        transforms: Transforms = pickle.loads(self.functions) if self.functions else Transforms()  # noqa: S301  # see `read_job`
        return transforms


@dataclass(frozen=True, kw_only=True)
class JobTicket:
    """Where a job lies.

    Attributes:
        number: of its place in shared memory.
        sizes: of its parts, in bytes.
    """

    number: int
    sizes: tuple[int, ...]


def job_of(feed: Feed) -> Job:
    """Return what a worker needs to know of a feed.

    Raises:
        TransformError: its transforms hold something that cannot be sent to another process.
    """
    path = tuple(entry for entry in list[object](sys.path) if isinstance(entry, str))
    return Job(index=feed.index, options=feed.options, path=path, functions=portable(feed.transforms))


def put_job(memory: SharedMemory, number: int, job: Job) -> JobTicket:
    """Write a job to shared memory.

    Args:
        memory: where to.
        number: of the job's place there.
        job: which.

    Raises:
        OSError: there is not that much memory.
    """
    arrays: list[pickle.PickleBuffer] = []
    data = pickle.dumps(job, protocol=5, buffer_callback=arrays.append)
    parts = [memoryview(data), *(array.raw() for array in arrays)]
    memory.put_job(number, parts)
    return JobTicket(number=number, sizes=tuple(part.nbytes for part in parts))


def read_job(memory: SharedMemory, ticket: JobTicket) -> Job:
    """Return a job; its arrays are read-only and lie in shared memory."""
    data, *arrays = memory.job(ticket.number, ticket.sizes)
    job: Job = pickle.loads(data, buffers=arrays)  # noqa: S301  # from the process that started this one, in memory that nobody else has
    return job
