"""A batch is the same to the bit whatever memory it is put together in: the caller's own, or a slot that processes share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike

from loader.feed.feed import Feed, Produced
from loader.feed.index.index import Index
from loader.feed.reading.shared_memory import SharedMemory, Slot
from loader.feed.tree import Tree, form, leaves
from manifests import Manifest


@pytest.fixture
def slot() -> Iterator[Slot]:
    memory = SharedMemory()
    slot = memory.slot(1)
    # What an earlier batch left must not shine through.
    slot.allocate((1 << 20,), np.dtype(np.uint8))[:] = 0xA5
    yield slot
    del memory  # it closes the file that the slot lies in


def bits(batch: Tree) -> list[tuple[tuple[int, ...], str, bytes]]:
    return [(array.shape, array.dtype.str, array.tobytes()) for array in leaves(batch)]


def check_same(one: Tree, other: Tree) -> None:
    assert form(one) == form(other)
    assert bits(one) == bits(other)


def check_memory_does_not_matter(feed: Feed, slot: Slot, passes: int = 2) -> list[Tree]:
    """Hold every batch of some passes in the caller's memory against the same in a slot."""
    batches = []
    for pass_ in range(passes):
        for i in range(feed.num_batches):
            own: Produced = feed.batch(pass_, i)
            shared = feed.batch_into(pass_, i, slot)
            description = slot.describe(shared.batch)
            check_same(own.batch, slot.copied(description))
            lent = slot.lend(description, lambda: None)
            check_same(own.batch, lent)
            assert (own.samples, list(own.skipped)) == (shared.samples, list(shared.skipped))
            for array in [*leaves(own.batch), *leaves(lent)]:
                assert array.flags.c_contiguous
                assert array.flags.writeable
                assert array.dtype.isnative
            batches.append(own.batch)
    return batches


def noisy(x: np.ndarray, y: Any, rng: np.random.Generator) -> Any:
    return (x + rng.random(x.shape, np.float32), y)


def noisy_batch(x: np.ndarray, y: Any, rng: np.random.Generator) -> Any:
    return (x * rng.random(), y)


PLAIN = {
    "plain": {},
    "shuffled": {"shuffle": True},
    "converted": {"dtype": "float64"},
    "converted to big-endian": {"dtype": ">f8"},
    "weighted": {"weights": np.arange(10) / 3},
    "drawn": {"draws": range(10), "shuffle": True},
    "remainder dropped": {"drop_remainder": True},
    "a process's part": {"process_count": 2, "process_index": 1, "drop_remainder": True},
    "padded": {"pad_to": (5, 4), "pad_value": -1},
    "padded with NaN": {"pad_to": (5, 4), "pad_value": float("nan")},
    "not kept": {"keep_cached": False},
}
COLUMNS = {"of a known shape": {"shape": ["4x3"] * 10, "dtype": ["float32"] * 10}, "of any shape": {}}
FUNCTIONS = {
    "no transform": {},
    "sample": {"transform": noisy},
    "batch": {"batch_transform": noisy_batch},
    "both": {"transform": noisy, "batch_transform": noisy_batch},
}


@pytest.mark.parametrize("functions", FUNCTIONS.values(), ids=FUNCTIONS)
@pytest.mark.parametrize("options", PLAIN.values(), ids=PLAIN)
@pytest.mark.parametrize("label_mode", [None, "int", "categorical", "binary", "multi_hot"])
@pytest.mark.parametrize("columns", COLUMNS.values(), ids=COLUMNS)
def test_options_and_transforms(
    make_dataset: Callable[..., Manifest],
    make_feed: Callable[..., Feed],
    slot: Slot,
    functions: Any,
    options: Any,
    label_mode: Any,
    columns: Any,
) -> None:
    feed = make_feed(make_dataset(10, columns=columns), batch_size=4, seed=3, label_mode=label_mode, **{**options, **functions})
    check_memory_does_not_matter(feed, slot)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float32", "complex64"])
