from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader import BatchIndexError, OptionError
from loader.feed.feed import Feed
from loader.feed.index.from_manifest import index_of_manifest
from loader.feed.options import FeedOptions
from loader.feed.targets.labels import LabelMode
from manifests import Manifest, load_manifest


def feed_of(manifest: Manifest, *, label_mode: LabelMode = "int", **options: Any) -> Feed:
    return Feed(index_of_manifest(manifest, label_mode=label_mode), FeedOptions(**options))


@pytest.mark.parametrize(
    ("n", "batch_size", "drop_remainder", "sizes"),
    [
        (10, 3, False, [3, 3, 3, 1]),
        (10, 3, True, [3, 3, 3]),
        (9, 3, False, [3, 3, 3]),
        (9, 3, True, [3, 3, 3]),
        (2, 3, False, [2]),
        (1, 1, True, [1]),
    ],
)
def test_how_many_batches_there_are(
    make_dataset: Callable[..., Manifest], n: int, batch_size: int, *, drop_remainder: bool, sizes: list[int]
) -> None:
    feed = feed_of(make_dataset(n), batch_size=batch_size, drop_remainder=drop_remainder)
    assert feed.num_batches == len(sizes)
    batches = [feed.batch(0, i) for i in range(len(sizes))]
    assert [(len(x), len(y)) for x, y in (made.batch for made in batches)] == [(size, size) for size in sizes]
    assert [made.samples for made in batches] == sizes
    assert all(made.skipped == [] for made in batches)
    for bad in (-1, len(sizes)):
        with pytest.raises(BatchIndexError, match=f"no batch {bad}; a pass has batches 0 to {len(sizes) - 1}"):
            feed.batch(0, bad)


def test_dropping_the_only_batch_is_refused(make_dataset: Callable[..., Manifest]) -> None:
    with pytest.raises(OptionError, match="batch_size must be at most the number of samples when drop_remainder is True, got 5 for 4"):
        feed_of(make_dataset(4), batch_size=5, drop_remainder=True)


@pytest.mark.parametrize("shuffle", [False, True])
def test_ids_arrays_and_labels_belong_together(
    make_dataset: Callable[..., Manifest], sample: Callable[..., np.ndarray], *, shuffle: bool
) -> None:
    feed = feed_of(make_dataset(10), batch_size=4, shuffle=shuffle, seed=1)
    seen = []
    for i in range(3):
        ids = feed.ids(5, i)
        x, y = feed.batch(5, i).batch
        assert np.array_equal(x, np.stack([sample(int(id_[1:])) for id_ in ids]))
        assert y.tolist() == [int(id_[1:]) % 2 for id_ in ids]
        seen += ids
    assert sorted(seen) == [f"s{i:03d}" for i in range(10)]
    assert (seen == sorted(seen)) is not shuffle


@given(calls=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=10))
def test_a_batch_does_not_depend_on_the_calls_before(tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[int, int]]) -> None:
    root = tmp_path_factory.mktemp("data")
    for i in range(5):
        np.save(root / f"s{i}.npy", np.full(2, i))
    (root / "manifest.csv").write_text("id\n" + "".join(f"s{i}\n" for i in range(5)))
    feed, fresh = (feed_of(load_manifest(root), label_mode=None, batch_size=2, shuffle=True) for _ in range(2))
    for pass_, i in calls:
        feed.batch(pass_, i)
    assert np.array_equal(feed.batch(*calls[0]).batch, fresh.batch(*calls[0]).batch)


@pytest.mark.parametrize(
    ("label_mode", "weights", "parts"),
    [
        (None, None, []),
        ("int", None, [("int32", (3,))]),
        ("categorical", None, [("float32", (3, 2))]),
        ("binary", None, [("float32", (3, 1))]),
        ("multi_hot", None, [("float32", (3, 2))]),
        ("int", [0.5, 1, 2], [("int32", (3,)), ("float32", (3,))]),
    ],
)
def test_what_a_batch_consists_of(
    make_dataset: Callable[..., Manifest], make_feed: Callable[..., Feed], label_mode: LabelMode, weights: Any, parts: list[Any]
) -> None:
    batch = make_feed(make_dataset(3), label_mode=label_mode, weights=weights).batch(0, 0).batch
    x, *others = batch if parts else (batch,)
    assert isinstance(batch, tuple if parts else np.ndarray)
    assert (x.dtype, x.shape) == ("float32", (3, 4, 3))
    assert [(part.dtype, part.shape) for part in others] == parts


