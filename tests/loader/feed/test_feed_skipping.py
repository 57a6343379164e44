"""on_error="skip": another sample of the same pass, with all that is its own, stands for one that cannot be read."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import pytest
from odd_shards import (
    break_dtype,
    break_empty,
    break_folder,
    break_missing,
    break_object,
    break_outside,
    break_shape,
    break_truncated,
    break_zeros,
)

from loader import ShardError, ShortageError
from loader.feed.feed import Feed, Produced
from loader.feed.index.index import Index
from loader.feed.reading.shared_memory import SharedMemory
from manifests import Manifest

MakeDataset = Callable[..., Manifest]
MakeFeed = Callable[..., Feed]
N = 20


DAMAGE = {
    break_missing: "no such file",
    break_truncated: "a file that cannot be used (truncated: expected 176 bytes for shape (4, 3) float32, found 175)",
    break_zeros: "a file that cannot be used (not a .npy file: ",
    break_empty: "an empty file",
    break_shape: "(3, 4) float32",
    break_dtype: "(4, 3) float64",
    break_object: "a file that cannot be used (holds Python objects",
    break_folder: "a folder",
    break_outside: "a symbolic link that leads out of ",
}

BY_DAMAGE = pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)


def whole_pass(feed: Feed, pass_: int = 0) -> list[Produced]:
    return [feed.batch(pass_, i) for i in range(feed.num_batches)]


def numbers_of(x: np.ndarray) -> list[int]:
    return [int(number) for number in x[:, 0, 0]]


def check_stand_ins(feed: Feed, bad: Collection[int], found: str, pass_: int = 0) -> list[int]:
    """See that good samples come as in a sound dataset, and whole other ones for the bad; return those."""
    others = []
    skipped = []
    for i, made in enumerate(whole_pass(feed, pass_)):
        x, y, weights = made.batch
        wanted = [int(id_[1:]) for id_ in feed.ids(pass_, i)]
        given = numbers_of(x)
        assert made.samples == len(wanted)
        assert np.array_equal(x, np.arange(12, dtype=np.float32).reshape(4, 3) + np.array(given)[:, None, None])
        assert y.tolist() == [number % 2 for number in given]
        assert weights.tolist() == [number / 4 for number in given]
        for expected, number in zip(wanted, given, strict=True):
            assert number not in bad
            if expected in bad:
                others.append(number)
            else:
                assert number == expected
        skipped += made.skipped
    assert len(skipped) >= len(others) == len(bad)
    assert {id_ for id_, _ in skipped} == {f"s{i:03d}" for i in bad}
    for id_, reason in skipped:
        assert reason.startswith(f"shard {feed.index.root / 'shards' / id_}.npy of ID {id_!r}: expected (4, 3) float32, found {found}")
    return others


@BY_DAMAGE
@pytest.mark.parametrize("bad", [[0], [7], [0, 1, 2, 3], [0, 5, 6, 13, 19]], ids=str)
def test_another_sample_stands_for_a_bad_one(make_dataset: MakeDataset, make_feed: MakeFeed, damage: Any, bad: list[int]) -> None:
    manifest = make_dataset(N, columns={"shape": ["4x3"] * N, "dtype": ["float32"] * N})
    options = {"batch_size": 4, "shuffle": True, "seed": 2, "on_error": "skip", "weights": np.arange(N) / 4}
    feed = make_feed(manifest, **options)
    for i in bad:
        damage(manifest.path_of(f"s{i:03d}"))
    others = check_stand_ins(feed, bad, DAMAGE[damage])
    # The same ones again, and in another feed of the same options; others in another pass.
    assert check_stand_ins(feed, bad, DAMAGE[damage]) == others
    assert check_stand_ins(make_feed(manifest, **options), bad, DAMAGE[damage]) == others
    assert [check_stand_ins(feed, bad, DAMAGE[damage], pass_) for pass_ in range(1, 4)] != [others] * 3
    assert not (manifest.root / "shards" / "ran").exists()


FEEDS = {
    "plain": {},
    "converted": {"dtype": "float64"},
    "transformed": {"transform": lambda x, y, rng: (x * rng.random(), y)},
    "transformed by the batch": {"batch_transform": lambda x, y, rng: (x * rng.random(), y)},
    "padded": {"pad_to": (5, 4)},
    "drawn": {"draws": np.arange(N), "shuffle": True},
    "a process's part": {"process_index": 1, "process_count": 2},
    "not kept": {"keep_cached": False},
}


@BY_DAMAGE
@pytest.mark.parametrize("options", FEEDS.values(), ids=FEEDS)
def test_the_stand_in_is_the_same_in_whatever_memory(make_dataset: MakeDataset, make_feed: MakeFeed, damage: Any, options: Any) -> None:
    manifest = make_dataset(N, columns={"shape": ["4x3"] * N, "dtype": ["float32"] * N})
    memory = SharedMemory()
    feed, other = (make_feed(manifest, **{"batch_size": 5, "on_error": "skip", "weights": np.arange(N), **options}) for _ in range(2))
    for i in (0, 3, 4, 15, 16, 17, 18, 19):
        damage(manifest.path_of(f"s{i:03d}"))
    for i in (2, 0, 3, 1):
        own, shared = feed.batch(1, i), other.batch_into(1, i, memory.slot(0))
        for one, another in zip(own.batch, shared.batch, strict=True):
            assert np.array_equal(one, another)
        assert own.skipped == shared.skipped


def test_a_transform_is_given_the_stand_in_and_random_numbers_for_it(make_dataset: MakeDataset, make_feed: MakeFeed) -> None:
    manifest = make_dataset(N)
    sound = make_feed(manifest, transform=lambda x, y, rng: (x + rng.random(), y), batch_size=N).batch(0, 0).batch[0]
    feed = make_feed(manifest, transform=lambda x, y, rng: (x + rng.random(), y), batch_size=N, on_error="skip")
    break_missing(manifest.path_of("s004"))
    x = feed.batch(0, 0).batch[0]
    other = int(x[4, 0, 0])
    assert other != 4
    assert np.array_equal(x[4], sound[other])


def test_what_a_transform_raises_names_the_stand_in(make_dataset: MakeDataset, make_feed: MakeFeed) -> None:
    manifest = make_dataset(2)

    def fail(x: Any, y: Any, rng: Any) -> Any:
        raise RuntimeError

    feed = make_feed(manifest, transform=fail, on_error="skip", batch_size=1)
    batch = make_feed(manifest, batch_transform=fail, on_error="skip", batch_size=1)
    break_truncated(manifest.path_of("s000"))
    with pytest.raises(RuntimeError) as caught:
        feed.batch(0, 0)
    assert caught.value.__notes__ == ["raised by the transform of ID 's001' (shards/s001.npy)"]
    with pytest.raises(RuntimeError) as caught:
        batch.batch(0, 0)
    assert caught.value.__notes__ == ["raised by the transform of batch 0 of pass 0, with IDs 's001'"]


@pytest.mark.parametrize("with_shape", [True, False], ids=["the manifest says the shape", "the first sound shard says it"])
def test_the_first_shard_of_all_may_be_bad(make_dataset: MakeDataset, make_feed: MakeFeed, *, with_shape: bool) -> None:
    manifest = make_dataset(N, columns={"shape": ["4x3"] * N, "dtype": ["float32"] * N} if with_shape else None)
    for i in range(5):
        break_zeros(manifest.path_of(f"s{i:03d}"))
    feed = make_feed(manifest, on_error="skip", weights=np.arange(N) / 4)
    assert (feed.shape, feed.dtype) == ((4, 3), "float32")
    check_stand_ins(feed, range(5), DAMAGE[break_zeros])


def test_a_whole_batch_may_be_bad(make_dataset: MakeDataset, make_feed: MakeFeed) -> None:
    manifest = make_dataset(N)
    feed = make_feed(manifest, batch_size=5, on_error="skip", weights=np.arange(N) / 4)
    for i in range(5):
        break_missing(manifest.path_of(f"s{i:03d}"))
    assert len(check_stand_ins(feed, range(5), "no such file")) == 5


def test_most_of_a_large_batch_may_be_bad(make_dataset: MakeDataset, make_feed: MakeFeed) -> None:
    n = 300
    manifest = make_dataset(n)
    feed = make_feed(manifest, batch_size=n, on_error="skip", weights=np.arange(n) / 4)
    for i in range(10, 200):
        break_missing(manifest.path_of(f"s{i:03d}"))
    check_stand_ins(feed, range(10, 200), "no such file")


@pytest.mark.parametrize("n", [1, 30])
@pytest.mark.parametrize("options", [{}, {"pad_to": (4, 3)}, {"draws": True, "shuffle": True}, {"transform": lambda x, y, rng: (x, y)}])
def test_nothing_that_can_be_read_is_an_error(make_dataset: MakeDataset, make_feed: MakeFeed, n: int, options: dict[str, Any]) -> None:
    manifest = make_dataset(n)
    options = options | ({"draws": np.ones(n)} if "draws" in options else {})
    feed = make_feed(manifest, on_error="skip", **options)
    for id_ in manifest.ids:
        break_truncated(manifest.path_of(id_))
    with pytest.raises(ShardError, match=r"found a file that cannot be used \(truncated") as caught:
        feed.batch(6, 0)
    assert caught.value.__notes__ == ["the last of 100 shards tried for one sample of batch 0 of pass 6; none can be read"]
    for id_ in manifest.ids:
        manifest.path_of(id_).unlink()
    with pytest.raises(ShardError, match="no such file"):
        make_feed(manifest, on_error="skip", **options)


def test_samples_of_several_shapes_are_skipped_too(make_varied: Callable[..., Index], make_feed: MakeFeed) -> None:
    index = make_varied([(1 + i % 4, 3) for i in range(N)])
    feed = make_feed(index, on_error="skip", pad_to=(4, 3), batch_size=5)
    bad = [0, 7, 8, 19]
    for i, damage in zip(bad, [break_missing, break_truncated, break_object, break_dtype], strict=True):
        damage(index.root / "shards" / f"s{i:03d}.npy")
    made = whole_pass(feed)
    assert [id_ for batch in made for id_, _ in batch.skipped if id_ in {"s000", "s007", "s008", "s019"}] != []
    x = np.concatenate([batch.batch[0] for batch in made])
    y = np.concatenate([batch.batch[1] for batch in made])
    given = numbers_of(x)
    assert not set(given).intersection(bad)
    assert [number for i, number in enumerate(given) if i not in bad] == [i for i in range(N) if i not in bad]
    assert y.tolist() == [number % 2 for number in given]


def test_the_stand_in_is_no_sample_that_the_pass_drops(make_dataset: MakeDataset, make_feed: MakeFeed) -> None:
    manifest = make_dataset(19)
    feed = make_feed(manifest, on_error="skip", batch_size=4, drop_remainder=True)
    for i in range(15):
        break_missing(manifest.path_of(f"s{i:03d}"))
    for pass_ in range(3):
        assert {number for made in whole_pass(feed, pass_) for number in numbers_of(made.batch[0])} == {15}


def test_that_is_so_in_a_shuffled_pass_too(make_dataset: MakeDataset, make_feed: MakeFeed) -> None:
    manifest = make_dataset(5)
    feed = make_feed(manifest, on_error="skip", batch_size=3, shuffle=True, drop_remainder=True)
    break_missing(manifest.path_of("s000"))
    for pass_ in range(50):
        given = {f"s{number:03d}" for number in numbers_of(feed.batch(pass_, 0).batch[0])}
        assert given <= set(feed.ids(pass_, 0)) - {"s000"}


def test_the_stand_in_is_drawn_by_weight_where_all_are(make_dataset: MakeDataset, make_feed: MakeFeed) -> None:
    manifest = make_dataset(N)
    draws = [1, 0, 4] + [0] * (N - 3)
    feed = make_feed(manifest, on_error="skip", draws=draws, shuffle=True)
    break_missing(manifest.path_of("s002"))
    assert numbers_of(feed.batch(0, 0).batch[0]) == [0] * N


def test_any_sample_may_be_the_stand_in(make_dataset: MakeDataset, make_feed: MakeFeed) -> None:
    manifest = make_dataset(N)
    feed = make_feed(manifest, on_error="skip", batch_size=1)
    break_missing(manifest.path_of("s000"))
    stand_ins = {number for pass_ in range(200) for number in numbers_of(feed.batch(pass_, 0).batch[0])}
    assert stand_ins == set(range(1, N))


@BY_DAMAGE
@pytest.mark.parametrize("options", [{}, {"pad_to": (5, 4)}])
def test_without_skipping_a_bad_shard_is_an_error_that_names_it(
    make_dataset: MakeDataset, make_feed: MakeFeed, damage: Any, options: Any
) -> None:
    manifest = make_dataset(N, columns={"shape": ["4x3"] * N, "dtype": ["float32"] * N})
    feed = make_feed(manifest, **options)
    file = manifest.path_of("s003")
    damage(file)
    with pytest.raises(ShardError) as caught:
        feed.batch(0, 0)
    assert str(caught.value).startswith(f"shard {file} of ID 's003': expected (4, 3) float32, found {DAMAGE[damage]}")
    assert not (file.parent / "ran").exists()


@pytest.mark.parametrize("cold", [False, True])
def test_a_process_with_too_many_files_open_skips_no_sound_sample(make_dataset: MakeDataset, make_feed: MakeFeed, *, cold: bool) -> None:
    manifest = make_dataset(40)
    feed = make_feed(manifest, on_error="skip", batch_size=10)
    feed.batch(0, 0)
    if cold:
        feed._reader._header = b""  # so that each shard gets a closer look
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = os.open(os.devnull, os.O_RDONLY)
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare, hard))
    try:
        with pytest.raises(ShortageError, match=r"ID 's010' cannot be read: Too many open files; .*ulimit -n"):
            feed.batch(0, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(spare)
    assert feed.batch(0, 1).skipped == []
