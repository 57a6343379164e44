from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader import BatchIndexError, OptionError
from loader.feed import Feed
from loader.index import index_of_manifest
from loader.labels import LabelMode
from loader.options import FeedOptions
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
    assert [(len(x), len(y)) for x, y in batches] == [(size, size) for size in sizes]
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
        x, y = feed.batch(5, i)
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
    assert np.array_equal(feed.batch(*calls[0]), fresh.batch(*calls[0]))


def test_without_labels_a_batch_is_x_alone(make_dataset: Callable[..., Manifest]) -> None:
    assert isinstance(feed_of(make_dataset(3), label_mode=None).batch(0, 0), np.ndarray)


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
    x, _ = feed.batch(0, 0)
    assert x.dtype == feed.dtype == np.dtype(found)
    assert x.dtype.isnative
    assert x.flags.c_contiguous
    assert x.flags.writeable
    assert np.array_equal(x, np.stack([sample(i, dtype=stored) for i in range(3)]))


@pytest.mark.parametrize(("stored", "wanted"), [("float32", "uint8"), ("complex64", "float32"), ("int8", "bool")])
def test_a_dtype_that_cannot_hold_the_values_is_refused(make_dataset: Callable[..., Manifest], stored: str, wanted: str) -> None:
    with pytest.raises(OptionError, match=f"dtype must be one that can hold the shards' {stored}, got '{wanted}'"):
        feed_of(make_dataset(2, dtype=stored), dtype=wanted)
