"""Several processes that share each batch: together they read what one alone would, and in the same order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader import OptionError
from loader.feed.feed import Feed
from manifests import Manifest

MakeFeed = Callable[..., Feed]


def group(make_feed: MakeFeed, samples: Any, count: int, **options: Any) -> list[Feed]:
    return [make_feed(samples, process_index=index, process_count=count, **options) for index in range(count)]


def check_together_they_are_one(make_feed: MakeFeed, samples: Any, count: int, **options: Any) -> None:
    """Hold the parts of every batch of two passes against the whole batch of a single process."""
    one = make_feed(samples, **options)
    processes = group(make_feed, samples, count, **options)
    assert {feed.num_batches for feed in processes} == {one.num_batches}
    for pass_ in range(2):
        seen: Counter[str] = Counter()
        for i in range(one.num_batches):
            whole, parts = one.batch(pass_, i), [feed.batch(pass_, i) for feed in processes]
            sizes = [part.samples for part in parts]
            assert min(sizes) > 0
            assert max(sizes) - min(sizes) <= 1
            assert sum(sizes) == whole.samples
            for number, expected in enumerate(whole.batch):
                assert np.array_equal(np.concatenate([part.batch[number] for part in parts]), expected)
            ids = [id_ for feed in processes for id_ in feed.ids(pass_, i)]
            assert ids == one.ids(pass_, i)
            seen.update(ids)
        if "draws" not in options and not options.get("drop_remainder"):
            assert seen == Counter(one.index.ids)


def noisy(x: Any, y: Any, rng: np.random.Generator) -> Any:
    return x + rng.random(x.shape), y


OPTIONS = {
    "in order": {},
    "shuffled": {"shuffle": True, "seed": 3},
    "weighted": {"weights": np.arange(41)},
    "drawn": {"draws": np.arange(41), "shuffle": True},
    "transformed": {"transform": noisy, "shuffle": True},
    "drawn and transformed": {"draws": np.arange(41), "transform": noisy, "shuffle": True},
    "padded": {"pad_to": (5, 4)},
}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_processes_parts_are_the_whole_batch(
    make_dataset: Callable[..., Manifest], make_feed: MakeFeed, count: int, options: dict[str, Any]
) -> None:
    check_together_they_are_one(make_feed, make_dataset(41), count, batch_size=11, drop_remainder=False, **options)


@pytest.mark.parametrize("count", [2, 3])
def test_skipped_samples_do_not_change_that(make_dataset: Callable[..., Manifest], make_feed: MakeFeed, count: int) -> None:
    manifest = make_dataset(41)
    for i in range(0, 41, 3):
        manifest.path_of(f"s{i:03d}").unlink()
    one = make_feed(manifest, batch_size=11, shuffle=True, on_error="skip")
    processes = group(make_feed, manifest, count, batch_size=11, shuffle=True, on_error="skip")
    for i in range(4):
        whole, parts = one.batch(0, i), [feed.batch(0, i) for feed in processes]
        assert np.array_equal(np.concatenate([part.batch[0] for part in parts]), whole.batch[0])
        assert [skipped for part in parts for skipped in part.skipped] == list(whole.skipped)


def test_for_any_sizes(make_dataset: Callable[..., Manifest], make_feed: MakeFeed) -> None:
    datasets = {n: make_dataset(n, root=make_dataset(1).root / str(n)) for n in (1, 2, 7, 16, 23)}

    @given(
        n=st.sampled_from(sorted(datasets)),
        batch_size=st.integers(1, 30),
        count=st.integers(1, 9),
        shuffle=st.booleans(),
        drop_remainder=st.booleans(),
    )
    def check(n: int, batch_size: int, count: int, *, shuffle: bool, drop_remainder: bool) -> None:
        rest = n % batch_size
        try:
            check_together_they_are_one(
                make_feed, datasets[n], count, batch_size=batch_size, shuffle=shuffle, drop_remainder=drop_remainder
            )
        except OptionError:
            too_small = not drop_remainder and 0 < rest < count
            assert count > batch_size or too_small or (drop_remainder and n < batch_size)
        else:
            assert count <= batch_size

    check()


@pytest.mark.parametrize(("n", "batch_size", "count", "rest"), [(10, 4, 3, 2), (9, 8, 2, 1), (3, 4, 4, 3), (17, 16, 8, 1)])
def test_a_last_batch_that_is_too_small_for_all_is_refused(
    make_dataset: Callable[..., Manifest], make_feed: MakeFeed, n: int, batch_size: int, count: int, rest: int
) -> None:
    manifest = make_dataset(n)
    for index in range(count):
        with pytest.raises(OptionError) as caught:
            make_feed(manifest, batch_size=batch_size, process_index=index, process_count=count)
        assert str(caught.value) == (
            f"a pass's last batch has {rest} of the {n} samples, which leaves some of {count} processes without any; "
            f"pass drop_remainder=True, or another batch_size than {batch_size}"
        )
    if n > batch_size:
        assert {feed.num_batches for feed in group(make_feed, manifest, count, batch_size=batch_size, drop_remainder=True)} == {
            n // batch_size
        }