@pytest.mark.parametrize("shape", [(), (3,), (0,), (3, 0), (2, 3, 4)], ids=str)
@pytest.mark.parametrize("functions", [{}, {"transform": lambda x, y, rng: (x, y)}], ids=["read", "stacked"])
def test_shapes_and_dtypes(
    make_dataset: Callable[..., Manifest], make_feed: Callable[..., Feed], slot: Slot, shape: tuple[int, ...], dtype: str, functions: Any
) -> None:
    check_memory_does_not_matter(make_feed(make_dataset(5, shape=shape, dtype=dtype), batch_size=2, **functions), slot)


@pytest.mark.parametrize("dtype", [None, "float64"])
@pytest.mark.parametrize("functions", [*FUNCTIONS.values(), {"transform": lambda x, y, rng: (x[:2, ::-1] * 1, y)}], ids=[*FUNCTIONS, "cut"])
def test_samples_of_several_shapes(
    make_varied: Callable[..., Index], make_feed: Callable[..., Feed], slot: Slot, functions: Any, dtype: DTypeLike
) -> None:
    index = make_varied([(3 + i % 4, 2) for i in range(10)])
    check_memory_does_not_matter(make_feed(index, batch_size=4, pad_to=(9, 3), dtype=dtype, **functions), slot)


X = dict[str, Callable[[Any, Any, np.random.Generator], Any]]

SAMPLE_TRANSFORMS: X = {
    "a view": lambda x, y, rng: (x[1:3], y),
    "reversed": lambda x, y, rng: (x[::-1, ::-1], y),
    "transposed": lambda x, y, rng: (x.T, y),
    "Fortran": lambda x, y, rng: (np.asfortranarray(x), y),
    "every other": lambda x, y, rng: (x[::2, ::2], y),
    "big-endian": lambda x, y, rng: (x.astype(">i2"), np.array(y, ">i8")),
    "another dtype": lambda x, y, rng: (x.astype(np.uint8), float(y)),
    "another shape": lambda x, y, rng: (np.tile(x, (3, 1)).reshape(2, 2, 9), [y, y]),
    "a scalar": lambda x, y, rng: (x.sum(), y),
    "a Python number": lambda x, y, rng: (float(x.sum()), int(y)),
    "nothing": lambda x, y, rng: (x[:0], y),
    "in place": lambda x, y, rng: (np.multiply(x, 2, out=x), y),
    "the same twice": lambda x, y, rng: ((x, x), (y, y)),
    "a dict": lambda x, y, rng: ({"b": x, "a": x[0]}, {"y": y}),
    "a list": lambda x, y, rng: ([x, x[:, :1]], [y, y]),
    "nested": lambda x, y, rng: ({"a": (x, [x.T, None])}, (y, {"z": y * 2})),
    "large": lambda x, y, rng: (np.full((400, 300), x[0, 0]), y),
    "broadcast": lambda x, y, rng: (np.broadcast_to(x[0, 0], (4, 3)), y),
}


@pytest.mark.parametrize("transform", SAMPLE_TRANSFORMS.values(), ids=SAMPLE_TRANSFORMS)
@pytest.mark.parametrize("columns", COLUMNS.values(), ids=COLUMNS)
def test_whatever_a_sample_transform_returns(
    make_dataset: Callable[..., Manifest],
    make_feed: Callable[..., Feed],
    slot: Slot,
    sample: Callable[..., np.ndarray],
    transform: Any,
    columns: Any,
) -> None:
    feed = make_feed(make_dataset(10, columns=columns), batch_size=4, transform=transform)
    batches = check_memory_does_not_matter(feed, slot, passes=1)
    for i, (x, y) in enumerate(batches):
        numbers = range(4 * i, min(4 * i + 4, 10))
        made = [transform(sample(number), np.int32(number % 2), None) for number in numbers]
        for part, number in ((x, 0), (y, 1)):
            for leaf, *rows in zip(leaves(part), *(leaves(one[number]) for one in made), strict=True):
                assert np.array_equal(leaf, np.stack(rows))


