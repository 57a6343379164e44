"""Users' functions in a feed: what they are given, what their random numbers depend on, and what is said when they fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from loader import OptionError, SamplesError, ShardError, TransformError
from loader.feed.feed import Feed
from loader.feed.index.index import Index
from manifests import ArraySpec, Manifest

N = 24
MakeDataset = Callable[..., Manifest]
MakeFeed = Callable[..., Feed]
MakeVaried = Callable[..., Index]


def numbered(x: Any, y: Any, rng: np.random.Generator) -> Any:
    """Return the sample's number and the first two random numbers that were given to it."""
    made = np.array([x.flat[0], *rng.random(2)])
    return made if y is None else (made, y)


def numbers(feed: Feed, pass_: int = 0) -> dict[int, tuple[float, float]]:
    """Return the random numbers of each sample in a pass."""
    rows = [row for i in range(feed.num_batches) for row in first_part(feed.batch(pass_, i).batch).tolist()]
    assert len({row[0] for row in rows}) == len(rows)
    return {int(number): (first, second) for number, first, second in rows}


def first_part(batch: Any) -> np.ndarray:
    return batch[0] if isinstance(batch, tuple) else batch


SAME = {
    "the same again": {},
    "another batch size": {"batch_size": 5},
    "one batch": {"batch_size": N},
    "batches of one": {"batch_size": 1},
    "shuffled": {"shuffle": True},
    "without labels": {"label_mode": None},
    "one-hot labels": {"label_mode": "categorical"},
    "weighted": {"weights": np.ones(N)},
    "converted": {"dtype": "float64"},
}


@pytest.mark.parametrize("options", SAME.values(), ids=SAME)
@pytest.mark.parametrize("pass_", [0, 3])
def test_a_samples_random_numbers_depend_on_seed_pass_and_sample_alone(
    make_dataset: MakeDataset, make_feed: MakeFeed, options: dict[str, Any], pass_: int
) -> None:
    manifest = make_dataset(N)
    reference = numbers(make_feed(manifest, batch_size=8, transform=numbered, seed=4), pass_)
    assert len({number for drawn in reference.values() for number in drawn}) == 2 * N
    assert numbers(make_feed(manifest, **({"batch_size": 8, "transform": numbered, "seed": 4} | options)), pass_) == reference


@pytest.mark.parametrize("count", [2, 3, 8])
def test_they_are_the_same_in_whichever_process(make_dataset: MakeDataset, make_feed: MakeFeed, count: int) -> None:
    manifest = make_dataset(N)
    parts: dict[int, Any] = {}
    for index in range(count):
        feed = make_feed(manifest, batch_size=8, shuffle=True, transform=numbered, process_index=index, process_count=count)
        parts |= numbers(feed, 1)
    assert parts == numbers(make_feed(manifest, batch_size=8, shuffle=True, transform=numbered), 1)


@pytest.mark.parametrize("one", [{"seed": 0}, {"pass_": 0}])
@pytest.mark.parametrize("by", [1, 2**64])
def test_other_seeds_and_passes_give_every_sample_other_numbers(make_feed: MakeFeed, one: dict[str, int], by: int) -> None:
    def all_numbers(seed: int = 0, pass_: int = 0) -> set[float]:
        return {number for drawn in numbers(make_feed(transform=numbered, seed=seed), pass_).values() for number in drawn}

    other = {name: value + by for name, value in one.items()}
    assert not all_numbers(**one) & all_numbers(**other)


@pytest.mark.parametrize("count", [1, 2])
def test_two_draws_of_one_sample_in_a_pass_are_transformed_differently(make_dataset: MakeDataset, make_feed: MakeFeed, count: int) -> None:
    manifest = make_dataset(12)
    seen: list[list[float]] = []
    for index in range(count):
        feed = make_feed(
            manifest,
            draws=[6, 6] + [0] * 10,
            batch_size=4,
            shuffle=True,
            transform=numbered,
            process_index=index,
            process_count=count,
        )
        seen += [row for i in range(feed.num_batches) for row in feed.batch(0, i).batch[0].tolist()]
    assert sorted(row[0] for row in seen) == [0] * 6 + [1] * 6
    assert len({row[1] for row in seen}) == 12


