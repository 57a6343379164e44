"""`fit`: how much of the time goes to feeding it."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from peer_tensorflow import a_batch_a_call, a_file_a_call
from pipelines import Files, fastest
from sleeping_layer import Sleep
from tutorial_generator import TutorialGenerator

from loader import ManifestSequence
from manifests import Manifest

pytestmark = pytest.mark.slow

STEP_SECONDS = 0.02

Fit = Callable[[Any], None]


@pytest.fixture
def make_fit(shards: Any) -> Callable[..., Fit]:
    """Return a function that compiles a model of next to no work behind some layers, and returns its `fit` for one epoch."""

    def make(*layers: keras.layers.Layer) -> Fit:
        model = keras.Sequential([keras.Input(shards.shape), *layers, keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")])
        model.compile(optimizer="sgd", loss="categorical_crossentropy")
        x = np.zeros((shards.batch_size, *shards.shape), np.float32)
        model.fit(x, np.eye(10, dtype=np.float32)[np.zeros(shards.batch_size, int)], verbose=0)
        return lambda data: model.fit(data, shuffle=not isinstance(data, tf.data.Dataset), verbose=0)

    return make


@pytest.fixture
def fit(make_fit: Callable[..., Fit]) -> Fit:
    return make_fit()


@pytest.fixture
def train(part: Manifest, shards: Any) -> ManifestSequence:
    return ManifestSequence(part, batch_size=shards.batch_size, shuffle=True)


@pytest.fixture
def constant(train: ManifestSequence, shards: Any) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensors(train[0]).repeat(shards.batches).prefetch(tf.data.AUTOTUNE)


def test_fit_against_a_constant_batch(train: ManifestSequence, constant: Any, fit: Fit, compare: Callable[..., float]) -> None:
    compare("`fit`, trivial model", "`fit` on one constant `tf.data` batch", lambda: fit(train), lambda: fit(constant), train.n_samples)


def test_fit_of_a_slow_step_against_a_constant_batch(
    train: ManifestSequence, constant: Any, make_fit: Callable[..., Fit], compare: Callable[..., float]
) -> None:
    fit = make_fit(Sleep(STEP_SECONDS))
    what = f"`fit`, a step sleeps {STEP_SECONDS * 1000:.0f} ms"
    ratio = compare(what, "the same `fit` on one constant `tf.data` batch", lambda: fit(train), lambda: fit(constant), train.n_samples)
    # A batch that is only read when the step before it has ended shows here.
    assert not ratio < 0.6


def test_fit_against_tf_data(train: ManifestSequence, files: Files, fit: Fit, scale: Any, compare: Callable[..., float]) -> None:
    datasets = a_file_a_call(files) | a_batch_a_call(files)

    def seconds(dataset: tf.data.Dataset) -> float:
        start = time.perf_counter()
        fit(dataset)
        return time.perf_counter() - start

    runs = {setting: lambda dataset=dataset: seconds(dataset) for setting, dataset in datasets.items()}
    best = fastest(runs, scale.tries)
    against = f"`fit` on `tf.data` over the same files, {best}"
    compare("`fit`, trivial model", against, lambda: fit(train), lambda: fit(datasets[best]), train.n_samples)


@pytest.fixture
def make_generator(part: Manifest, shards: Any) -> Callable[..., TutorialGenerator]:
    labels = {id_: int(label) for id_, label in zip(part.frame["id"], part.frame["label"], strict=True)}
    folder = os.fspath(part.root / "shards")
    return lambda **workers: TutorialGenerator(part.ids, labels, folder, batch_size=shards.batch_size, shape=shards.shape, **workers)


def test_fit_against_the_tutorials_generator(
    train: ManifestSequence, make_generator: Callable[..., Any], fit: Fit, compare: Callable[..., float]
) -> None:
    generator = make_generator()
    compare("`fit`, trivial model", "`fit` on the tutorial's generator", lambda: fit(train), lambda: fit(generator), train.n_samples)


@pytest.fixture
def sound_forks() -> Iterator[None]:
    """Keep the garbage collector out of Keras' own worker processes, which are forks of this one.

    A dead `tf.function` of an earlier test that a fork collects ends it, in TensorFlow's destructor, and Keras waits for ever for the
    batch that the dead worker had.
    """
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("sound_forks")
def test_fit_against_the_tutorials_generator_with_workers(
    train: ManifestSequence, make_generator: Callable[..., Any], fit: Fit, compare: Callable[..., float]
) -> None:
    generator = make_generator(workers=2, use_multiprocessing=True)
    against = "`fit` on the tutorial's generator with 2 worker processes of Keras"
    ratio = compare("`fit`, trivial model", against, lambda: fit(train), lambda: fit(generator), train.n_samples)
    assert not ratio < 1.5


@pytest.mark.usefixtures("sound_forks")
def test_fit_with_workers_against_the_tutorials_generator_with_workers(
    part: Manifest, make_generator: Callable[..., Any], fit: Fit, shards: Any, compare: Callable[..., float]
) -> None:
    workers: dict[str, Any] = {"workers": 2, "use_multiprocessing": True}
    generator = make_generator(**workers)
    with ManifestSequence(part, batch_size=shards.batch_size, shuffle=True, **workers) as train:
        fit(train)
        what = "`fit`, trivial model, 2 worker processes"
        against = "`fit` on the tutorial's generator with 2 worker processes of Keras"
        compare(what, against, lambda: fit(train), lambda: fit(generator), len(part))