def huge(x: Any, y: Any, rng: np.random.Generator) -> Any:
    """Larger than what a slot has at first, so that it grows while x already lies in it."""
    return x, np.repeat(y, 300_000).reshape(-1, 300_000)


BATCH_TRANSFORMS: X = {
    "as it is": lambda x, y, rng: (x, y),
    "a view": lambda x, y, rng: (x[:, 1:3], y),
    "reversed": lambda x, y, rng: (x[::-1], y[::-1]),
    "transposed": lambda x, y, rng: (np.swapaxes(x, 1, 2), y),
    "Fortran": lambda x, y, rng: (np.asfortranarray(x), y),
    "big-endian": lambda x, y, rng: (x.astype(">f8"), y.astype(">i2")),
    "in place": lambda x, y, rng: (np.multiply(x, 2, out=x), y),
    "mixed": lambda x, y, rng: (0.5 * x + 0.5 * x[rng.permutation(len(x))], y),
    "the same twice": lambda x, y, rng: ({"a": x, "b": x}, (y, y)),
    "overlapping": lambda x, y, rng: ((x[:, 1:], x[:, :-1], x), y),
    "weights": lambda x, y, rng: (x, y, np.arange(len(x), dtype=np.float32)[::-1]),
    "weights of each output": lambda x, y, rng: (x, [y, y], [np.ones(len(x)), np.zeros(len(x))]),
    "broadcast": lambda x, y, rng: (np.broadcast_to(x[:1], x.shape), y),
    "read-only": lambda x, y, rng: (np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape), y),
    "a list": lambda x, y, rng: (x.tolist(), y.tolist()),
    "fewer": lambda x, y, rng: (x[:1], y[:1]),
    "huge": huge,
}


@pytest.mark.parametrize("functions", [{}, {"transform": noisy}], ids=["read", "stacked"])
@pytest.mark.parametrize("transform", BATCH_TRANSFORMS.values(), ids=BATCH_TRANSFORMS)
def test_whatever_a_batch_transform_returns(make_feed: Callable[..., Feed], slot: Slot, transform: Any, functions: Any) -> None:
    batches = check_memory_does_not_matter(make_feed(batch_size=4, batch_transform=transform, **functions), slot)
    plain = make_feed(batch_size=4, **functions).batch(0, 1).batch
    if transform not in {BATCH_TRANSFORMS["mixed"], huge}:
        made = transform(*(part.copy() for part in plain), None)
        for leaf, expected in zip(leaves(batches[1]), leaves(tuple(made)), strict=False):
            assert np.array_equal(np.asarray(leaf).ravel()[0], np.asarray(expected).ravel()[0])


def test_what_was_read_is_where_others_can_see_it_without_a_copy(make_feed: Callable[..., Feed], slot: Slot) -> None:
    for functions in FUNCTIONS.values():
        feed = make_feed(batch_size=5, transform=functions.get("transform"))
        made = feed.batch_into(0, 0, slot)
        x = made.batch[0]
        (offset, *_), *_ = slot.describe(made.batch)[1]
        before = slot.copied((0, [(offset, x.shape, x.dtype.str)], offset + x.nbytes))
        x += 1
        after = slot.copied((0, [(offset, x.shape, x.dtype.str)], offset + x.nbytes))
        assert np.array_equal(after, before + 1)


def test_a_batch_takes_the_place_of_the_one_before(make_feed: Callable[..., Feed], slot: Slot) -> None:
    for functions in FUNCTIONS.values():
        feed = make_feed(batch_size=5, **functions)
        used = {slot.describe(feed.batch_into(pass_, i, slot).batch)[2] for pass_ in range(5) for i in range(2)}
        assert len(used) == 1
