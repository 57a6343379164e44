"""Drives sequences in every way that Keras can, on the backend that KERAS_BACKEND names, and prints what was trained, as JSON.

Run as `python fit_matrix.py FOLDER [SCENARIO ...]`. Each scenario gives a list of what its model saw, one after the other:
`["train", samples]` for an epoch of `fit` or what there was of it, `["test", samples]` for an evaluation, `["predict", samples]`.
A sample is its number and a checksum of what it is after the transform. They are written down by a layer of the model,
in a variable, within the step that trains: a batch that was only asked for is not seen, one that was trained twice is seen twice.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from loader import ManifestSequence
from manifests import Manifest, load_manifest

SAMPLES, BATCH_SIZE, SEED = 49, 2, 5
CAPACITY = 4096

Seen = list[Any]


def noisy(x: Any, y: Any, rng: np.random.Generator) -> Any:
    """Change all of a sample but its first element, which says its number."""
    return x + np.concatenate([[0], rng.integers(0, 4096, x.size - 1)]).reshape(x.shape).astype(x.dtype), y


def checksums(x: Any) -> Any:
    """Return each sample's number and a checksum; all are integers below 2^24, so float32 has no say in it."""
    flat = ops.reshape(x, (-1, 12))
    return ops.stack([flat[:, 0], ops.sum(flat * ops.arange(1.0, 13.0), axis=1)], axis=1)


def write_dataset(folder: Path) -> Manifest:
    (folder / "shards").mkdir(parents=True)
    rows = ["id,label"]
    for number in range(SAMPLES):
        np.save(folder / "shards" / f"s{number:03d}.npy", np.full((4, 3), number, np.float32))
        rows.append(f"s{number:03d},{'ab'[number % 2]}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return load_manifest(folder)


class Writer(keras.layers.Layer):
    """Passes on each sample's number, and writes down all samples that come by, those of training and others apart."""

    def build(self, _: Any) -> None:
        self.scale = self.add_weight(shape=(), initializer="ones")
        self.lines = [self._line_variables(name) for name in ("other", "train")]

    def _line_variables(self, name: str) -> tuple[Any, Any]:
        options: dict[str, Any] = {"initializer": "zeros", "trainable": False}
        return self.add_weight(shape=(CAPACITY, 2), name=name, **options), self.add_weight(
            shape=(), dtype="int32", name=f"{name}_count", **options
        )

    def call(self, x: Any, training: bool = False) -> Any:
        log, count = self.lines[bool(training)]
        rows = ops.shape(x)[0]
        log.assign(ops.scatter_update(log, ops.reshape(count + ops.arange(rows, dtype="int32"), (-1, 1)), checksums(x)))
        count.assign(count + rows)
        return x[:, 0, :1] * self.scale

    def take(self, *, training: bool) -> list[list[int]]:
        """Return what was written since the last time."""
        if not self.built:
            return []
        log, count = self.lines[training]
        taken = ops.convert_to_numpy(log)[: int(count)].astype(int).tolist()
        count.assign(0)
        return taken


class Model:
    """A model that trains nothing, and what it saw."""

    def __init__(self, *, built: bool = True, **options: Any) -> None:
        self.writer = Writer()
        self.keras = keras.Sequential([*([keras.Input((4, 3))] if built else []), self.writer])
        self.keras.compile(keras.optimizers.SGD(0.0), "mse", **options)

    def fit(self, sequence: ManifestSequence, *callbacks: keras.callbacks.Callback, **options: Any) -> Seen:
        seen: Seen = []
        note = keras.callbacks.LambdaCallback(
            on_test_end=lambda _: self._note(seen, "train", "test"), on_epoch_end=lambda *_: self._note(seen, "train", "test")
        )
        try:
            self.keras.fit(sequence, callbacks=[note, *callbacks], verbose=0, **options)
        except (Broken, KeyboardInterrupt) as error:
            # Who looks at the error afterwards keeps the old walk alive, as a notebook does.
            kept.append(error)
        self._note(seen, "train", "test")
        return seen

    def evaluate(self, sequence: ManifestSequence, **options: Any) -> Seen:
        self.keras.evaluate(sequence, verbose=0, **options)
        return [["test", self.writer.take(training=False)]]

    def predict(self, sequence: ManifestSequence, **options: Any) -> Seen:
        predicted = self.keras.predict(sequence, verbose=0, **options)[:, 0].astype(int).tolist()
        seen = self.writer.take(training=False)
        assert [number for number, _ in seen] == predicted
        return [["predict", seen]]

    def _note(self, seen: Seen, *names: str) -> None:
        for name in names:
            samples = self.writer.take(training=name == "train")
            if samples:
                seen.append([name, samples])


kept: list[BaseException] = []


class Broken(Exception):  # noqa: N818  # no error of the code
    """What a user's callback may raise."""


class At(keras.callbacks.Callback):
    """Does something once, after a step of training."""

    def __init__(self, step: int, action: Callable[[keras.Model], Any]) -> None:
        super().__init__()
        self.step, self.action, self.is_done = step, action, False

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == self.step and not self.is_done:
            self.is_done = True
            self.action(self.model)


class AfterEach(keras.callbacks.Callback):
    """Does something after each epoch."""

    def __init__(self, action: Callable[[], Any]) -> None:
        super().__init__()
        self.action = action

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.action()


def stop(model: keras.Model) -> None:
    model.stop_training = True


def break_(_: keras.Model) -> None:
    raise Broken


def interrupt(_: keras.Model) -> None:
    raise KeyboardInterrupt


def kill(_: keras.Model) -> None:
    """Press Ctrl-C from elsewhere, so that it comes amid whatever the next steps do."""
    threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT)).start()


