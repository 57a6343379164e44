"""Trains on two replicas of TensorFlow's `MirroredStrategy`: `python mirrored_fit.py FOLDER`. Prints the samples of each epoch, as JSON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import tensorflow as tf

from loader import ManifestSequence
from manifests import load_manifest


class Noting(keras.Model):
    """Trains nothing, and notes the numbers of the samples that each replica is given."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[list[int]] = []

    def call(self, x: Any) -> Any:
        return x

    def train_step(self, data: Any) -> dict[str, Any]:
        noted = tf.numpy_function(self._note, [data[0][:, 0, 0]], tf.int64)
        return {"samples": noted}

    def _note(self, numbers: Any) -> Any:
        self.epochs[-1].extend(int(number) for number in numbers)
        return numbers.astype("int64").sum()


def main(folder: str) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    sequence = ManifestSequence(load_manifest(Path(folder)), batch_size=8, shuffle=True, seed=1)
    with strategy.scope():
        model = Noting()
        model.compile(jit_compile=False)
    begin = keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: model.epochs.append([]))
    model.fit(sequence, epochs=2, verbose=0, callbacks=[begin])
    sys.stdout.write(json.dumps({"replicas": strategy.num_replicas_in_sync, "epochs": model.epochs}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
