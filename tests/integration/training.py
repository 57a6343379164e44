"""A training as a user writes it, run as a script that may kill itself: `python training.py '{"path": ..., ...}'`."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from loader import ManifestSequence, ResumeCallback
from loader.callbacks.resume_file import ResumeFolder
from manifests import load_manifest

SAMPLES, BATCH = 50, 2


class Killed(BaseException):
    """Stands for the end of the process, within a test's own."""


class Execution(keras.callbacks.Callback):
    """Counts executions, writes down their numbers as other callbacks are told them, and ends everything after one of them."""

    def __init__(self, last: int | None, *, really: bool) -> None:
        super().__init__()
        self.last, self.really, self.numbers = last, really, []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.numbers.append(batch)
        if len(self.numbers) == self.last:
            if self.really:
                os.kill(os.getpid(), signal.SIGKILL)
            raise Killed


class Walker(keras.callbacks.Callback):
    """Walks through the training data when an epoch begins and when it ends, as one that plots samples does."""

    def __init__(self, sequence: ManifestSequence) -> None:
        super().__init__()
        self.sequence = sequence

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        next(iter(self.sequence))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        for _, _ in zip(range(3), self.sequence, strict=False):
            pass
        next(iter(self.sequence))


def write_dataset(root: Path) -> None:
    (root / "shards").mkdir(parents=True)
    numbers = np.random.default_rng(0).normal(size=(SAMPLES, 6)).astype("float32")
    for i, row in enumerate(numbers):
        np.save(root / "shards" / f"s{i:03d}.npy", row)
    rows = [f"s{i:03d},{'ab'[i % 2]}\n" for i in range(SAMPLES)]
    (root / "manifest.csv").write_text("id,label\n" + "".join(rows), encoding="utf-8")


def make_model(*, built: bool = True, per_execution: int = 1, dropout: float = 0.5) -> keras.Model:
    """Return one with everything that has a state: an optimizer with moments, random numbers, moving averages, metrics."""
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(8), keras.layers.Dropout(dropout), keras.layers.BatchNormalization(), keras.layers.Dense(2, "softmax")]
    model = keras.Sequential([keras.Input((6,)), *layers] if built else layers)
    model.compile(keras.optimizers.Adam(0.01), "categorical_crossentropy", metrics=["accuracy"], steps_per_execution=per_execution)
    return model


def make_sequence(root: Path, **options: Any) -> ManifestSequence:
    return ManifestSequence(load_manifest(root), **{"batch_size": BATCH, "shuffle": True, "seed": 3} | options)


def kill_in_save(number: int) -> None:
    """Let the process be killed while it writes its n-th state, after the weights and before the rename."""
    write, count = ResumeFolder.write, 0

    def killing(folder: ResumeFolder, state: Any) -> None:
        nonlocal count
        count += 1
        if count == number:
            os.replace = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
        write(folder, state)

    ResumeFolder.write = killing  # type: ignore[method-assign]


def main(config: dict[str, Any]) -> None:
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf  # noqa: PLC0415

        tf.config.experimental.enable_op_determinism()
        tf.config.threading.set_intra_op_parallelism_threads(1)
    root = Path(config["root"])
    if "kill_in_save" in config:
        kill_in_save(config["kill_in_save"])
    model = make_model()
    train = make_sequence(root, **config.get("options", {}))
    callbacks: list[keras.callbacks.Callback] = []
    if config.get("backup"):
        callbacks.append(keras.callbacks.BackupAndRestore(config["backup"]))
    if config.get("walks"):
        callbacks.append(Walker(train))
    if config.get("path"):
        callbacks.append(ResumeCallback(config["path"], save_freq=1))
    execution = Execution(config.get("kill_after"), really=True)
    history = model.fit(
        train, epochs=config["epochs"], validation_data=make_sequence(root, shuffle=False), callbacks=[*callbacks, execution], verbose=0
    )
    np.savez(config["out"], *model.get_weights())
    print(json.dumps({"batches": execution.numbers, "history": history.history}))  # noqa: T201
    train.close()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
