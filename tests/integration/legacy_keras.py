"""What legacy Keras does with a `ManifestSequence` of `loader.legacy`: a script, since it cannot share a process with Keras 3.

It is run as `python legacy_keras.py FOLDER` and prints what each scenario observed as one JSON object.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from tensorflow.keras.callbacks import Callback
from tensorflow.keras.layers import Dense, Flatten
from tensorflow.keras.models import Sequential

from loader import OptionError, ShardError
from loader.legacy import ManifestSequence
from manifests import load_manifest

AS_WRITTEN = {"use_multiprocessing": True, "workers": 10, "max_queue_size": 10}
N, BATCH, BATCHES = 50, 8, 7
IDS = [f"s{number:03d}" for number in range(N)]
LABELS = {id_: number % 8 for number, id_ in enumerate(IDS)}

SCENARIOS: dict[str, Callable[[Path], Any]] = {}


def scenario(function: Callable[[Path], Any]) -> Callable[[Path], Any]:
    SCENARIOS[function.__name__] = function
    return function


class Tally(tf.keras.Model):
    """Trains nothing; each step writes down the numbers of the samples it was given (their first element)."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[list[int]] = []
        self.compile(run_eagerly=True)

    def train_step(self, data: Any) -> dict[str, float]:
        self.steps.append([int(first) for first in np.asarray(data[0])[:, 0, 0, 0]])
        return {"loss": 0.0}

    test_step = train_step

    def predict_step(self, data: Any) -> Any:
        return data[0][:, 0, 0, 0]

    def take(self) -> list[list[int]]:
        steps, self.steps = self.steps, []
        return steps


def sequence(folder: Path, **options: Any) -> ManifestSequence:
    params = {"dim": (4, 3), "n_channels": 1, "batch_size": BATCH, "n_classes": 8, "seed": 3}
    return ManifestSequence.from_ids(IDS, LABELS, data_dir=folder / "shards", **(params | options))


def passes(made: ManifestSequence, count: int) -> list[list[int]]:
    """The sample numbers of each batch of the first passes, as the order promises them."""
    before = made.pass_number
    batches = []
    for number in range(count):
        made.pass_number = number
        batches += [[IDS.index(id_) for id_ in made.ids(batch)] for batch in range(len(made))]
    made.pass_number = before
    return batches


def trained(folder: Path, fit: dict[str, Any], **options: Any) -> dict[str, Any]:
    made, model = sequence(folder, **options), Tally()
    random.seed(1)
    with made:
        model.fit(made, verbose=0, **fit)
        got = model.take()
        return {"got": got, "promised": passes(sequence(folder, **options), 4)[: len(got)], "batches": made.stats().batches}


@scenario
def tutorial(folder: Path) -> Any:
    params = {"dim": (4, 3), "batch_size": 8, "n_classes": 8, "shuffle": True}
    partition = {"train": IDS[:40], "validation": IDS[40:]}
    training_generator = ManifestSequence.from_ids(partition["train"], LABELS, data_dir=folder / "shards", **params)
    eval_generator = ManifestSequence.from_ids(partition["validation"], LABELS, data_dir=folder / "shards", **params)
    model = Sequential([Flatten(), Dense(8, activation="softmax")])
    model.compile("sgd", "categorical_crossentropy")
    history = model.fit(training_generator, use_multiprocessing=True, workers=10, max_queue_size=10, verbose=0)
    loss = model.evaluate(eval_generator, use_multiprocessing=True, workers=10, max_queue_size=10, verbose=0)
    predictions = model.predict(eval_generator, use_multiprocessing=True, workers=10, max_queue_size=10, verbose=0)
    training_generator.close()
    eval_generator.close()
    return {
        "is a Sequence": isinstance(training_generator, tf.keras.utils.Sequence),
        "keras 3 is there": "keras" in sys.modules,
        "epochs": len(history.history["loss"]),
        "losses are numbers": bool(np.isfinite([loss, *history.history["loss"]]).all()),
        "predictions": predictions.shape,
        "passes": (training_generator.pass_number, eval_generator.pass_number),
    }


FITS: dict[str, dict[str, Any]] = {
    "as written": AS_WRITTEN,
    "defaults": {},
    "threads": {"workers": 10},
    "one process": {"use_multiprocessing": True},
    "a queue of one": {"workers": 2, "max_queue_size": 1},
    "in the named order": {"shuffle": False, **AS_WRITTEN},
}


@scenario
def fits(folder: Path) -> Any:
    observed = {name: trained(folder, {"epochs": 3, **options}) for name, options in FITS.items()}
    for steps in (3, 5):
        for name in ("as written", "defaults"):
            observed[f"{name}, {steps} steps an epoch"] = trained(folder, {"epochs": 3, "steps_per_epoch": steps, **FITS[name]})
    observed["without end"] = trained(folder, {"epochs": 2, "steps_per_epoch": 10, **AS_WRITTEN}, repeat=True)
    return observed


class Targets(ManifestSequence):
    """Takes its targets by the batch's IDs."""

    def __getitem__(self, index: int) -> Any:
        x, _ = super().__getitem__(index)
        numbers = [IDS.index(id_) for id_ in self.ids(index)]
        assert [int(first) for first in x[:, 0, 0, 0]] == numbers, (index, numbers)
        return x, np.array(numbers, np.float32)


