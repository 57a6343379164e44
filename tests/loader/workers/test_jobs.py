"""A job reaches a worker whole, its arrays by sharing memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from acts import double
from feeding import check_batch, check_pass, check_same, feed_of

from loader.feed.feed import Feed
from loader.feed.index.from_ids import index_of_ids
from loader.feed.index.index import Index
from loader.feed.options import FeedOptions
from loader.feed.reading.shared_memory import SharedMemory
from loader.feed.transforms import Transforms
from loader.workers.jobs import job_of, put_job, read_job
from loader.workers.pool.pool import Pool
from loader.workers.workers import Workers
from manifests import Manifest

MANY = 1_000_000


def arrays_of(value: Any) -> list[np.ndarray]:
    """All arrays that hang on an index."""
    if isinstance(value, np.ndarray):
        return [value]
    attributes = getattr(value, "__dict__", None)
    return [array for part in (attributes or {}).values() for array in arrays_of(part)]


@pytest.fixture
def index(make_dataset: Callable[..., Manifest]) -> Index:
    index = feed_of(make_dataset(12)).index
    return replace(index, weights=np.arange(12, dtype=np.float32), cumulative=np.arange(1, 13) / 12)


def test_a_job_comes_back_as_it_was_put(index: Index) -> None:
    feed = Feed(index, FeedOptions(batch_size=5, shuffle=True, seed=-(10**40)), Transforms(sample=double))
    memory = SharedMemory()
    ticket = put_job(memory, 3, job_of(feed))
    job = read_job(SharedMemory(os.dup(memory.descriptor)), ticket)
    assert job.options == feed.options
    assert job.transforms().sample is double
    assert [field.name for field in fields(Index)] == list(vars(job.index))
    for array, other in zip(arrays_of(job.index), arrays_of(feed.index), strict=True):
        check_same(array, other)
    other_feed = Feed(job.index, job.options, job.transforms())
    for batch in range(feed.num_batches):
        check_same(other_feed.batch(2, batch).batch, feed.batch(2, batch).batch)


def test_arrays_are_read_only_where_they_are_shared(index: Index) -> None:
    memory = SharedMemory()
    job = read_job(memory, put_job(memory, 1, job_of(Feed(index, FeedOptions()))))
    arrays = arrays_of(job.index)
    assert len(arrays) >= 6
    for array in arrays:
        assert not array.flags.writeable
        assert array.flags.aligned


def test_jobs_do_not_touch_each_other_and_are_gone_when_dropped(make_dataset: Callable[..., Manifest], tmp_path: Path) -> None:
    memory = SharedMemory()
    feeds = [feed_of(make_dataset(n, root=tmp_path / str(n))) for n in (5, 300, 7)]
    tickets = [put_job(memory, number, job_of(feed)) for number, feed in enumerate(feeds, start=1)]
    for feed, ticket in zip(feeds, tickets, strict=True):
        job = read_job(memory, ticket)
        assert len(job.index) == len(feed.index)
        check_same(job.index.ids.take_bytes(np.arange(5)) and arrays_of(job.index), arrays_of(feed.index))
        del job
    memory.drop_job(tickets[1].number, tickets[1].sizes)
    for feed, ticket in zip(feeds[::2], tickets[::2], strict=True):
        check_same(arrays_of(read_job(memory, ticket).index), arrays_of(feed.index))
    for ticket in tickets:
        memory.drop_job(ticket.number, ticket.sizes)
    assert os.fstat(memory.descriptor).st_blocks == 0


def test_the_folder_is_the_one_that_it_was_when_the_feed_was_made(
    make_dataset: Callable[..., Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    manifest = make_dataset(8, root=Path("data"))
    feed = feed_of(manifest)
    (tmp_path / "elsewhere" / "data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    workers = Workers(feed, 1, 2, pool=Pool())
    check_pass(workers, feed, 0)
    workers.close()


def private_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


@pytest.mark.parametrize("name", [lambda i: f"id{i:07d}", lambda i: "x" * (i % 40 + 1) + f"/id{i}"], ids=["one length", "several lengths"])
def test_an_index_of_many_ids_costs_a_worker_no_memory_of_its_own(tmp_path: Path, name: Callable[[int], str]) -> None:
    array = np.zeros((2, 2), np.float32)
    present = [name(i) for i in range(8)]
    for id_ in present:
        (tmp_path / f"{id_}.npy").parent.mkdir(exist_ok=True)
        np.save(tmp_path / f"{id_}.npy", array)
    few = index_of_ids(present, None, data_dir=tmp_path, dim=(2, 2), n_channels=None, n_classes=None, label_mode=None)
    # The others are named and never read.
    ids = present + [name(i) for i in range(8, MANY)]
    many = index_of_ids(ids, None, data_dir=tmp_path, dim=(2, 2), n_channels=None, n_classes=None, label_mode=None)
    many = replace(many, weights=np.ones(MANY, np.float32))
    small, large = Feed(few, FeedOptions(batch_size=4)), Feed(many, FeedOptions(batch_size=4))
    pool = Pool()
    first, second = Workers(small, 1, 1, pool=pool), Workers(large, 1, 1, pool=pool)
    check_batch(first, small, 0, 0)
    before = private_bytes(pool.process_ids[0])
    check_batch(second, large, 0, 1)
    grown = private_bytes(pool.process_ids[0]) - before
    first.close()
    second.close()
    size = sum(array.nbytes for array in arrays_of(many))
    assert size > 20 * MANY
    assert grown < size / 10
