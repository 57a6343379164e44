from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from loader import BatchIndexError, LabelError, ManifestSequence, OptionError, SamplesError, ShardError
from loader.feed.index.from_manifest import index_of_manifest
from manifests import Manifest

Volumes = tuple[list[str], dict[str, int], Path]


class Recorder(ManifestSequence):
    """Remembers how many batches were asked for in which pass, between an epoch's begin and its end."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.epochs: list[list[int]] = []
        self._recording = False

    def __getitem__(self, index: int) -> Any:
        batch = super().__getitem__(index)
        if self._recording:
            self.epochs[-1].append(self.pass_number)
        return batch

    def on_epoch_begin(self) -> None:
        super().on_epoch_begin()
        self.epochs.append([])
        self._recording = True

    def on_epoch_end(self) -> None:
        super().on_epoch_end()
        self._recording = False


class Tally(keras.Model):
    """Trains nothing; each step writes down the numbers of the samples it was given (their first element)."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[list[int]] = []

    def train_step(self, data: Any) -> dict[str, float]:
        self.steps.append([int(first) for first in np.asarray(data[0])[:, 0, 0]])
        return {"loss": 0.0}

    def take(self) -> list[list[int]]:
        steps, self.steps = self.steps, []
        return steps


class First(keras.layers.Layer):
    """Passes on each sample's first element, times a weight that starts as 1."""

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight(shape=(), initializer="ones")

    def call(self, x: Any) -> Any:
        return x[:, 0, :1] * self.scale


class StopAt(keras.callbacks.Callback):
    def __init__(self, step: int, error: type[BaseException] | None = None) -> None:
        super().__init__()
        self.step, self.error = step, error

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == self.step:
            if self.error:
                raise self.error
            self.model.stop_training = True


@pytest.fixture
def tally() -> Tally:
    model = Tally()
    model.compile(run_eagerly=True)
    return model


@pytest.fixture
def identity() -> Iterator[keras.Model]:
    """A model whose prediction is the sample's first element."""
    model = keras.Sequential([keras.Input((4, 3)), First()])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    yield model
    keras.backend.clear_session()


def numbers(ids: list[str]) -> list[int]:
    return [int(id_[1:]) for id_ in ids]


def firsts(batch: Any) -> list[int]:
    """The numbers of a batch's samples, which are their first elements."""
    return [int(x[0, 0]) for x in batch[0]]


def promised(manifest: Manifest, pass_: int, **options: Any) -> list[list[int]]:
    """The sample numbers of each batch of a pass, from a sequence that was walked there by hand."""
    sequence = ManifestSequence(manifest, **options)
    for _ in range(pass_):
        sequence.on_epoch_end()
        assert sequence[0] is not None
    assert sequence.pass_number == pass_
    return [numbers(sequence.ids(i)) for i in range(len(sequence))]


def test_it_is_what_keras_calls_a_sequence(make_dataset: Callable[..., Manifest]) -> None:
    sequence = ManifestSequence(make_dataset(10), batch_size=4)
    assert isinstance(sequence, keras.utils.PyDataset)
    assert isinstance(sequence, keras.utils.Sequence)
    assert (len(sequence), sequence.num_batches, sequence.n_samples, sequence.batch_size) == (3, 3, 10, 4)
    assert (sequence.class_names, sequence.n_classes, sequence.label_mode) == (("a", "b"), 2, "categorical")
    assert [len(x) for x, _ in sequence] == [4, 4, 2]
    assert repr(sequence) == (
        "<ManifestSequence: 10 samples (4, 3) float32, 3 batches of 4; 2 classes, label_mode 'categorical'; in order>"
    )
    assert "shuffled by seed 3" in repr(ManifestSequence(make_dataset(10), shuffle=True, seed=3))


