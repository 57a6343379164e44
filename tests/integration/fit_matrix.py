"""Drives sequences in every way that Keras can, on the backend that KERAS_BACKEND names, and prints what was trained, as JSON.

Run as `python fit_matrix.py FOLDER WORKERS[,WORKERS ...] [SCENARIO ...]`. Each scenario gives a list of what its model saw, in order:
`["train", samples]` for an epoch of `fit` or what there was of it, `["test", samples]` for an evaluation, `["predict", samples]`.
A sample is its number and a checksum of what it is after the transform. They are written down by a layer of the model,
in a variable, within the step that trains: a batch that was only asked for is not seen, one that was trained twice is seen twice.

With UNKNOWN_KERAS=1 in the environment Keras says that it is of a release that nobody has tried, and asks a `PyDataset` for its batches as
Keras 3.16 does.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

if os.environ.get("UNKNOWN_KERAS"):
    from next_keras import pretend

    pretend()

from loader import ManifestSequence, OptionError
from manifests import Manifest, load_manifest

SAMPLES, BATCH_SIZE, SEED = 49, 2, 5
CAPACITY = 4096

Seen = list[Any]

WORKERS: dict[str, dict[str, Any]] = {
    "default": {},
    "none": {"workers": 0},
    "1 thread": {"workers": 1, "use_multiprocessing": False},
    "2 threads": {"workers": 2, "use_multiprocessing": False},
    "1 process": {"workers": 1, "use_multiprocessing": True},
    "2 processes": {"workers": 2, "use_multiprocessing": True},
}


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


def check_pairs(batch: Any, ids: list[str]) -> Any:
    """Return the numbers of a batch's samples, which must be those of the IDs: its targets."""
    numbers = [int(id_[1:]) for id_ in ids]
    found = [int(x[0, 0]) for x in batch[0]]
    assert found == numbers, f"X is of {found}, ids() of {numbers}"
    return batch[0], np.array(numbers, np.float32)


class Targets(ManifestSequence):
    """Takes its targets by the batch's IDs."""

    def __getitem__(self, index: int) -> Any:
        return check_pairs(super().__getitem__(index), self.ids(index))


class PlainTargets(ManifestSequence):
    """The same by a plain integer."""

    def __getitem__(self, index: int) -> Any:
        index = int(index)
        return check_pairs(super().__getitem__(index), self.ids(index))


class DeepTargets(ManifestSequence):
    """The same from far away, and once more."""

    def __getitem__(self, index: int) -> Any:
        return self._from_far(index, 60)

    def _from_far(self, index: int, calls: int) -> Any:
        if calls:
            return self._from_far(index, calls - 1)
        again = super().__getitem__(index)
        found = check_pairs(super().__getitem__(index), self.ids(index))
        assert np.array_equal(found[0], again[0])
        return found


class MixedTargets(ManifestSequence):
    """Looks at the next batch too."""

    def __getitem__(self, index: int) -> Any:
        other = (index + 1) % len(self)
        check_pairs(super().__getitem__(other), self.ids(other))
        return check_pairs(super().__getitem__(index), self.ids(index))


class ThreadedTargets(ManifestSequence):
    """Hands over to a thread."""

    def __getitem__(self, index: int) -> Any:
        batch = super().__getitem__
        with ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: check_pairs(batch(index), self.ids(index))).result()
            return pool.submit(lambda: check_pairs(batch(int(index)), self.ids(int(index)))).result()


class Shortened(ManifestSequence):
    """Has whole batches only, as the well-known generator."""

    def __len__(self) -> int:
        return self.n_samples // self.batch_size


class Counting(ManifestSequence):
    """Overrides the hooks, and keeps them from the base."""

    epochs = 0

    def on_epoch_begin(self) -> None:
        pass

    def on_epoch_end(self) -> None:
        self.epochs += 1


class Wrapper(keras.utils.PyDataset):
    """One or more sequences, one after the other, which are told of epochs."""

    def __init__(self, *inner: ManifestSequence, tells: bool = True) -> None:
        super().__init__()
        self.inner, self.tells = inner, tells

    def __len__(self) -> int:
        return sum(map(len, self.inner))

    def __getitem__(self, index: int) -> Any:
        for sequence in self.inner:
            if index < len(sequence):
                return check_pairs(sequence[index], sequence.ids(index))
            index -= len(sequence)
        raise IndexError

    def on_epoch_end(self) -> None:
        for sequence in self.inner if self.tells else ():
            sequence.on_epoch_end()