@pytest.mark.parametrize("shuffle", [False, True])
def test_weights_belong_to_their_samples(make_feed: Callable[..., Feed], *, shuffle: bool) -> None:
    feed = make_feed(weights=np.arange(10) / 4, batch_size=4, shuffle=shuffle)
    for i in range(3):
        x, _, weights = feed.batch(2, i).batch
        assert weights.tolist() == (x[:, 0, 0] / 4).tolist()


def test_a_batch_says_what_it_took(make_feed: Callable[..., Feed]) -> None:
    seconds = make_feed(transform=lambda x, y, rng: (x, y)).batch(0, 0).seconds
    assert len(seconds) == 3
    assert min(seconds[:2]) > 0
    assert seconds[2] == 0


def test_what_is_returned_is_the_callers_own(make_feed: Callable[..., Feed]) -> None:
    feed = make_feed(weights=np.ones(10), transform=lambda x, y, rng: (x, y))
    kept = [part.copy() for part in feed.batch(0, 0).batch]
    for part in feed.batch(0, 0).batch:
        part[...] = 99
    for part, expected in zip(feed.batch(0, 0).batch, kept, strict=True):
        assert np.array_equal(part, expected)


@pytest.mark.parametrize(
    ("stored", "wanted", "found"),
    [
        ("uint8", None, "uint8"),
        ("uint8", "float32", "float32"),
        ("float64", "float32", "float32"),
        ("float32", "float32", "float32"),
        ("int64", np.int32, "int32"),
        ("bool", "uint8", "uint8"),
        ("float32", ">f8", "float64"),
    ],
)
def test_x_has_the_shards_dtype_or_the_one_asked_for(
    make_dataset: Callable[..., Manifest], sample: Callable[..., np.ndarray], stored: str, wanted: Any, found: str
) -> None:
    feed = feed_of(make_dataset(3, dtype=stored), dtype=wanted)
    x, _ = feed.batch(0, 0).batch
    assert x.dtype == feed.dtype == np.dtype(found)
    assert x.dtype.isnative
    assert x.flags.c_contiguous
    assert x.flags.writeable
    assert np.array_equal(x, np.stack([sample(i, dtype=stored) for i in range(3)]))


@pytest.mark.parametrize(("stored", "wanted"), [("float32", "uint8"), ("complex64", "float32"), ("int8", "bool")])
def test_a_dtype_that_cannot_hold_the_values_is_refused(make_dataset: Callable[..., Manifest], stored: str, wanted: str) -> None:
    with pytest.raises(OptionError, match=f"dtype must be one that can hold the shards' {stored}, got '{wanted}'"):
        feed_of(make_dataset(2, dtype=stored), dtype=wanted)


def test_draws_by_weight_come_in_the_order_of_the_pass(make_feed: Callable[..., Feed]) -> None:
    draws = [0, 1, 2, 3, 0, 0, 4, 0, 0, 0]
    feed = make_feed(draws=draws, batch_size=3, shuffle=True, label_mode=None)
    for pass_ in range(3):
        x = np.concatenate([feed.batch(pass_, i).batch for i in range(4)])
        ids = [id_ for i in range(4) for id_ in feed.ids(pass_, i)]
        assert x[:, 0, 0].tolist() == [int(id_[1:]) for id_ in ids]
        assert np.bincount(x[:, 0, 0].astype(int), minlength=10).tolist() == draws
        assert ids != sorted(ids)
    assert feed.ids(0, 0) != feed.ids(1, 0)


@pytest.mark.parametrize("is_cold", [False, True])
@pytest.mark.parametrize("following", [None, (0, 2), (3, 0)])
def test_the_batch_that_follows_is_announced_from_a_cold_disk_and_changes_nothing(
    make_feed: Callable[..., Feed], monkeypatch: pytest.MonkeyPatch, following: Any, *, is_cold: bool
) -> None:
    feed = make_feed(batch_size=4, shuffle=True)
    expected, announced = feed.batch(0, 1).batch, []
    monkeypatch.setattr(type(feed._reader), "is_cold", is_cold)
    monkeypatch.setattr(feed._reader, "announce", lambda positions: announced.append(feed.index.ids.take(positions)))
    found = feed.batch(0, 1, following).batch
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
    assert announced == ([feed.ids(*following)] if is_cold and following else [])