def test_draws_are_transformed_the_same_for_any_batch_size_and_process(make_dataset: MakeDataset, make_feed: MakeFeed) -> None:
    manifest, draws = make_dataset(12), [6, 6] + [0] * 10

    def rows(**options: Any) -> list[list[float]]:
        feed = make_feed(manifest, draws=draws, shuffle=True, transform=numbered, **options)
        return [row for i in range(feed.num_batches) for row in feed.batch(2, i).batch[0].tolist()]

    whole = rows(batch_size=12)
    assert rows(batch_size=4) == whole
    assert [row for index in range(3) for row in rows(batch_size=12, process_index=index, process_count=3)] == whole


def test_a_batchs_random_numbers_depend_on_seed_pass_batch_and_process(make_feed: MakeFeed) -> None:
    def draw(x: Any, y: Any, rng: np.random.Generator) -> Any:
        return x, y, rng.random(len(x))

    seen: set[float] = set()
    cases = [{"seed": 0}, {"seed": 1}, {"process_count": 2}, {"process_count": 2, "process_index": 1}]
    for options in cases:
        feed = make_feed(batch_size=5, batch_transform=draw, **options)
        for pass_ in range(2):
            for i in range(2):
                weights = feed.batch(pass_, i).batch[2]
                assert np.array_equal(weights, feed.batch(pass_, i).batch[2])
                seen.add(float(weights[0]))
    # The first process draws what one process alone draws.
    assert len(seen) == 12


@pytest.mark.parametrize("columns", [{}, {"shape": ["4x3"] * 3, "dtype": ["uint8"] * 3}], ids=["of any shape", "of a known shape"])
def test_what_a_sample_transform_is_given(
    make_dataset: MakeDataset, make_feed: MakeFeed, sample: Callable[..., np.ndarray], columns: dict[str, list[str]]
) -> None:
    given: list[tuple[Any, Any, Any]] = []

    def note(x: Any, y: Any, rng: np.random.Generator) -> Any:
        given.append((x.copy(), y, rng))
        return x, y

    make_feed(make_dataset(3, dtype="uint8", columns=columns), label_mode="categorical", dtype="float32", transform=note).batch(0, 0)
    for i, (x, y, rng) in enumerate(given):
        assert x.dtype == np.float32
        assert np.array_equal(x, sample(i, dtype="uint8"))
        assert y.tolist() == [[1, 0], [0, 1]][i % 2]
        assert isinstance(rng, np.random.Generator)


@pytest.mark.parametrize("label_mode", [None, "int"])
def test_without_labels_y_is_none_and_may_be_made(make_feed: MakeFeed, label_mode: Any) -> None:
    def make_target(x: Any, y: Any, rng: np.random.Generator) -> Any:
        assert (y is None) is (label_mode is None)
        return x, x.sum()

    x, y = make_feed(label_mode=label_mode, transform=make_target).batch(0, 0).batch
    assert y.tolist() == x.sum(axis=(1, 2)).tolist()


@pytest.mark.parametrize("result", [lambda x, y, rng: x, lambda x, y, rng: (x, y)])
@pytest.mark.parametrize("which", ["transform", "batch_transform"])
def test_without_labels_x_alone_or_with_none_is_the_same(make_feed: MakeFeed, which: str, result: Any) -> None:
    batch = make_feed(label_mode=None, **{which: result}).batch(0, 0).batch
    assert np.array_equal(batch, make_feed(label_mode=None).batch(0, 0).batch)


def test_both_transforms_run_one_after_the_other(make_feed: MakeFeed) -> None:
    batch = make_feed(
        transform=lambda x, y, rng: ({"a": x + 1, "b": x[0]}, y), batch_transform=lambda x, y, rng: (x["a"] * 10, [y, len(x["b"])])
    ).batch(0, 0)
    x, (y, n) = batch.batch
    assert np.array_equal(x, (make_feed().batch(0, 0).batch[0] + 1) * 10)
    assert y.tolist() == [0, 1] * 5
    assert n == 10


