"""`as_tf_dataset` gives the sequence's batches, with the shapes that all of them have, one pass an iteration."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from loader import ManifestSequence, TransformError
from loader.feed.index.from_manifest import index_of_manifest
from loader.passes.counter import FIT_STRIDE
from manifests import Manifest

MakeDataset = Callable[..., Manifest]
OPTIONS: dict[str, Any] = {"batch_size": 4, "shuffle": True, "seed": 5}
WORKERS = {"inline": {}, "threads": {"workers": 2}, "processes": {"workers": 2, "use_multiprocessing": True}}


class Tally(keras.Model):
    """Trains nothing; each step writes down the numbers of the samples it was given (their first element)."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[list[int]] = []
        self.compile(run_eagerly=True)

    def train_step(self, data: Any) -> dict[str, float]:
        self.steps.append(numbers(data))
        return {"loss": 0.0}


def numbers(batch: Any) -> list[int]:
    return [int(first) for first in np.asarray(batch[0])[:, 0, 0]]


def promised(sequence: ManifestSequence, pass_: int) -> list[list[int]]:
    feed = sequence._feed
    return [[int(id_[1:]) for id_ in feed.ids(pass_, batch)] for batch in range(feed.num_batches)]


def shapes(dataset: tf.data.Dataset) -> Any:
    return tf.nest.map_structure(lambda spec: (tuple(spec.shape), spec.dtype.name), dataset.element_spec)


def check_elements(dataset: tf.data.Dataset, expected: list[Any]) -> None:
    """The elements are these arrays exactly, and as the dataset says."""
    count = 0
    for element, batch in zip(dataset, expected, strict=True):
        tf.nest.map_structure(
            lambda spec, tensor: spec.is_compatible_with(tensor) or pytest.fail(f"{tensor} is no {spec}"), dataset.element_spec, element
        )
        tf.nest.map_structure(lambda tensor, array: np.testing.assert_array_equal(tensor, array, strict=True), element, batch)
        count += 1
    assert count == len(expected)


@pytest.mark.parametrize(
    ("label_mode", "y"),
    [
        ("categorical", ((2,), "float32")),
        ("multi_hot", ((2,), "float32")),
        ("int", ((), "int32")),
        ("binary", ((1,), "float32")),
        (None, None),
    ],
)
@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({"batch_size": 4}, None),
        ({"batch_size": 4, "drop_remainder": True}, 4),
        ({"batch_size": 5}, 5),
        ({"batch_size": 5, "process_index": 1, "process_count": 2}, 3),
    ],
)
def test_shapes_are_as_static_as_they_are(
    make_dataset: MakeDataset, *, label_mode: Any, y: Any, options: dict[str, Any], rows: int | None
) -> None:
    sequence = ManifestSequence(make_dataset(10, dtype="uint8"), label_mode=label_mode, **options)
    dataset = sequence.as_tf_dataset()
    x_spec = ((rows, 4, 3), "uint8")
    assert shapes(dataset) == (x_spec if y is None else (x_spec, ((rows, *y[0]), y[1])))
    assert int(dataset.cardinality()) == len(sequence)
    check_elements(dataset, [sequence._feed.batch(0, batch).batch for batch in range(len(sequence))])


def test_numbers_are_targets(make_dataset: MakeDataset) -> None:
    columns = {"age": [f"{number}.5" for number in range(10)], "rust": list("0110100110"), "scab": list("1110000110")}
    manifest = make_dataset(10, columns=columns)
    for label, y in (("age", ()), (["age", "rust"], (2,)), (["rust", "scab"], (2,))):
        mode: Any = "float" if "age" in label else "auto"
        sequence = ManifestSequence(manifest, label=label, label_mode=mode, batch_size=4)
        dataset = sequence.as_tf_dataset()
        assert shapes(dataset) == (((None, 4, 3), "float32"), ((None, *y), "float32"))
        check_elements(dataset, [sequence._feed.batch(0, batch).batch for batch in range(3)])


def test_weights_come_third(make_dataset: MakeDataset) -> None:
    index = index_of_manifest(make_dataset(10), label_mode="int")
    weighted = dataclasses.replace(index, weights=np.arange(10, dtype=np.float32))
    sequence = ManifestSequence(weighted, batch_size=4)
    dataset = sequence.as_tf_dataset()
    assert shapes(dataset) == (((None, 4, 3), "float32"), ((None,), "int32"), ((None,), "float32"))
    check_elements(dataset, [sequence._feed.batch(0, batch).batch for batch in range(3)])