class Scenarios:
    """Every public method is one."""

    def __init__(self, manifest: Manifest, workers: dict[str, Any]) -> None:
        self._manifest = manifest
        self._workers = workers
        self._built = Model()
        self._other = Model()

    def _sequence(self, kind: type[ManifestSequence] = ManifestSequence, **options: Any) -> ManifestSequence:
        defaults = {"batch_size": BATCH_SIZE, "shuffle": True, "seed": SEED, "label_mode": "int", "transform": noisy}
        return kind(self._manifest, **(defaults | self._workers | options))

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
        with self._sequence() as train, self._sequence() as validation:
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
        with self._sequence() as sequence:
            evaluated: Seen = []
            trained = self._built.fit(sequence, At(6, lambda _: evaluated.extend(self._other.evaluate(sequence))), epochs=2)
            return evaluated + trained

    def evaluate_between_epochs_of_one_pass(self) -> Seen:
        sequence, evaluated = self._sequence(), []
        callback = AfterEach(lambda: evaluated.extend(self._other.evaluate(sequence, steps=3)))
        return self._built.fit(sequence, callback, steps_per_epoch=10, epochs=4) + evaluated

    def class_weight(self) -> Seen:
        sequence = self._sequence(class_weight={0: 1.0, "b": 3.0})
        _, y, weights = sequence[0]
        assert weights.tolist() == [3.0 if label else 1.0 for label in y]
        return self._built.fit(sequence, epochs=2)

    def what_fit_does_not_hand_on(self) -> Seen:
        sequence, refused = self._sequence(), []
        for lost in ({"class_weight": {0: 1.0, 1: 3.0}}, {"y": np.zeros(SAMPLES)}, {"sample_weight": np.ones(SAMPLES)}):
            try:
                self._built.fit(sequence, **lost)
            except (OptionError, ValueError):
                refused.append(list(lost))
        # Keras itself takes class_weight where it asks for the batches by number.
        assert len(refused) == (2 if os.environ.get("UNKNOWN_KERAS") else 3), refused
        self._built.writer.take(training=True)
        return self._built.fit(self._sequence(), epochs=1)

    def targets_by_ids(self) -> Seen:
        return self._overridden(Targets)

    def targets_by_plain_numbers(self) -> Seen:
        return self._overridden(PlainTargets)

    def targets_from_far_away(self) -> Seen:
        return self._overridden(DeepTargets)

    def targets_beside_those_of_others(self) -> Seen:
        return self._overridden(MixedTargets)

    def targets_by_a_thread(self) -> Seen:
        return self._overridden(ThreadedTargets)

    def targets_amid_an_epoch(self) -> Seen:
        with self._sequence(PlainTargets) as sequence:
            evaluated: Seen = []
            trained = self._built.fit(sequence, At(6, lambda _: evaluated.extend(self._other.evaluate(sequence))), epochs=2)
            return evaluated + trained

    def targets_over_epochs_that_share_a_pass(self) -> Seen:
        return self._built.fit(self._sequence(Targets), steps_per_epoch=10, epochs=4)

    def length_overridden(self) -> Seen:
        sequence = self._sequence(Shortened)
        loops = [[int(x[0, 0]) for x, _ in zip(batch[0], range(99), strict=False)] for batch in sequence]
        assert len(loops) == len(sequence) == 24
        return self._built.fit(sequence, epochs=2) + self._built.evaluate(sequence)

    def hooks_overridden(self) -> Seen:
        return self._built.fit(self._sequence(Counting), epochs=2)

    def hooks_overridden_and_not_built(self) -> Seen:
        return Model(built=False).fit(self._sequence(Counting), epochs=2)

    def wrapped(self) -> Seen:
        return self._built.fit(Wrapper(self._sequence()), epochs=3, shuffle=False)

    def wrapped_and_not_told(self) -> Seen:
        return self._built.fit(Wrapper(self._sequence(), tells=False), epochs=2, shuffle=False)

    def wrapped_and_walked_through_amid_an_epoch(self) -> Seen:
        inner = self._sequence()

        def walk(_: keras.Model) -> None:
            for _ in range(2):
                self._other.evaluate(inner, steps=1)
                next(iter(inner))

        return self._built.fit(Wrapper(inner), At(6, walk), epochs=2, shuffle=False)

    def two_wrapped(self) -> Seen:
        return self._built.fit(Wrapper(self._sequence(), self._sequence()), epochs=2, shuffle=False)

    def loops_amid_an_epoch(self) -> Seen:
        sequence = self._sequence()
        return self._built.fit(sequence, At(6, lambda _: [next(iter(sequence)) for _ in range(4)]), epochs=2)

    def five_loops_at_once(self) -> Seen:
        sequence, loops = self._sequence(), []

        def begin(_: keras.Model) -> None:
            loops.extend(iter(sequence) for _ in range(5))
            heads.extend([next(loop)] for loop in loops)

        heads: list[Any] = []
        seen = self._built.fit(sequence, At(6, begin), epochs=2)
        for head, loop in zip(heads, loops, strict=True):
            batches = [*head, *loop]
            seen.append(["predict", [sample for x, _ in batches for sample in ops.convert_to_numpy(checksums(x)).astype(int).tolist()]])
        return seen

    def short_evaluates_amid_an_epoch(self) -> Seen:
        sequence, evaluated = self._sequence(), []

        def evaluate(_: keras.Model) -> None:
            for _ in range(5):
                evaluated.extend(self._other.evaluate(sequence, steps=1))

        return self._built.fit(sequence, At(6, evaluate), epochs=2) + evaluated

    def an_evaluate_an_epoch(self) -> Seen:
        sequence, evaluated = self._sequence(), []
        callback = AfterEach(lambda: evaluated.extend(self._other.evaluate(sequence, steps=1)))
        return self._built.fit(sequence, callback, steps_per_epoch=10, epochs=7) + evaluated

    def fit_amid_a_fit(self) -> Seen:
        sequence, inner = self._sequence(), []
        trained = self._built.fit(sequence, At(6, lambda _: inner.extend(self._other.fit(sequence, epochs=1))), epochs=2)
        return trained + inner

    def several_inputs_and_no_labels(self) -> Seen:
        model = Model()
        inputs = [keras.Input((4, 3)), keras.Input((4, 3))]
        model.keras = keras.Model(inputs, model.writer(inputs[0]) + 0 * inputs[1][:, 0, :1])
        model.keras.compile("sgd", "mse")
        sequence = self._sequence(label_mode=None, transform=lambda x, y, rng: [noisy(x, y, rng)[0], x])
        return model.predict(sequence) + model.predict(sequence)

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
        with self._sequence() as sequence:
            return [*self._built.fit(sequence, At(6, kill), epochs=10_000), *self._built.fit(sequence, epochs=2)]

    def endless(self) -> Seen:
        sequence = self._sequence(repeat=True)
        return self._built.fit(sequence, steps_per_epoch=10, epochs=6) + self._built.fit(sequence, steps_per_epoch=30)

    def many_workers(self) -> Seen:
        seen = []
        for workers in ({"workers": 4, "use_multiprocessing": False}, {"workers": 4, "use_multiprocessing": True}):
            with self._sequence(**workers) as sequence:
                seen += self._built.fit(sequence, epochs=2)
        return seen

    def _overridden(self, kind: type[ManifestSequence]) -> Seen:
        with self._sequence(kind) as sequence:
            seen = self._built.fit(sequence, epochs=2) + self._built.evaluate(sequence) + self._built.predict(sequence)
            assert len(list(sequence)) == len(sequence)
            return seen

    def _fit_and_again(self, action: Callable[[keras.Model], Any]) -> Seen:
        with self._sequence() as sequence:
            seen = self._built.fit(sequence, At(6, action), epochs=3)
            return seen + self._built.fit(sequence, epochs=2)


def names() -> Iterator[str]:
    """Yield the scenarios that the backend has."""
    for name in vars(Scenarios):
        if not name.startswith("_") and not (keras.backend.backend() == "torch" and name.startswith("several_steps_at_once")):
            yield name


def main(folder: str, settings: str, *chosen: str) -> None:
    warnings.simplefilter("ignore")  # of input that ran out, which is what some scenarios are about
    manifest, seen = write_dataset(Path(folder) / "data"), {}
    for setting in settings.split(","):
        scenarios = Scenarios(manifest, WORKERS[setting])
        seen[setting] = {name: getattr(scenarios, name)() for name in chosen or names()}
    print(json.dumps({"versions": {"keras": keras.__version__, "backend": keras.backend.backend()}, "seen": seen}))  # noqa: T201  # the answer


if __name__ == "__main__":
    main(*sys.argv[1:])