def test_weights_stay_unless_the_batch_transform_returns_its_own(make_feed: MakeFeed) -> None:
    weights = np.arange(10)
    for transform, expected in [
        (None, weights),
        (lambda x, y, rng: (x, y), weights),
        (lambda x, y, rng: (x, y, weights * 2), weights * 2),
    ]:
        assert make_feed(weights=weights, batch_transform=transform).batch(0, 0).batch[2].tolist() == expected.tolist()


class OwnError(Exception):
    """One that the loader does not know."""


def fail_at(number: int, result: Any) -> Callable[[Any, Any, Any], Any]:
    """Return a transform that returns something else for one sample, or raises it."""

    def transform(x: Any, y: Any, rng: np.random.Generator) -> Any:
        if x.flat[0] != number:
            return x, y
        if isinstance(result, Exception):
            raise result
        return result(x, y)

    return transform


@pytest.mark.parametrize("number", [0, 7])
def test_what_a_transform_raises_names_id_and_path(make_feed: MakeFeed, number: int) -> None:
    with pytest.raises(OwnError, match="too dark") as caught:
        make_feed(transform=fail_at(number, OwnError("too dark"))).batch(0, 0)
    assert caught.value.__notes__ == [f"raised by the transform of ID 's00{number}' (shards/s00{number}.npy)"]


def test_what_a_batch_transform_raises_names_the_batch_and_its_ids(make_feed: MakeFeed) -> None:
    with pytest.raises(OwnError) as caught:
        make_feed(batch_size=3, batch_transform=fail_at(3, OwnError())).batch(5, 1)
    assert caught.value.__notes__ == ["raised by the transform of batch 1 of pass 5, with IDs 's003', 's004', 's005'"]


RETURNS = {
    "nothing": (lambda x, y: None, "must return (x, y), got None"),
    "no y": (lambda x, y: x, "must return (x, y), got an array of shape (4, 3) and dtype float32"),
    "y None": (lambda x, y: (x, None), "must return (x, y), got a tuple of ndarray, None"),
    "a list": (lambda x, y: [x, y], "must return (x, y), got a list of ndarray, int32"),
    "three": (lambda x, y: (x, y, 1), "must return (x, y), got a tuple of ndarray, int32, int"),
    "objects": (lambda x, y: (np.array([None]), y), "returned an array of shape (1,) and dtype object, expected numbers"),
    "text for y": (lambda x, y: (x, "cat"), "returned 'cat', expected numbers"),
}
LATER = {
    "another shape": (lambda x, y: (x[1:], y), "has shape (3, 3), and the one before it (4, 3)"),
    "another dtype": (lambda x, y: (x.astype("f8"), y), "returned (4, 3) float64, and (4, 3) float32 for the sample before"),
    "another dtype of y": (lambda x, y: (x, float(y)), "returned () float64, and () int32 for the sample before"),
    "another shape of y": (lambda x, y: (x, [y, y]), "returned a list of int32, int32, and an array of shape"),
    "another form": (lambda x, y: ({"a": x}, y), "returned a dict of 'a', and an array of shape"),
}


@pytest.mark.parametrize(
    ("number", "case"), [*((number, case) for number in (0, 7) for case in RETURNS), *((7, case) for case in LATER)], ids=str
)
def test_what_a_transform_must_not_return_is_named_with_id_and_path(make_feed: MakeFeed, number: int, case: str) -> None:
    result, message = (RETURNS | LATER)[case]
    with pytest.raises(TransformError) as caught:
        make_feed(transform=fail_at(number, result)).batch(0, 0)
    assert f"ID 's00{number}' (shards/s00{number}.npy)" in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


BATCH_RETURNS = {
    "nothing": (lambda x, y: None, "must return (X, y) or (X, y, weights), got None"),
    "no y": (lambda x, y: x, "must return (X, y) or (X, y, weights), got an array of shape (3, 4, 3) and dtype float32"),
    "no x": (lambda x, y: (None, y), "must return (X, y) or (X, y, weights), got a tuple of None, ndarray"),
    "four": (lambda x, y: (x, y, 1, 1), "must return (X, y) or (X, y, weights), got a tuple of ndarray, ndarray, int, int"),
    "objects": (lambda x, y: (x.astype(object), y), "returned an array of shape (3, 4, 3) and dtype object, expected numbers"),
    "text for y": (lambda x, y: (x, ["cat"] * 3), "returned 'cat', expected numbers"),
    "no weights": (lambda x, y: (x, y, None), "returned None where an array was expected"),
}