@pytest.mark.parametrize(
    ("label_mode", "dtype", "shape", "loss", "units"),
    [
        ("categorical", "float32", (4, 2), "categorical_crossentropy", 2),
        ("int", "int32", (4,), "sparse_categorical_crossentropy", 2),
        ("binary", "float32", (4, 1), "binary_crossentropy", 1),
        ("multi_hot", "float32", (4, 2), "binary_crossentropy", 2),
    ],
)
def test_every_label_mode_trains(
    make_dataset: Callable[..., Manifest], *, label_mode: Any, dtype: str, shape: tuple[int, ...], loss: str, units: int
) -> None:
    sequence = ManifestSequence(make_dataset(10), batch_size=4, label_mode=label_mode)
    x, y = sequence[0]
    assert (x.dtype, x.shape) == ("float32", (4, 4, 3))
    assert (y.dtype, y.shape) == (dtype, shape)
    activation = "softmax" if "categorical" in loss else "sigmoid"
    model = keras.Sequential([keras.Input((4, 3)), keras.layers.Flatten(), keras.layers.Dense(units, activation=activation)])
    model.compile("sgd", loss)
    model.fit(sequence, validation_data=sequence, epochs=2, verbose=0)
    model.evaluate(sequence, verbose=0)
    assert model.predict(sequence, verbose=0).shape == (10, units)