class Scenarios:
    """Every public method is one."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._built = Model()
        self._other = Model()

    def _sequence(self, **options: Any) -> ManifestSequence:
        defaults = {"batch_size": BATCH_SIZE, "shuffle": True, "seed": SEED, "label_mode": "int", "transform": noisy}
        return ManifestSequence(self._manifest, **(defaults | options))

    def epochs(self) -> Seen:
        return self._built.fit(self._sequence(), epochs=3)

    def not_shuffled_by_keras(self) -> Seen:
        return self._built.fit(self._sequence(), epochs=2, shuffle=False)

    def steps_below_the_length(self) -> Seen:
        return self._built.fit(self._sequence(), steps_per_epoch=10, epochs=7)

    def steps_at_the_length(self) -> Seen:
        return self._built.fit(self._sequence(), steps_per_epoch=25, epochs=2)

    def steps_above_the_length(self) -> Seen:
        return self._built.fit(self._sequence(), steps_per_epoch=30, epochs=2)

    def initial_epoch(self) -> Seen:
        return self._built.fit(self._sequence(), initial_epoch=2, epochs=4)

    def initial_epoch_and_pass(self) -> Seen:
        sequence = self._sequence()
        sequence.pass_number = 2
        return self._built.fit(sequence, initial_epoch=2, epochs=4)

    def fit_twice(self) -> Seen:
        sequence = self._sequence()
        return self._built.fit(sequence, epochs=2) + self._built.fit(sequence)

    def not_built(self) -> Seen:
        sequence = self._sequence()
        return Model(built=False).fit(sequence, epochs=2) + Model(built=False).evaluate(sequence) + Model(built=False).predict(sequence)

    def not_built_and_one_batch(self) -> Seen:
        return Model(built=False).fit(self._sequence(batch_size=SAMPLES), epochs=2)

    def several_steps_at_once(self) -> Seen:
        return Model(steps_per_execution=4).fit(self._sequence(), epochs=2)

    def several_steps_at_once_below_the_length(self) -> Seen:
        return Model(steps_per_execution=4).fit(self._sequence(), steps_per_epoch=8, epochs=5)

    def validation(self) -> Seen:
        workers = {"workers": 2, "use_multiprocessing": True}
        with self._sequence(**workers) as train, self._sequence(**workers) as validation:
            return self._built.fit(train, validation_data=validation, epochs=2)

    def validation_steps(self) -> Seen:
        return self._built.fit(self._sequence(), validation_data=self._sequence(), validation_steps=3, epochs=3)

    def validation_on_the_same_data(self) -> Seen:
        sequence = self._sequence()
        return self._built.fit(sequence, validation_data=sequence, steps_per_epoch=20, epochs=3)

    def evaluate_and_predict(self) -> Seen:
        sequence = self._sequence()
        return [*self._built.evaluate(sequence), *self._built.predict(sequence), *self._built.evaluate(sequence, steps=3)]

    def predict_between_fits(self) -> Seen:
        sequence = self._sequence()
        return [*self._built.fit(sequence), *self._built.predict(sequence), *self._built.fit(sequence)]

    def evaluate_amid_an_epoch(self) -> Seen:
        with self._sequence(workers=2, use_multiprocessing=True) as sequence:
            evaluated: Seen = []
            trained = self._built.fit(sequence, At(6, lambda _: evaluated.extend(self._other.evaluate(sequence))), epochs=2)
            return evaluated + trained

    def evaluate_between_epochs_of_one_pass(self) -> Seen:
        sequence, evaluated = self._sequence(), []
        callback = AfterEach(lambda: evaluated.extend(self._other.evaluate(sequence, steps=3)))
        return self._built.fit(sequence, callback, steps_per_epoch=10, epochs=4) + evaluated

    def class_weight(self) -> Seen:
        return self._built.fit(self._sequence(), class_weight={0: 1.0, 1: 3.0}, epochs=2)

    def stopped_early(self) -> Seen:
        sequence = self._sequence()
        return [*self._built.fit(sequence, At(6, stop), epochs=2), *self._built.fit(sequence, epochs=2)]

    def stopped_after_the_first_batch(self) -> Seen:
        sequence = self._sequence()
        return [*self._built.fit(sequence, At(0, stop)), *self._built.fit(sequence)]

    def broken_off(self) -> Seen:
        return self._fit_and_again(break_)

    def interrupted(self) -> Seen:
        return self._fit_and_again(interrupt)

    def interrupted_by_a_signal(self) -> Seen:
        with self._sequence(workers=2, use_multiprocessing=True) as sequence:
            return [*self._built.fit(sequence, At(6, kill), epochs=10_000), *self._built.fit(sequence, epochs=2)]

    def endless(self) -> Seen:
        sequence = self._sequence(repeat=True)
        return self._built.fit(sequence, steps_per_epoch=10, epochs=6) + self._built.fit(sequence, steps_per_epoch=30)

    def threads(self) -> Seen:
        return self._by_workers([0, 1, 2, 4], use_multiprocessing=False)

    def processes(self) -> Seen:
        return self._by_workers([0, 1, 2, 4], use_multiprocessing=True)

    def _by_workers(self, counts: list[int], **options: Any) -> Seen:
        seen = []
        for workers in counts:
            with self._sequence(workers=workers, **options) as sequence:
                seen += self._built.fit(sequence, epochs=2)
        return seen

    def _fit_and_again(self, action: Callable[[keras.Model], Any]) -> Seen:
        with self._sequence(workers=2, use_multiprocessing=True) as sequence:
            seen = self._built.fit(sequence, At(6, action), epochs=3)
            return seen + self._built.fit(sequence, epochs=2)


def names() -> Iterator[str]:
    """Yield the scenarios that the backend has."""
    for name in vars(Scenarios):
        if not name.startswith("_") and not (keras.backend.backend() == "torch" and name.startswith("several_steps_at_once")):
            yield name


def main(folder: str, *chosen: str) -> None:
    warnings.simplefilter("ignore")  # of input that ran out, which is what some scenarios are about
    scenarios = Scenarios(write_dataset(Path(folder) / "data"))
    seen = {name: getattr(scenarios, name)() for name in chosen or names()}
    print(json.dumps({"versions": {"keras": keras.__version__, "backend": keras.backend.backend()}, "seen": seen}))  # noqa: T201  # the answer


if __name__ == "__main__":
    main(*sys.argv[1:])