TRANSFORMS: dict[str, tuple[dict[str, Any], Any]] = {
    "dicts": (
        {"transform": lambda x, y, rng: ({"all": x, "mean": np.float64(x.mean())}, {"class": y})},
        ({"all": ((5, 4, 3), "float32"), "mean": ((5,), "float64")}, {"class": ((5,), "int32")}),
    ),
    "lists become tuples": (
        {"transform": lambda x, y, rng: ([x, x[0].astype("float16")], y)},
        ((((5, 4, 3), "float32"), ((5, 3), "float16")), ((5,), "int32")),
    ),
    "another shape": ({"transform": lambda x, y, rng: (x[:2], y)}, (((5, 2, 3), "float32"), ((5,), "int32"))),
    "padded": ({"pad_to": (6, 3)}, (((5, 6, 3), "float32"), ((5,), "int32"))),
    "a batch with weights": (
        {"batch_transform": lambda x, y, rng: (x, y, np.ones(len(y)))},
        (((5, 4, 3), "float32"), ((5,), "int32"), ((5,), "float64")),
    ),
    "a batch of another size": (
        {"batch_transform": lambda x, y, rng: (x[:2], y[:2])},
        (((None, 4, 3), "float32"), ((None,), "int32")),
    ),
}


@pytest.mark.parametrize(("options", "expected"), TRANSFORMS.values(), ids=TRANSFORMS.keys())
def test_a_first_batch_tells_what_transforms_make(make_dataset: MakeDataset, options: dict[str, Any], expected: Any) -> None:
    sequence = ManifestSequence(make_dataset(10), batch_size=5, label_mode="int", **options)
    dataset = sequence.as_tf_dataset()
    assert shapes(dataset) == expected
    assert len(list(dataset)) == 2


@pytest.mark.parametrize("options", WORKERS.values(), ids=WORKERS.keys())
def test_each_iteration_is_the_next_pass(make_dataset: MakeDataset, options: dict[str, Any]) -> None:
    with ManifestSequence(make_dataset(30), **OPTIONS, **options) as sequence:
        dataset = sequence.as_tf_dataset()
        for pass_ in range(3):
            assert [numbers(batch) for batch in dataset] == promised(sequence, pass_)
            assert sequence.pass_number == pass_
        assert [numbers(batch) for batch in dataset.repeat(2)] == promised(sequence, 3) + promised(sequence, 4)


@pytest.mark.parametrize("options", WORKERS.values(), ids=WORKERS.keys())
def test_two_iterations_at_once_are_two_passes(make_dataset: MakeDataset, options: dict[str, Any]) -> None:
    with ManifestSequence(make_dataset(30), **OPTIONS, **options) as sequence:
        dataset = sequence.as_tf_dataset()
        first, second = iter(dataset), iter(dataset)
        pairs = [(numbers(next(first)), numbers(next(second))) for _ in range(len(sequence))]
        passes = [promised(sequence, 0), promised(sequence, 1)]
        assert sorted(map(list, zip(*pairs, strict=True))) == sorted(passes)
        keras_walk = [numbers(batch) for batch in sequence]
        assert keras_walk == promised(sequence, 2)


@pytest.mark.parametrize("k", [1, 2, 3, 7])
def test_one_that_is_broken_off_is_a_pass_too(make_dataset: MakeDataset, k: int) -> None:
    sequence = ManifestSequence(make_dataset(30), **OPTIONS)
    dataset = sequence.as_tf_dataset()
    assert [numbers(batch) for batch in dataset.take(k)] == promised(sequence, 0)[:k]
    assert [numbers(batch) for batch in itertools.islice(dataset, k)] == promised(sequence, 1)[:k]
    assert [numbers(batch) for batch in dataset] == promised(sequence, 2)


def test_what_an_iteration_leaves_the_next_one_uses(make_dataset: MakeDataset) -> None:
    with ManifestSequence(make_dataset(30), **OPTIONS, workers=2) as sequence:
        iterator = iter(sequence.as_tf_dataset())
        next(iterator)
        assert sequence._delivery._leader is not None
        del iterator
        deadline = time.monotonic() + 20
        while sequence._delivery._leader is not None:
            assert time.monotonic() < deadline, "the iteration did not end with its iterator"
            gc.collect()
            time.sleep(0.01)


def test_fit_trains_every_sample_once_an_epoch(make_dataset: MakeDataset) -> None:
    sequence, model = ManifestSequence(make_dataset(30), **OPTIONS), Tally()
    dataset = sequence.as_tf_dataset()
    model.fit(dataset, epochs=3, shuffle=False, verbose=0)
    assert model.steps == [batch for pass_ in range(3) for batch in promised(sequence, pass_)]
    model.fit(dataset, epochs=1, shuffle=False, verbose=0)
    assert model.steps[24:] == promised(sequence, 3)


