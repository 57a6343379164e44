"""`fit` of a trivial model: how much of the time goes to feeding it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from loader import ManifestSequence
from manifests import Manifest

pytestmark = pytest.mark.slow


class TutorialGenerator(keras.utils.PyDataset):
    """What the well-known tutorial has its readers paste: one `np.load` per ID, float64, floor division."""

    def __init__(
        self, list_ids: list[str], labels: dict[str, int], folder: str, *, batch_size: int, shape: tuple[int, ...], **workers: Any
    ) -> None:
        super().__init__(**workers)
        self.list_ids, self.labels, self.folder = list_ids, labels, folder
        self.batch_size, self.shape = batch_size, shape
        self.on_epoch_end()

    def __len__(self) -> int:
        return len(self.list_ids) // self.batch_size

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        chosen = self.indexes[index * self.batch_size : (index + 1) * self.batch_size]
        x = np.empty((self.batch_size, *self.shape))
        y = np.empty(self.batch_size, dtype=int)
        for row, id_ in enumerate(self.list_ids[k] for k in chosen):
            x[row] = np.load(os.path.join(self.folder, id_ + ".npy"))
            y[row] = self.labels[id_]
        return x, keras.utils.to_categorical(y, num_classes=10)

    def on_epoch_end(self) -> None:
        self.indexes = np.arange(len(self.list_ids))
        np.random.shuffle(self.indexes)  # noqa: NPY002  # as the tutorial has it


@pytest.fixture
def part(dataset: Manifest, scale: Any) -> Manifest:
    return dataset.where(np.arange(len(dataset)) < scale.batches * scale.batch_size)


@pytest.fixture
def fit(scale: Any) -> Callable[[Any], None]:
    model = keras.Sequential([keras.Input(scale.shape), keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")])
    model.compile(optimizer="sgd", loss="categorical_crossentropy")
    model.fit(
        np.zeros((scale.batch_size, *scale.shape), np.float32), np.eye(10, dtype=np.float32)[np.zeros(scale.batch_size, int)], verbose=0
    )
    return lambda data: model.fit(data, shuffle=not isinstance(data, tf.data.Dataset), verbose=0)


@pytest.fixture
def train(part: Manifest, scale: Any) -> ManifestSequence:
    return ManifestSequence(part, batch_size=scale.batch_size, shuffle=True)


def test_fit_against_a_constant_batch(
    train: ManifestSequence, fit: Callable[[Any], None], scale: Any, compare: Callable[..., float]
) -> None:
    constant = tf.data.Dataset.from_tensors(train[0]).repeat(scale.batches).prefetch(tf.data.AUTOTUNE)
    compare("`fit`, trivial model", "`fit` on one constant `tf.data` batch", lambda: fit(train), lambda: fit(constant), train.n_samples)


@pytest.fixture
def make_generator(part: Manifest, scale: Any) -> Callable[..., TutorialGenerator]:
    labels = {id_: int(label) for id_, label in zip(part.frame["id"], part.frame["label"], strict=True)}
    folder = os.fspath(part.root / "shards")
    return lambda **workers: TutorialGenerator(part.ids, labels, folder, batch_size=scale.batch_size, shape=scale.shape, **workers)


def test_fit_against_the_tutorials_generator(
    train: ManifestSequence, make_generator: Callable[..., Any], fit: Callable[[Any], None], compare: Callable[..., float]
) -> None:
    generator = make_generator()
    compare("`fit`, trivial model", "`fit` on the tutorial's generator", lambda: fit(train), lambda: fit(generator), train.n_samples)


def test_fit_with_workers_against_the_tutorials_generator_with_workers(
    part: Manifest, make_generator: Callable[..., Any], fit: Callable[[Any], None], scale: Any, compare: Callable[..., float]
) -> None:
    workers: dict[str, Any] = {"workers": 2, "use_multiprocessing": True}
    generator = make_generator(**workers)
    with ManifestSequence(part, batch_size=scale.batch_size, shuffle=True, **workers) as train:
        fit(train)
        what = "`fit`, trivial model, 2 worker processes"
        compare(what, "the tutorial's generator with 2 worker processes of Keras", lambda: fit(train), lambda: fit(generator), len(part))