@scenario
def overrides(folder: Path) -> Any:
    observed = {}
    for name in ("as written", "defaults"):
        for options in ({}, {"steps_per_epoch": 3}):
            made, model = (
                Targets.from_ids(IDS, LABELS, data_dir=folder / "shards", dim=(4, 3), batch_size=BATCH, n_classes=8, seed=3),
                Tally(),
            )
            with made:
                model.fit(made, verbose=0, epochs=3, **options, **FITS[name])
                got = model.take()
            observed[f"{name} {options}"] = {"got": got, "promised": passes(sequence(folder), 4)[: len(got)]}
    return observed


@scenario
def a_shorter_length(folder: Path) -> Any:
    class Short(ManifestSequence):
        def __len__(self) -> int:
            return 2

    try:
        Short.from_ids(IDS, LABELS, data_dir=folder / "shards", dim=(4, 3), batch_size=BATCH)
    except OptionError as error:
        return str(error)
    return "no error"


@scenario
def workers(folder: Path) -> Any:
    """Who made the batches: the process ids of the feed's own, and whether Keras' pool was asked for any."""
    asked: list[int] = []

    class Watched(ManifestSequence):
        def __getitem__(self, index: int) -> Any:
            asked.append(os.getpid())
            return super().__getitem__(index)

    made = Watched.from_ids(IDS, LABELS, data_dir=folder / "shards", dim=(4, 3), batch_size=BATCH, seed=3)
    with made:
        Tally().fit(made, verbose=0, **AS_WRITTEN)
        own = made._delivery.readers
        count, is_ours = len(own.process_ids), set(asked) == {os.getpid()}
    told = sequence(folder, workers=1, use_multiprocessing=True)
    with told:
        Tally().fit(told, verbose=0, **AS_WRITTEN)
        return {
            "processes": count,
            "asked here": is_ours,
            "told itself": told._delivery.options.workers,
            "cores": len(os.sched_getaffinity(0)),
        }


@scenario
def killed_worker(folder: Path) -> Any:
    made, model = sequence(folder), Tally()
    killed: list[int] = []

    class Kill(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if not killed:
                killed.append(made._delivery.readers.process_ids[0])
                os.kill(killed[0], signal.SIGKILL)

    with made:
        model.fit(made, epochs=3, verbose=0, callbacks=[Kill()], **AS_WRITTEN)
        return {"got": model.take(), "promised": passes(sequence(folder), 3), "killed": len(killed)}


@scenario
def several_calls(folder: Path) -> Any:
    """One sequence in fit, evaluate, predict, a fit that was stopped, and by hand."""

    class Stop(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.stop_training = batch == 2

    made, model = sequence(folder), Tally()
    observed = {}
    with made:
        model.fit(made, epochs=2, steps_per_epoch=3, verbose=0, **AS_WRITTEN)
        observed["six steps of pass 0"] = (model.take(), passes(sequence(folder), 1)[:6])
        model.evaluate(made, verbose=0, **AS_WRITTEN)
        observed["evaluate: pass 1"] = (model.take(), passes(sequence(folder), 2)[7:])
        predictions = model.predict(made, verbose=0, **AS_WRITTEN)
        observed["predict: pass 2, as ids() says"] = ([int(number) for number in predictions], [IDS.index(id_) for id_ in made.ids()])
        model.fit(made, epochs=2, verbose=0, callbacks=[Stop()], **AS_WRITTEN)
        observed["three steps of pass 3"] = (model.take(), passes(sequence(folder), 4)[21:24])
        model.fit(made, verbose=0)
        observed["fit: pass 4"] = (model.take(), passes(sequence(folder), 5)[28:])
        made.on_epoch_end()
        observed["by hand: pass 5"] = ([int(x[0, 0, 0, 0]) for x, _ in made], [batch[0] for batch in passes(sequence(folder), 6)[35:]])
    return observed


@scenario
def validation(folder: Path) -> Any:
    train, model = sequence(folder), Tally()
    val = ManifestSequence(load_manifest(folder), batch_size=20, label_mode="int")
    with train, val:
        model.fit(train, validation_data=val, epochs=2, verbose=0, **AS_WRITTEN)
        steps = model.take()
    promised = passes(sequence(folder), 2)
    every = [list(range(20)), list(range(20, 40)), list(range(40, 50))]
    flat = [[int(number) for number in step] for step in steps]
    return {"got": flat, "promised": promised[:7] + every + promised[7:] + every}


@scenario
def a_bad_shard(folder: Path) -> Any:
    made = ManifestSequence.from_ids([*IDS, "missing"], {**LABELS, "missing": 0}, data_dir=folder / "shards", dim=(4, 3), batch_size=BATCH)
    with made:
        try:
            Tally().fit(made, verbose=0, **AS_WRITTEN)
        except (ShardError, tf.errors.OpError) as error:
            return str(error)
    return "no error"


if __name__ == "__main__":
    sys.stdout.write(json.dumps({name: run(Path(sys.argv[1])) for name, run in SCENARIOS.items()}))
