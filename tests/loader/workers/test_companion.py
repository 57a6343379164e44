"""By default one process helps `fit` once it is worth its start; nothing of it shows in a batch."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import keras
import pytest
from acts import noisy
from feeding import check_batch, check_pass, feed_of, is_alive, take, wait_until

import loader.workers.companion
import loader.workers.pool.pool
from loader import ManifestSequence
from loader.feed.feed import Feed
from loader.workers.companion import Companion
from loader.workers.pool.shared import shared_pool
from manifests import Manifest

MakeCompanion = Callable[..., Companion]


@pytest.fixture
def manifest(make_dataset: Callable[..., Manifest]) -> Manifest:
    return make_dataset(40)


@pytest.fixture
def feed(manifest: Manifest) -> Feed:
    return feed_of(manifest)


@pytest.fixture(autouse=True)
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})


@pytest.fixture
def worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader.workers.companion, "WORTH_SECONDS", 0.0)


@pytest.fixture
def make_companion() -> Iterator[MakeCompanion]:
    made: list[Companion] = []

    def make(feed: Feed) -> Companion:
        made.append(Companion(feed, 4, 60.0))
        return made[-1]

    yield make
    for companion in made:
        companion.close()


def walk_until_helped(companion: Companion, feed: Feed) -> int:
    """Walk through whole passes, looking at each batch, until the process works ahead; return the pass that comes next."""
    passes = iter(range(1_000_000))

    def helped() -> bool:
        check_pass(companion, feed, next(passes))
        return companion.ready > 0

    wait_until(helped)
    return next(passes)


def test_nothing_starts_while_little_was_read(make_companion: MakeCompanion, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader.workers.companion, "WORTH_SECONDS", 1e9)
    companion = make_companion(feed)
    check_pass(companion, feed, 0)
    assert companion.ready == 0
    assert shared_pool().process_ids == []


def test_what_was_read_is_what_a_process_must_be_worth(make_companion: MakeCompanion, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader.workers.companion, "WORTH_SECONDS", 2.0)
    companion = make_companion(feed)
    produced = replace(feed.batch(0, 0), seconds=(0.5, 0.5, 0.0))
    monkeypatch.setattr(feed, "batch", lambda *_, **__: produced)
    for batch in range(2):
        take(companion, feed, 0, batch)
        assert shared_pool().process_ids == []
    take(companion, feed, 0, 2)
    assert len(shared_pool().process_ids) == 1


@pytest.mark.usefixtures("worth_it")
def test_batches_are_the_same_bits_before_and_after_it_helps(make_companion: MakeCompanion, feed: Feed) -> None:
    companion = make_companion(feed)
    later = walk_until_helped(companion, feed)
    check_pass(companion, feed, later)
    assert len(shared_pool().process_ids) == 1
    assert companion.restarts == 0


@pytest.mark.usefixtures("worth_it")
def test_one_that_is_killed_is_replaced(make_companion: MakeCompanion, feed: Feed) -> None:
    companion = make_companion(feed)
    later = walk_until_helped(companion, feed)
    os.kill(shared_pool().process_ids[0], signal.SIGKILL)
    check_pass(companion, feed, later)
    check_pass(companion, feed, later + 1)
    assert companion.restarts == 1


@pytest.mark.usefixtures("worth_it")
def test_closing_ends_it_and_the_next_batch_starts_another(make_companion: MakeCompanion, feed: Feed) -> None:
    companion = make_companion(feed)
    later = walk_until_helped(companion, feed)
    first = shared_pool().process_ids[0]
    companion.close()
    assert not is_alive(first)
    check_batch(companion, feed, later, 0)
    walk_until_helped(companion, feed)
    assert shared_pool().process_ids != [first]


@pytest.mark.usefixtures("worth_it")
def test_on_one_processor_nothing_starts(make_companion: MakeCompanion, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    companion = make_companion(feed)
    check_pass(companion, feed, 0)
    assert shared_pool().process_ids == []


@pytest.mark.usefixtures("worth_it")
def test_where_no_process_can_be_started_it_says_so_once_and_goes_on(
    make_companion: MakeCompanion, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(loader.workers.pool.pool, "start_process", refuse)
    companion = make_companion(feed)
    with pytest.warns(RuntimeWarning, match=r"batches are made in the process that trains: .*temporarily unavailable") as told:
        check_pass(companion, feed, 0)
    assert len(told) == 1
    check_pass(companion, feed, 1)


# Who gets one


def copies(sequence: ManifestSequence) -> Any:
    return keras.Sequential([keras.Input(sequence[0][0].shape[1:]), keras.layers.Flatten()]).predict(sequence, verbose=0)


def by_keras(sequence: ManifestSequence) -> None:
    def helped() -> bool:
        x = copies(sequence)
        assert x[:, 0].tolist() == [float(id_.removeprefix("s")) for id_ in sequence.ids()]
        return len(shared_pool().process_ids) == 1 and sequence.stats().ready > 0

    wait_until(helped)


@pytest.mark.slow
@pytest.mark.usefixtures("worth_it")
def test_keras_gets_one_by_default(manifest: Manifest) -> None:
    with ManifestSequence(manifest, batch_size=4, shuffle=True) as sequence:
        by_keras(sequence)
    assert shared_pool().process_ids == []


@pytest.mark.slow
@pytest.mark.usefixtures("worth_it")
@pytest.mark.parametrize(
    "asked", [{"use_multiprocessing": False}, {"workers": 0}, {"transform": noisy}], ids=["threads", "none", "transform"]
)
def test_keras_gets_none_where_something_else_is_asked_for_or_a_transform_would_move(manifest: Manifest, asked: dict[str, Any]) -> None:
    with ManifestSequence(manifest, batch_size=4, **asked) as sequence:
        for _ in range(3):
            copies(sequence)
        assert shared_pool().process_ids == []


@pytest.mark.usefixtures("worth_it")
def test_a_loop_of_ones_own_gets_none(manifest: Manifest) -> None:
    with ManifestSequence(manifest, batch_size=4) as sequence:
        for _ in range(3):
            assert len(list(sequence)) == 10
        assert shared_pool().process_ids == []
