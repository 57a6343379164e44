"""Threads deliver the same batches as reading inline."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from loader import ShardError
from loader.feed import Feed
from loader.index import index_of_manifest
from loader.options import FeedOptions
from loader.threads import Threads
from manifests import Manifest


@pytest.fixture
def manifest(make_dataset: Callable[..., Manifest]) -> Manifest:
    return make_dataset(40)


@pytest.fixture
def feed(manifest: Manifest) -> Feed:
    return Feed(index_of_manifest(manifest, label_mode="int"), FeedOptions(batch_size=4, shuffle=True))


@pytest.fixture
def threads(feed: Feed) -> Iterator[Threads]:
    threads = Threads(feed, 3, 5)
    yield threads
    threads.close()


def after(feed: Feed, pass_: int, batch: int) -> Iterator[tuple[int, int]]:
    yield from ((pass_, later) for later in range(batch + 1, feed.num_batches))


def check_batch(threads: Threads, feed: Feed, pass_: int, batch: int) -> None:
    x, y = threads.take((pass_, batch), after(feed, pass_, batch))
    expected_x, expected_y = feed.batch(pass_, batch)
    assert np.array_equal(x, expected_x)
    assert np.array_equal(y, expected_y)


def test_batches_are_the_same_bits_as_inline(threads: Threads, feed: Feed) -> None:
    for pass_ in range(2):
        for batch in range(feed.num_batches):
            check_batch(threads, feed, pass_, batch)


def test_batches_may_be_asked_for_in_any_order(threads: Threads, feed: Feed) -> None:
    for pass_, batch in [(0, 5), (3, 1), (0, 0), (0, 9), (7, 3), (7, 3)]:
        check_batch(threads, feed, pass_, batch)


def test_an_error_arrives_with_its_own_type_at_the_batch_that_has_it(threads: Threads, feed: Feed, manifest: Manifest) -> None:
    manifest.path_of(feed.ids(0, 3)[0]).unlink()
    for batch in range(3):
        check_batch(threads, feed, 0, batch)
    with pytest.raises(ShardError, match="no such file"):
        threads.take((0, 3), after(feed, 0, 3))
    check_batch(threads, feed, 0, 4)


def test_closed_threads_are_gone_and_start_again(threads: Threads, feed: Feed) -> None:
    check_batch(threads, feed, 0, 0)
    threads.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("shardfeed")]
    check_batch(threads, feed, 0, 1)


def test_a_fork_reads_by_itself(threads: Threads, feed: Feed) -> None:
    check_batch(threads, feed, 0, 0)
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)  # ends it if it hangs
        try:
            for batch in range(1, feed.num_batches):
                check_batch(threads, feed, 0, batch)
        except BaseException:  # noqa: BLE001  # nothing may get out of the fork into the parent's test run
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
