"""What tests of the process side share: feeds, checks of batches, and a look at processes."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loader.feed.feed import Feed, Key
from loader.feed.index.from_manifest import index_of_manifest
from loader.feed.options import FeedOptions
from loader.feed.transforms import Transforms
from loader.feed.tree import form, leaves
from loader.workers.companion import Companion
from loader.workers.threads import Threads
from loader.workers.workers import Workers
from manifests import Manifest

SHARED_MEMORY = "/dev/shm"  # noqa: S108  # only looked at

DEADLINE = 30.0
"""Seconds after which a test gives up waiting: no measure of anything."""


def feed_of(manifest: Manifest, transform: Any = None, batch_transform: Any = None, **options: Any) -> Feed:
    options = {"batch_size": 4, "shuffle": True, "seed": 3} | options
    index = index_of_manifest(manifest, label_mode="int")
    return Feed(index, FeedOptions(**options), Transforms(sample=transform, batch=batch_transform))


def after(feed: Feed, pass_: int, batch: int) -> Iterator[Key]:
    """The batches that will be wanted after one, to the end of the next pass."""
    yield from ((pass_, later) for later in range(batch + 1, feed.num_batches))
    yield from ((pass_ + 1, later) for later in range(feed.num_batches))


def take(workers: Workers | Threads | Companion, feed: Feed, pass_: int, batch: int) -> Any:
    return workers.take((pass_, batch), after(feed, pass_, batch)).batch


def check_same(tree: Any, expected: Any) -> None:
    assert form(tree) == form(expected)
    for array, other in zip(leaves(tree), leaves(expected), strict=True):
        assert (array.dtype, array.shape) == (other.dtype, other.shape)
        assert array.tobytes() == other.tobytes()


def check_batch(workers: Workers | Threads | Companion, feed: Feed, pass_: int, batch: int) -> None:
    """A batch has the bits that the feed itself gives it."""
    check_same(take(workers, feed, pass_, batch), feed.batch(pass_, batch).batch)


def check_pass(workers: Workers | Threads | Companion, feed: Feed, pass_: int) -> None:
    for batch in range(feed.num_batches):
        check_batch(workers, feed, pass_, batch)


def is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be in time"
        time.sleep(0.01)


def children() -> set[int]:
    """Process ids of this process's children, ended ones that nobody has waited for among them."""
    found = set()
    for thread in Path("/proc/self/task").iterdir():
        found.update(map(int, (thread / "children").read_text(encoding="ascii").split()))
    return found


@dataclass(frozen=True)
class Traces:
    """What a process has of others' resources."""

    children: frozenset[int]
    descriptors: int
    mappings: int
    shared_memory: int


def traces() -> Traces:
    gc.collect()
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    return Traces(
        children=frozenset(children()),
        descriptors=len(os.listdir("/proc/self/fd")),
        mappings=maps.count("memfd:shardfeed"),
        # Others on this machine have their own there.
        shared_memory=maps.count(f"{SHARED_MEMORY}/") + sum("shardfeed" in name for name in os.listdir(SHARED_MEMORY)),
    )