def test_numbers_train_by_default(make_dataset: Callable[..., Manifest]) -> None:
    sequence = ManifestSequence(make_dataset(10, labels=[str(number / 2) for number in range(10)]), batch_size=4)
    y = sequence[0][1]
    assert (y.dtype, y.tolist()) == ("float32", [0, 0.5, 1, 1.5])
    assert (sequence.class_names, sequence.n_classes, sequence.label_mode) == ((), 0, "float")
    assert repr(sequence) == "<ManifestSequence: 10 samples (4, 3) float32, 3 batches of 4; label_mode 'float'; in order>"
    model = keras.Sequential([keras.Input((4, 3)), keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(sequence, validation_data=sequence, epochs=2, verbose=0)


def test_labels_come_from_any_columns(make_dataset: Callable[..., Manifest]) -> None:
    manifest = make_dataset(4, columns={"rust": list("0110"), "scab": list("1110")})
    sequence = ManifestSequence(manifest, label=["rust", "scab"])
    assert (sequence.class_names, sequence.label_mode) == (("rust", "scab"), "multi_hot")
    assert sequence[0][1].tolist() == [[0, 1], [1, 1], [1, 1], [0, 0]]
    assert ManifestSequence(manifest, label="scab", label_mode="int")[0][1].tolist() == [1, 1, 1, 0]


def test_a_list_of_ids_has_no_label_columns(make_dataset: Callable[..., Manifest]) -> None:
    ids, folder = make_dataset(2).ids, make_dataset(2).root / "shards"
    labels = {"s000": 1.5, "s001": -2}
    options: dict[str, Any] = {"data_dir": folder, "dim": None, "label_mode": "float", "shuffle": False}
    assert ManifestSequence.from_ids(ids, labels, **options)[0][1].tolist() == [1.5, -2]
    with pytest.raises(OptionError, match="label names columns of a manifest, and there is none here, got 'age'"):
        ManifestSequence.from_ids(ids, labels, label="age", **options)


def test_without_labels_there_is_something_to_predict(make_dataset: Callable[..., Manifest], identity: keras.Model) -> None:
    sequence = ManifestSequence(make_dataset(10), batch_size=4, label_mode=None)
    assert isinstance(sequence[0], np.ndarray)
    assert sequence.label_mode is None
    assert identity.predict(sequence, verbose=0).ravel().tolist() == list(range(10))


@pytest.mark.parametrize("shuffle", [False, True])
def test_predictions_line_up_with_the_ids(make_dataset: Callable[..., Manifest], identity: keras.Model, *, shuffle: bool) -> None:
    sequence = ManifestSequence(make_dataset(10), batch_size=4, shuffle=shuffle)
    orders = []
    for _ in range(2):
        predictions = identity.predict(sequence, verbose=0).ravel()
        assert predictions.astype(int).tolist() == numbers(sequence.ids())
        assert numbers(sequence.ids()) == [n for i in range(3) for n in numbers(sequence.ids(i))]
        orders.append(sequence.ids())
    assert (orders[0] == orders[1]) is not shuffle
    identity.fit(sequence, epochs=2, verbose=0)
    assert identity.predict(sequence, verbose=0).ravel().astype(int).tolist() == numbers(sequence.ids())


def test_evaluating_gives_the_mean_over_all_samples(make_dataset: Callable[..., Manifest], identity: keras.Model) -> None:
    sequence = ManifestSequence(make_dataset(10, labels=["0"] * 10), batch_size=4, label_mode="int", shuffle=True)
    for _ in range(2):
        assert identity.evaluate(sequence, verbose=0) == pytest.approx(np.mean(np.arange(10) ** 2))


def test_each_epoch_trains_every_sample_once_in_the_promised_order(make_dataset: Callable[..., Manifest], tally: Tally) -> None:
    manifest = make_dataset(10)
    options = {"batch_size": 4, "shuffle": True, "seed": 5}
    sequence = ManifestSequence(manifest, **options)
    tally.fit(sequence, epochs=3, shuffle=False, verbose=0)
    assert tally.take() == [batch for pass_ in range(3) for batch in promised(manifest, pass_, **options)]
    tally.fit(sequence, epochs=1, shuffle=False, verbose=0)
    assert tally.take() == promised(manifest, 3, **options)


def test_an_unbuilt_model_with_validation_starts_in_pass_0(make_dataset: Callable[..., Manifest]) -> None:
    train = Recorder(make_dataset(10), batch_size=4, shuffle=True)
    val = Recorder(make_dataset(10), batch_size=5)
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")])
    model.compile("sgd", "categorical_crossentropy")
    model.fit(train, validation_data=val, epochs=3, verbose=0)
    assert train.epochs == [[epoch] * 3 for epoch in range(3)]
    assert val.epochs == [[epoch] * 2 for epoch in range(3)]


def test_each_loop_is_a_pass_in_its_order(make_dataset: Callable[..., Manifest]) -> None:
    manifest = make_dataset(10)
    options = {"batch_size": 4, "shuffle": True, "seed": 5}
    sequence = ManifestSequence(manifest, **options)
    for pass_ in range(3):
        assert [firsts(batch) for batch in sequence] == promised(manifest, pass_, **options)
        assert sequence.pass_number == pass_


def test_by_hand_a_batch_is_the_one_that_was_named_also_amid_a_loop(make_dataset: Callable[..., Manifest]) -> None:
    manifest = make_dataset(10)
    options = {"batch_size": 2, "shuffle": True}
    first, sequence = promised(manifest, 0, **options), ManifestSequence(manifest, **options)
    for batch, expected in zip(sequence, first, strict=True):
        assert [firsts(sequence[i]) for i in (3, 0, -1)] == [first[3], first[0], first[4]]
        assert firsts(batch) == expected
    by_name = [firsts(sequence[i]) for i in (4, 2, 0, 1, 3)]
    assert by_name == [first[i] for i in (4, 2, 0, 1, 3)]


class Twice(ManifestSequence):
    """Makes each batch of itself and of the one that is named after it, as mixing two batches does."""

    def __getitem__(self, index: int) -> Any:
        (x, y), (again, _) = super().__getitem__(index), super().__getitem__(index)
        other, _ = super().__getitem__((index + 1) % len(self))
        assert np.array_equal(x, again)
        assert firsts((other, y)) == numbers(self.ids((index + 1) % len(self)))
        return x, y


class Chosen(keras.utils.PyDataset):
    """Some batches of another sequence, which is told of epochs."""

    def __init__(self, inner: ManifestSequence, indices: list[int]) -> None:
        super().__init__()
        self.inner, self.indices = inner, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.inner[self.indices[index]]

    def on_epoch_end(self) -> None:
        self.inner.on_epoch_end()


def test_an_override_of_getitem_may_ask_for_its_batch_again_and_for_others(make_dataset: Callable[..., Manifest], tally: Tally) -> None:
    manifest = make_dataset(10)
    options = {"batch_size": 2, "shuffle": True}
    tally.fit(Twice(manifest, **options), epochs=3, verbose=0)
    assert tally.take() == [batch for pass_ in range(3) for batch in promised(manifest, pass_, **options)]


def test_a_sequence_made_of_this_one_gets_the_batches_that_it_names(make_dataset: Callable[..., Manifest], tally: Tally) -> None:
    manifest = make_dataset(10)
    options = {"batch_size": 2, "shuffle": True}
    chosen = Chosen(ManifestSequence(manifest, **options), [4, 1, 3])
    tally.fit(chosen, epochs=3, shuffle=False, verbose=0)
    # Keras ends an epoch before the first one begins, and the sequence hands that on.
    assert tally.take() == [promised(manifest, pass_, **options)[i] for pass_ in range(1, 4) for i in (4, 1, 3)]


class Asked:
    """Stands for who reads ahead, and remembers what was asked for and what was said to come."""

    def __init__(self, sequence: ManifestSequence) -> None:
        self.feed = sequence._feed
        self.calls: list[tuple[Any, list[Any]]] = []
        self.ready = self.restarts = 0

    def take(self, key: Any, ahead: Iterator[Any]) -> Any:
        self.calls.append((key, list(itertools.islice(ahead, 3))))
        return self.feed.batch(*key)


def test_what_fit_will_ask_for_is_known_ahead_although_it_shuffles(
    make_dataset: Callable[..., Manifest], tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequence = ManifestSequence(make_dataset(20), batch_size=2, shuffle=True)
    asked = Asked(sequence)
    monkeypatch.setattr(sequence._delivery, "readers", asked)
    tally.fit(sequence, epochs=3, verbose=0)
    walked = asked.calls
    assert [key for key, _ in walked] == [(pass_, batch) for pass_ in range(3) for batch in range(10)]
    for (_, ahead), (key, _) in itertools.pairwise(walked):
        assert ahead[0] == key


def test_a_distribution_strategy_looks_at_as_many_batches_as_it_likes(
    make_dataset: Callable[..., Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    tf = pytest.importorskip("tensorflow")
    sequence = ManifestSequence(make_dataset(20), batch_size=2, shuffle=True)
    asked = Asked(sequence)
    monkeypatch.setattr(sequence._delivery, "readers", asked)
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(2)])
        model.compile("sgd", "mse")
    model.fit(sequence, epochs=2, verbose=0)
    # More than two batches are no look that could be told from a walk, so they are a pass of their own.
    assert [key for key, _ in asked.calls][-20:] == [(pass_, batch) for pass_ in range(1, 3) for batch in range(10)]


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_an_epoch_that_was_cut_short_is_not_continued(
    make_dataset: Callable[..., Manifest], tally: Tally, error: type[BaseException] | None
) -> None:
    manifest = make_dataset(10)
    options = {"batch_size": 2, "shuffle": True}
    sequence = ManifestSequence(manifest, **options)
    try:
        tally.fit(sequence, epochs=3, shuffle=False, callbacks=[StopAt(2, error)], verbose=0)
    except (RuntimeError, KeyboardInterrupt) as raised:
        assert type(raised) is error  # noqa: PT017  # no error at all is one of the cases
    assert tally.take() == promised(manifest, 0, **options)[:3]
    assert numbers(sequence.ids(0)) == promised(manifest, 0, **options)[0]
    tally.fit(sequence, epochs=2, shuffle=False, verbose=0)
    assert tally.take() == promised(manifest, 1, **options) + promised(manifest, 2, **options)


def test_batches_do_not_depend_on_global_random_state(make_dataset: Callable[..., Manifest]) -> None:
    manifest = make_dataset(20)
    walks = []
    for state in (0, 1):
        np.random.seed(state)  # noqa: NPY002  # the state in question
        random.seed(state)
        before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
        sequence = ManifestSequence(manifest, batch_size=4, shuffle=True, seed=9)
        walks.append([sequence[i][0].tolist() for i in range(len(sequence))])
        assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002
    assert walks[0] == walks[1]


def test_seeds_and_passes_give_orders_of_their_own(make_dataset: Callable[..., Manifest]) -> None:
    manifest = make_dataset(20)
    orders = {tuple(map(tuple, promised(manifest, pass_, shuffle=True, seed=seed))) for pass_ in range(3) for seed in (0, 1, -1)}
    assert len(orders) == 9


def test_without_shuffling_every_pass_is_in_the_manifests_order(make_dataset: Callable[..., Manifest]) -> None:
    for pass_ in range(2):
        assert promised(make_dataset(5), pass_, batch_size=2) == [[0, 1], [2, 3], [4]]


def test_a_batch_by_hand_is_always_the_same_and_fresh(make_dataset: Callable[..., Manifest]) -> None:
    sequence = ManifestSequence(make_dataset(10), batch_size=4, shuffle=True)
    x, y = sequence[1]
    kept = x.copy(), y.copy()
    x[:], y[:] = -1, -1
    for index in (2, 0, 1, -2):
        again = sequence[index]
    assert np.array_equal(again[0], kept[0])
    assert np.array_equal(again[1], kept[1])


@pytest.mark.parametrize("index", [3, 100, -4])
def test_there_is_no_other_batch(make_dataset: Callable[..., Manifest], index: int) -> None:
    sequence = ManifestSequence(make_dataset(10), batch_size=4)
    for ask in (sequence.__getitem__, sequence.ids):
        with pytest.raises(BatchIndexError, match=f"no batch {index}; the sequence has 3, from 0"):
            ask(index)


def test_dropping_the_remainder_drops_its_ids_too(make_dataset: Callable[..., Manifest], identity: keras.Model) -> None:
    sequence = ManifestSequence(make_dataset(10), batch_size=4, drop_remainder=True)
    assert (len(sequence), len(sequence.ids())) == (2, 8)
    assert len(identity.predict(sequence, verbose=0)) == 8


@pytest.mark.parametrize(("asked", "found"), [(None, "uint8"), ("float32", "float32")])
def test_integer_shards_stay_integers_unless_told_otherwise(make_dataset: Callable[..., Manifest], asked: str | None, found: str) -> None:
    x, _ = ManifestSequence(make_dataset(4, dtype="uint8"), dtype=asked)[0]
    assert x.dtype == found
    assert x[3, 0, 0] == 3


WORKERS = [
    {"workers": 0},
    {"workers": 1},
    {"workers": 3},
    {"workers": 1, "use_multiprocessing": True},
    {"workers": 2, "use_multiprocessing": True, "max_queue_size": 3},
]


@pytest.mark.parametrize("asked", WORKERS)
def test_workers_are_never_handed_to_keras(make_dataset: Callable[..., Manifest], asked: dict[str, Any]) -> None:
    sequence = ManifestSequence(make_dataset(4), **asked)
    assert (sequence._workers, sequence._use_multiprocessing) == (1, False)


@pytest.mark.slow
@pytest.mark.parametrize("asked", WORKERS)
@pytest.mark.parametrize("keras_shuffles", [True, False])
def test_every_way_of_reading_trains_each_sample_once_in_the_promised_order(
    make_dataset: Callable[..., Manifest], tally: Tally, asked: dict[str, Any], keras_shuffles: bool
) -> None:
    manifest = make_dataset(30)
    options = {"batch_size": 4, "shuffle": True, "seed": 7}
    with ManifestSequence(manifest, **options, **asked) as sequence:
        tally.fit(sequence, epochs=3, shuffle=keras_shuffles, verbose=0)
        assert tally.take() == [batch for pass_ in range(3) for batch in promised(manifest, pass_, **options)]


@pytest.mark.slow
@pytest.mark.parametrize("asked", WORKERS)
def test_predictions_line_up_whoever_reads(make_dataset: Callable[..., Manifest], identity: keras.Model, asked: dict[str, Any]) -> None:
    with ManifestSequence(make_dataset(30), batch_size=4, shuffle=True, **asked) as sequence:
        for _ in range(2):
            found = identity.predict(sequence, verbose=0)[:, 0]
            assert [f"s{int(value):03d}" for value in found] == sequence.ids()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, OptionError, "batch_size must be a positive integer, got 0"),
        ({"workers": -1}, OptionError, "workers must be an integer from 0, got -1"),
        ({"label_mode": "onehot"}, OptionError, "label_mode must be one of"),
        ({"label_mode": "binary", "class_names": ["a", "b", "c"]}, LabelError, "needs exactly 2 classes, found 3"),
        ({"class_names": ["a", "x"]}, LabelError, r"ID 's001' \(shards/s001.npy\) has 'b'.*expected 'a', 'x'"),
        ({"dtype": "int8"}, OptionError, "dtype must be one that can hold the shards' float32, got 'int8'"),
    ],
)
def test_a_bad_argument_shows_before_training(
    make_dataset: Callable[..., Manifest], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ManifestSequence(make_dataset(4), **options)


def test_a_path_is_no_manifest() -> None:
    with pytest.raises(OptionError, match=r"manifest must be a Manifest, as manifests.load_manifest returns it, got 'data'"):
        ManifestSequence("data")  # type: ignore[arg-type]


def test_an_index_serves_as_well_as_the_manifest(make_dataset: Callable[..., Manifest]) -> None:
    index = index_of_manifest(make_dataset(4), label_mode="int")
    assert ManifestSequence(index)[0][1].tolist() == [0, 1, 0, 1]


def test_a_bad_shard_ends_the_fit_with_its_name(make_dataset: Callable[..., Manifest], tally: Tally) -> None:
    manifest = make_dataset(10)
    (manifest.root / "shards" / "s007.npy").unlink()
    sequence = ManifestSequence(manifest, batch_size=4)
    with pytest.raises(ShardError, match=r"ID 's007': .*found no such file"):
        sequence[1]
    with pytest.raises(Exception, match=r"ID 's007': .*found no such file"):
        tally.fit(sequence, shuffle=False, verbose=0)


class TutorialGenerator(keras.utils.Sequence):
    """The well-known per-ID generator, written afresh."""

    def __init__(
        self,
        list_IDs: list[str],  # noqa: N803  # the tutorial's name
        labels: dict[str, int],
        *,
        folder: Path,
        batch_size: int,
        dim: tuple[int, ...],
        n_channels: int,
        n_classes: int,
        shuffle: bool,
    ) -> None:
        super().__init__()
        self.list_IDs, self.labels, self.folder = list_IDs, labels, folder
        self.batch_size, self.dim, self.n_channels, self.n_classes, self.shuffle = batch_size, dim, n_channels, n_classes, shuffle
        self.on_epoch_end()

    def __len__(self) -> int:
        return len(self.list_IDs) // self.batch_size

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self.indexes[index * self.batch_size : (index + 1) * self.batch_size]
        x = np.empty((self.batch_size, *self.dim, self.n_channels))
        y = np.empty(self.batch_size, dtype=int)
        for row, position in enumerate(chosen):
            id_ = self.list_IDs[position]
            x[row] = np.load(self.folder / f"{id_}.npy").reshape(x[row].shape)
            y[row] = self.labels[id_]
        return x, keras.utils.to_categorical(y, num_classes=self.n_classes)

    def on_epoch_end(self) -> None:
        self.indexes = np.arange(len(self.list_IDs))
        if self.shuffle:
            np.random.shuffle(self.indexes)  # noqa: NPY002


@pytest.fixture
def volumes(tmp_path: Path) -> Volumes:
    folder = tmp_path / "volumes"
    folder.mkdir()
    ids = [f"id-{i}" for i in range(11)]
    generator = np.random.default_rng(0)
    for id_ in ids:
        np.save(folder / f"{id_}.npy", generator.random((4, 5, 6, 1), dtype=np.float32))
    return ids[::-1], {id_: i % 3 for i, id_ in enumerate(ids)}, folder


def test_from_ids_gives_what_the_tutorials_generator_gives(volumes: Volumes) -> None:
    ids, labels, folder = volumes
    theirs = TutorialGenerator(ids, labels, folder=folder, batch_size=4, dim=(4, 5, 6), n_channels=1, n_classes=5, shuffle=False)
    ours = ManifestSequence.from_ids(
        ids, labels, data_dir=folder, dim=(4, 5, 6), n_channels=1, n_classes=5, batch_size=4, shuffle=False, drop_remainder=True
    )
    assert len(ours) == len(theirs) == 2
    for i in range(2):
        for our, their in zip(ours[i], theirs[i], strict=True):
            assert our.shape == their.shape
            assert np.array_equal(our, their)
            assert our.dtype == "float32"
    assert ours.ids() == ids[:8]


def test_from_ids_shuffles_as_the_tutorial_does(volumes: Volumes, tally: Tally) -> None:
    ids, labels, folder = volumes
    sequence = ManifestSequence.from_ids(ids, labels, data_dir=folder, dim=(4, 5, 6), n_classes=3)
    orders = []
    for _ in range(3):
        orders.append(sequence.ids())
        sequence.on_epoch_end()
    assert all(sorted(order) == sorted(ids) for order in orders)
    assert len({tuple(order) for order in [ids, *orders]}) == 4


@pytest.mark.parametrize(
    ("stored", "dim", "n_channels", "found"),
    [
        ((4, 4, 3), (4, 4), 3, (4, 4, 3)),
        ((4, 4, 1), (4, 4), 1, (4, 4, 1)),
        ((4, 4), (4, 4), 1, (4, 4, 1)),
        ((4, 4, 3), (4, 4), None, (4, 4, 3)),
        ((4, 4), (4, 4), None, (4, 4, 1)),
        ((4, 4), None, 1, (4, 4)),
        ((7,), 7, 1, (7, 1)),
        ((), None, None, ()),
    ],
)
def test_the_shape_of_x_from_ids(tmp_path: Path, stored: tuple[int, ...], dim: Any, n_channels: int | None, found: tuple[int, ...]) -> None:
    for i in range(3):
        np.save(tmp_path / f"{i}.npy", np.full(stored, i))
    sequence = ManifestSequence.from_ids(
        ["0", "1", "2"], None, data_dir=tmp_path, dim=dim, n_channels=n_channels, label_mode=None, shuffle=False
    )
    assert sequence[0].shape == (3, *found)
    assert [np.unique(x).tolist() for x in sequence[0]] == [[0], [1], [2]]


def test_shards_with_and_without_the_one_channel_mix(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 4, 1)))
    np.save(tmp_path / "b.npy", np.ones((4, 4)))
    sequence = ManifestSequence.from_ids(["a", "b", "a"], {"a": 0, "b": 1}, data_dir=tmp_path, dim=(4, 4), shuffle=False)
    assert sequence[0][0].shape == (3, 4, 4, 1)
    assert sequence[0][0][:, 0, 0, 0].tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("stored", "dim", "n_channels", "expected"),
    [
        ((4, 4, 3), (4, 4), 1, "(4, 4, 1) any dtype"),
        ((4, 4), (4, 4), 3, "(4, 4, 3) any dtype"),
        ((5, 4), (4, 4), None, "(4, 4, ?) any dtype"),
        ((4, 4, 1), (32, 32, 32), 1, "(32, 32, 32, 1) any dtype"),
    ],
)
def test_a_first_shard_of_another_shape_is_named(
    tmp_path: Path, stored: tuple[int, ...], dim: Any, n_channels: int | None, expected: str
) -> None:
    np.save(tmp_path / "a.npy", np.zeros(stored, np.float32))
    with pytest.raises(ShardError) as caught:
        ManifestSequence.from_ids(["a"], {"a": 0}, data_dir=tmp_path, dim=dim, n_channels=n_channels)
    assert str(caught.value) == (
        f"shard {tmp_path}/a.npy of ID 'a': expected {expected}, found {stored} float32; correct dim and n_channels, or the shard"
    )


def test_from_ids_names_what_is_wrong_with_ids_and_labels(tmp_path: Path) -> None:
    with pytest.raises(SamplesError, match=r"2 unsafe IDs: ID '../a' .*; ID '' is empty"):
        ManifestSequence.from_ids(["../a", "", "b"], {}, data_dir=tmp_path)
    with pytest.raises(LabelError, match="no entry for 2 of the 3 IDs: 'b', 'c'"):
        ManifestSequence.from_ids(["a", "b", "c"], {"a": 0}, data_dir=tmp_path)
    with pytest.raises(LabelError, match=r"ID 'b' \(b.npy\) has '10'"):
        ManifestSequence.from_ids(["a", "b"], {"a": 0, "b": 10}, n_classes=10, data_dir=tmp_path)


def test_a_subclass_is_made_from_ids_too(volumes: Volumes) -> None:
    ids, labels, folder = volumes
    assert type(Recorder.from_ids(ids, labels, data_dir=folder, dim=(4, 5, 6))) is Recorder
