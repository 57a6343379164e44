"""Sequences that nobody walks through let go of descriptors, threads and memory; they get them again when they are used."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from feeding import wait_until

from loader import ManifestSequence
from loader.batches.idle import MOST_IDLE, MOST_WALKED, RecentlyUsed
from loader.workers.pool.shared import shared_pool
from manifests import Manifest

MakeDataset = Callable[..., Manifest]
KINDS: list[dict[str, Any]] = [{"workers": 0}, {"workers": 2}, {"workers": 1}, {"workers": 2, "use_multiprocessing": True}]


@dataclass(eq=False)
class Holder:
    is_amid_walk: bool = False
    lets_go: int = 0

    def let_go(self) -> None:
        self.lets_go += 1


def test_the_last_few_keep_what_they_have() -> None:
    recently_used, holders = RecentlyUsed(), [Holder() for _ in range(MOST_IDLE + 3)]
    for holder in holders:
        recently_used.note(holder)
    assert [holder.lets_go for holder in holders] == [1] * 3 + [0] * MOST_IDLE
    recently_used.note(holders[0])  # it is used again, and another one lets go
    assert [holder.lets_go for holder in holders] == [1] * 4 + [0] * (MOST_IDLE - 1)
    recently_used.note(holders[1])
    recently_used.note(holders[0])
    assert [holder.lets_go for holder in holders] == [1] * 5 + [0] * (MOST_IDLE - 2)


def test_more_of_them_do_that_are_amid_a_walk() -> None:
    recently_used = RecentlyUsed()
    walked = [Holder(is_amid_walk=True) for _ in range(MOST_WALKED)]
    for holder in walked:
        recently_used.note(holder)
    for _ in range(2):
        for holder in walked:
            recently_used.note(holder)
    assert {holder.lets_go for holder in walked} == {0}
    recently_used.note(Holder(is_amid_walk=True))
    assert [holder.lets_go for holder in walked] == [1] + [0] * (MOST_WALKED - 1)
    walked[-1].is_amid_walk = False
    others = [Holder() for _ in range(MOST_IDLE)]
    for holder in others:
        recently_used.note(holder)
    assert [holder.lets_go for holder in others] == [0] * MOST_IDLE
    assert walked[-1].lets_go == 1


def test_one_that_is_gone_is_not_held() -> None:
    recently_used = RecentlyUsed()
    for _ in range(3 * MOST_WALKED):
        recently_used.note(Holder())
    gc.collect()
    assert len(recently_used._order) <= MOST_WALKED


def resources() -> tuple[int, int]:
    """How many descriptors this process and its workers have open, and how many threads they are."""
    processes = [os.getpid(), *shared_pool().process_ids]
    return (
        sum(len(os.listdir(f"/proc/{process}/fd")) for process in processes),
        sum(len(os.listdir(f"/proc/{process}/task")) for process in processes),
    )


@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize("broken_off", [False, True])
def test_many_sequences_that_somebody_holds_on_to_take_no_more_than_a_few(
    make_dataset: MakeDataset, options: dict[str, Any], *, broken_off: bool
) -> None:
    manifest = make_dataset(24)
    kept: list[Any] = []

    def walk() -> None:
        sequence = ManifestSequence(manifest, batch_size=2, shuffle=True, max_queue_size=2, **options)
        walk = iter(sequence)
        batches = [next(walk) for _ in range(3 if broken_off else 12)]
        assert {int(number) for x, _ in batches for number in x[:, 0, 0]} <= set(range(24))
        # An end is not looked for, as TensorFlow does not: the last batch is the end.
        kept.extend([sequence, walk])

    for _ in range(3 * MOST_WALKED):  # until each worker has looked into all memory that is shared
        walk()
    gc.collect()
    descriptors, threads = resources()
    for _ in range(30):
        walk()
    gc.collect()
    # Threads end when they have read the batch that they are at.
    wait_until(lambda: resources()[0] <= descriptors + 8 and resources()[1] <= threads + 4)
    for sequence in kept[::2]:
        sequence.close()


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_one_that_let_go_goes_on_where_it_was(make_dataset: MakeDataset, options: dict[str, Any]) -> None:
    manifest = make_dataset(24)
    with ManifestSequence(manifest, batch_size=2, shuffle=True, **options) as sequence:
        expected = [x.tolist() for x, _ in ManifestSequence(manifest, batch_size=2, shuffle=True, workers=0)]
        found = []
        for x, _ in sequence:
            found.append(x.tolist())
            sequence._delivery.let_go()
        assert found == expected


def test_arrays_of_one_that_let_go_stay_as_they_are(make_dataset: MakeDataset) -> None:
    manifest = make_dataset(24)
    with ManifestSequence(manifest, batch_size=2, workers=2, use_multiprocessing=True) as sequence:
        held = [x for x, _ in sequence]
        sequence._delivery.let_go()
        others = [ManifestSequence(manifest, batch_size=2, shuffle=True, workers=2, use_multiprocessing=True) for _ in range(6)]
        for other in others:
            assert len(list(other)) == 12
        assert [int(x[0, 0, 0]) for x in held] == list(range(0, 24, 2))
        for other in others:
            other.close()


def test_many_threads_may_walk_through_sequences_that_let_go_meanwhile(make_dataset: MakeDataset) -> None:
    manifest = make_dataset(24)
    sequences = [ManifestSequence(manifest, batch_size=2, shuffle=True, workers=2) for _ in range(2 * MOST_IDLE)]
    problems: list[object] = []

    def walk(sequence: ManifestSequence) -> None:
        try:
            for _ in range(4):
                seen = sorted(int(number) for x, _ in sequence for number in np.asarray(x)[:, 0, 0])
                assert seen == list(range(24))
        except BaseException as error:  # noqa: BLE001  # shown in the test's own thread
            problems.append(error)

    threads = [threading.Thread(target=walk, args=(sequence,)) for sequence in sequences]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        for sequence in sequences:
            sequence._delivery.let_go()
    assert problems == []
