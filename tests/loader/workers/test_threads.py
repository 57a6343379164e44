"""Threads deliver the same batches as reading inline."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from acts import At, OwnError, noisy
from feeding import check_batch, check_pass, feed_of, take, wait_until

from loader import ShardError
from loader.feed.feed import Feed
from loader.workers.threads import Threads
from manifests import Manifest

MakeThreads = Callable[..., Threads]


@pytest.fixture
def manifest(make_dataset: Callable[..., Manifest]) -> Manifest:
    return make_dataset(40)


@pytest.fixture
def feed(manifest: Manifest) -> Feed:
    return feed_of(manifest)


@pytest.fixture
def make_threads() -> Iterator[MakeThreads]:
    made: list[Threads] = []

    def make(feed: Feed, count: int = 3, queue_size: int = 5) -> Threads:
        made.append(Threads(feed, count, queue_size))
        return made[-1]

    yield make
    for threads in made:
        threads.close()


def reading_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("shardfeed")]


@pytest.mark.parametrize(("count", "queue_size"), [(1, 1), (2, 1), (3, 5), (2, 100)])
@pytest.mark.parametrize("transform", [None, noisy])
def test_batches_are_the_same_bits_as_inline(
    make_threads: MakeThreads, manifest: Manifest, transform: Any, count: int, queue_size: int
) -> None:
    feed = feed_of(manifest, transform)
    threads = make_threads(feed, count, queue_size)
    for pass_ in range(2):
        check_pass(threads, feed, pass_)
    assert threads.restarts == 0


def test_batches_may_be_asked_for_in_any_order(make_threads: MakeThreads, feed: Feed) -> None:
    threads = make_threads(feed)
    for pass_, batch in [(0, 5), (3, 1), (0, 0), (0, 9), (7, 3), (7, 3)]:
        check_batch(threads, feed, pass_, batch)


def test_what_waits_ready_is_counted(make_threads: MakeThreads, feed: Feed) -> None:
    threads = make_threads(feed, 2, 5)
    assert threads.ready == 0
    check_batch(threads, feed, 0, 0)
    wait_until(lambda: threads.ready == 4)


def test_an_error_arrives_with_its_own_type_at_the_batch_that_has_it(make_threads: MakeThreads, feed: Feed, manifest: Manifest) -> None:
    threads = make_threads(feed)
    manifest.path_of(feed.ids(0, 3)[0]).unlink()
    for batch in range(3):
        check_batch(threads, feed, 0, batch)
    with pytest.raises(ShardError, match="no such file"):
        take(threads, feed, 0, 3)
    check_batch(threads, feed, 0, 4)


def test_an_error_of_a_transform_names_its_sample(make_threads: MakeThreads, manifest: Manifest) -> None:
    feed = feed_of(manifest, At(9, "OwnError"), shuffle=False)
    threads = make_threads(feed)
    with pytest.raises(OwnError) as caught:
        take(threads, feed, 0, 2)
    assert "ID 's009'" in "".join(caught.value.__notes__)
    check_batch(threads, feed, 0, 3)


def test_several_may_ask_at_once(make_threads: MakeThreads, feed: Feed) -> None:
    threads = make_threads(feed)
    problems: list[BaseException] = []

    def walk(pass_: int) -> None:
        try:
            check_pass(threads, feed, pass_)
        except BaseException as error:  # noqa: BLE001  # shown in the test's own thread
            problems.append(error)

    walkers = [threading.Thread(target=walk, args=(pass_,)) for pass_ in range(4)]
    for walker in walkers:
        walker.start()
    for walker in walkers:
        walker.join()
    assert problems == []


@pytest.mark.parametrize("how", ["close", "garbage"])
def test_nothing_is_left_at_the_end(feed: Feed, how: str) -> None:
    before = set(reading_threads())  # of sequences that Keras holds on to, from other tests
    threads = Threads(feed, 3, 5)
    check_batch(threads, feed, 0, 0)
    assert set(reading_threads()) > before
    if how == "close":
        threads.close()
        assert set(reading_threads()) <= before
    del threads
    gc.collect()
    wait_until(lambda: set(reading_threads()) <= before)


def test_closed_threads_start_again(make_threads: MakeThreads, feed: Feed) -> None:
    threads = make_threads(feed)
    check_batch(threads, feed, 0, 0)
    threads.close()
    check_batch(threads, feed, 0, 1)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_reads_by_itself(make_threads: MakeThreads, feed: Feed) -> None:
    threads = make_threads(feed)
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