def test_predictions_line_up_with_the_ids(make_dataset: MakeDataset) -> None:
    sequence = ManifestSequence(make_dataset(30), label_mode=None, **OPTIONS)
    model = keras.Sequential([keras.Input((4, 3)), keras.layers.Flatten(), keras.layers.Lambda(lambda x: x[:, 0])])
    for _ in range(2):
        predictions = model.predict(sequence.as_tf_dataset(), verbose=0)
        assert predictions.astype(int).tolist() == [int(id_[1:]) for id_ in sequence.ids()]
    keras.backend.clear_session()


def test_without_end_the_passes_follow_each_other(make_dataset: MakeDataset) -> None:
    sequence = ManifestSequence(make_dataset(10), repeat=True, **OPTIONS)
    dataset = sequence.as_tf_dataset()
    assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY
    assert [numbers(batch) for batch in dataset.take(7)] == [*promised(sequence, 0), *promised(sequence, 1), *promised(sequence, 2)[:1]]
    assert [numbers(batch) for batch in dataset.take(3)] == promised(sequence, FIT_STRIDE)


def test_an_error_names_the_sample(make_dataset: MakeDataset) -> None:
    manifest = make_dataset(10)
    dataset = ManifestSequence(manifest, batch_size=4).as_tf_dataset()
    (manifest.root / "shards" / "s005.npy").unlink()
    with pytest.raises(tf.errors.OpError, match=r"ID 's005': expected .* found no such file"):
        list(dataset)


def test_a_transform_that_fails_does_so_at_once(make_dataset: MakeDataset) -> None:
    sequence = ManifestSequence(make_dataset(10), batch_size=4, transform=lambda x, y, rng: x)
    with pytest.raises(TransformError, match="must return"):
        sequence.as_tf_dataset()


def test_an_override_makes_the_elements(make_dataset: MakeDataset) -> None:
    class Doubled(ManifestSequence):
        def __getitem__(self, index: int) -> Any:
            x, y = super().__getitem__(index)
            assert numbers((x,)) == [int(id_[1:]) for id_ in self.ids(index)]
            return 2 * x, y.argmax(axis=1).astype("int8")

    sequence = Doubled(make_dataset(30), **OPTIONS)
    dataset = sequence.as_tf_dataset()
    assert shapes(dataset) == (((None, 4, 3), "float32"), ((None,), "int8"))
    for pass_ in range(2):
        assert [numbers(batch) for batch in dataset] == [[2 * n for n in batch] for batch in promised(sequence, pass_)]


def test_batches_of_several_lengths_have_an_open_axis(make_dataset: MakeDataset) -> None:
    sequence = ManifestSequence(make_dataset(30), **OPTIONS, batch_transform=lambda x, y, rng: (x[:, : 1 + int(x[0, 0, 0]) % 4], y))
    dataset = sequence.as_tf_dataset()
    assert shapes(dataset)[0] == ((None, None, 3), "float32")
    assert [tuple(x.shape) for x, _ in dataset] == [(len(batch), 1 + batch[0] % 4, 3) for batch in promised(sequence, 0)]


def test_a_batch_that_is_not_as_the_first_ones_were_is_refused(make_dataset: MakeDataset) -> None:
    sequence = ManifestSequence(make_dataset(30), batch_size=4, batch_transform=lambda x, y, rng: (x[:, : 2 + (x[0, 0, 0] > 8)], y))
    dataset = sequence.as_tf_dataset()
    with pytest.raises(
        tf.errors.OpError, match=r"has shape \(4, 3, 3\) and dtype float32, expected \(None, 2, 3\) and float32 as in the first"
    ):
        list(dataset)


def test_what_was_made_before_an_error_comes_first(make_dataset: MakeDataset) -> None:
    manifest = make_dataset(40)
    dataset = ManifestSequence(manifest, batch_size=4).as_tf_dataset()
    (manifest.root / "shards" / "s021.npy").unlink()
    found: list[list[int]] = []
    with pytest.raises(tf.errors.OpError, match=r"ID 's021'"):
        found.extend(map(numbers, dataset))
    assert found == [[4 * i + j for j in range(4)] for i in range(5)]


def test_texts_of_an_override_arrive(make_dataset: MakeDataset) -> None:
    class Named(ManifestSequence):
        def __getitem__(self, index: int) -> Any:
            return super().__getitem__(index)[0], np.array(self.ids(index), dtype=object)

    sequence = Named(make_dataset(30), **OPTIONS)
    found = [id_.decode() for _, y in sequence.as_tf_dataset() for id_ in y.numpy()]
    assert found == sequence.ids()