@pytest.mark.parametrize("case", BATCH_RETURNS, ids=str)
def test_what_a_batch_transform_must_not_return_is_named_with_the_ids(make_feed: MakeFeed, case: str) -> None:
    result, message = BATCH_RETURNS[case]
    with pytest.raises(TransformError) as caught:
        make_feed(batch_size=3, batch_transform=fail_at(3, result)).batch(2, 1)
    assert str(caught.value) == f"the transform of batch 1 of pass 2, with IDs 's003', 's004', 's005' {message}"


def test_many_ids_of_a_batch_are_cut_and_counted(make_dataset: MakeDataset, make_feed: MakeFeed) -> None:
    with pytest.raises(TransformError, match=r"'s009', \.\.\. and 14 more must return"):
        make_feed(make_dataset(N), batch_transform=lambda x, y, rng: None).batch(0, 0)


SHAPES = [(2, 3), (4, 1), (1, 5), (4, 5), (3, 3)]


@pytest.mark.parametrize("value", [0, -2.5])
@pytest.mark.parametrize("dtype", [None, "float64"])
def test_samples_of_several_shapes_are_padded(
    make_varied: MakeVaried, make_feed: MakeFeed, sample: Callable[..., np.ndarray], value: float, dtype: Any
) -> None:
    feed = make_feed(make_varied(SHAPES), pad_to=(4, 5), pad_value=value, dtype=dtype)
    assert feed.shape is None
    x, y = feed.batch(0, 0).batch
    assert x.dtype == (dtype or "float32")
    assert y.tolist() == [0, 1, 0, 1, 0]
    for i, (high, wide) in enumerate(SHAPES):
        padding = [(0, 4 - high), (0, 5 - wide)]
        assert np.array_equal(x[i], np.pad(sample(i, (high, wide)), padding, constant_values=value))


@pytest.mark.parametrize("shape", [None, (None, None), (4, 5)], ids=str)
def test_they_are_whatever_the_index_says_of_their_shape(make_varied: MakeVaried, make_feed: MakeFeed, shape: Any) -> None:
    index = make_varied(SHAPES)
    described = replace(index, array=ArraySpec(shape=shape, dtype="float32"))
    found, expected = (make_feed(samples, pad_to=(4, 5)).batch(0, 0).batch[0] for samples in (described, index))
    assert np.array_equal(found, expected)


def test_samples_of_one_shape_are_padded_too(make_feed: MakeFeed, sample: Callable[..., np.ndarray]) -> None:
    x, _ = make_feed(pad_to=[6, 3], pad_value=9).batch(0, 0).batch
    assert np.array_equal(x[:, :4], np.stack([sample(i) for i in range(10)]))
    assert (x[:, 4:] == 9).all()


def test_a_manifest_that_says_no_shapes_may_have_several(make_dataset: MakeDataset, make_feed: MakeFeed) -> None:
    manifest = make_dataset(3)
    np.save(manifest.path_of("s001"), np.full((2, 2), 7, np.float32))
    assert make_feed(manifest, pad_to=(4, 3)).batch(0, 0).batch[0][1].tolist() == [[7, 7, 0], [7, 7, 0], [0, 0, 0], [0, 0, 0]]
    with pytest.raises(ShardError, match=r"ID 's001': expected \(4, 3\) float32, found \(2, 2\) float32"):
        make_feed(manifest).batch(0, 0)


def test_a_transform_sees_the_sample_without_padding(make_varied: MakeVaried, make_feed: MakeFeed) -> None:
    seen: list[tuple[int, ...]] = []

    def grow(x: Any, y: Any, rng: np.random.Generator) -> Any:
        seen.append(x.shape)
        return np.vstack([x, x]), y

    x, _ = make_feed(make_varied(SHAPES), transform=grow, pad_to=(8, 5), pad_value=-1).batch(0, 0).batch
    assert seen == SHAPES
    assert [(row != -1).sum() for row in x] == [2 * high * wide for high, wide in SHAPES]


def test_a_transform_can_give_samples_one_shape(make_varied: MakeVaried, make_feed: MakeFeed) -> None:
    x, _ = make_feed(make_varied(SHAPES), transform=lambda x, y, rng: (x[:1, :1], y)).batch(0, 0).batch
    assert x.tolist() == [[[i]] for i in range(5)]


def test_each_input_of_several_is_padded(make_varied: MakeVaried, make_feed: MakeFeed) -> None:
    x, _ = make_feed(make_varied(SHAPES), transform=lambda x, y, rng: ({"a": x, "b": x[:1]}, y), pad_to=(4, 5)).batch(0, 0).batch
    assert {name: array.shape for name, array in x.items()} == {"a": (5, 4, 5), "b": (5, 4, 5)}


@pytest.mark.parametrize("options", [{}, {"batch_transform": lambda x, y, rng: (x, y)}])
def test_samples_of_several_shapes_need_something_that_gives_them_one(
    make_varied: MakeVaried, make_feed: MakeFeed, options: dict[str, Any]
) -> None:
    with pytest.raises(SamplesError, match=r"the samples differ: shapes .*pass pad_to=, or a transform= that makes it"):
        make_feed(make_varied(SHAPES), **options)


@pytest.mark.parametrize(("pad_to", "number"), [((4, 4), 2), ((3, 5), 1), ((4, 5, 1), 0), ((20,), 0)])
def test_a_sample_that_padding_cannot_fit_is_named(
    make_varied: MakeVaried, make_feed: MakeFeed, pad_to: tuple[int, ...], number: int
) -> None:
    with pytest.raises(TransformError) as caught:
        make_feed(make_varied(SHAPES), pad_to=pad_to).batch(0, 0)
    assert str(caught.value) == (
        f"the sample of ID 's00{number}' (shards/s00{number}.npy) has shape {SHAPES[number]}, expected at most pad_to={pad_to}; "
        "raise pad_to, or let the transform cut the sample"
    )


def test_samples_that_a_transform_leaves_in_several_shapes_are_named(make_varied: MakeVaried, make_feed: MakeFeed) -> None:
    with pytest.raises(
        TransformError, match=r"the sample of ID 's001' .* has shape \(4, 1\), and the one before it \(2, 3\); a batch needs"
    ):
        make_feed(make_varied(SHAPES), transform=lambda x, y, rng: (x, y)).batch(0, 0)


def test_a_value_that_the_samples_cannot_hold_is_refused_at_once(make_dataset: MakeDataset, make_feed: MakeFeed) -> None:
    manifest = make_dataset(3, dtype="uint8")
    with pytest.raises(OptionError, match="pad_value must be one that uint8 can hold, got -1"):
        make_feed(manifest, pad_to=(4, 4), pad_value=-1)
    assert make_feed(manifest, pad_to=(4, 4), pad_value=-1, dtype="int16").batch(0, 0).batch[0].min() == -1
    assert make_feed(manifest, pad_to=(4, 4), pad_value=-1, transform=lambda x, y, rng: (x / 255, y)).batch(0, 0).batch[0].min() == -1


@pytest.mark.parametrize("bad", ["missing", "of another dtype"])
def test_a_bad_shard_among_several_shapes_is_named(make_varied: MakeVaried, make_feed: MakeFeed, bad: str) -> None:
    feed = make_feed(make_varied(SHAPES), pad_to=(4, 5))
    file = feed.index.root / "shards" / "s003.npy"
    file.unlink()
    if bad != "missing":
        np.save(file, np.zeros((4, 5), np.int8))
    found = "no such file" if bad == "missing" else r"\(4, 5\) int8"
    with pytest.raises(ShardError, match=f"shard {file} of ID 's003': expected any shape float32, found {found}; "):
        feed.batch(0, 0)
