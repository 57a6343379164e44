"""Trains on targets of every kind, on the backend that KERAS_BACKEND names, and prints what reached the loss, as JSON.

Run as `python fit_targets.py FOLDER`, a dataset whose arrays are full of their sample's number. For each case it prints the shape of
a batch's y, and of each sample that was trained or evaluated its number and its y, one after the other.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from loader import ManifestSequence
from manifests import load_manifest

CAPACITY = 256
EPOCHS = 2


class Model(keras.Model):
    """Predicts nothing, and writes down what the loss is computed from, within the step."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.dense = keras.layers.Dense(columns)
        options: dict[str, Any] = {"initializer": "zeros", "trainable": False}
        self.lines = self.add_weight(shape=(CAPACITY, 1 + columns), name="lines", **options)
        self.count = self.add_weight(shape=(), dtype="int32", name="count", **options)

    def call(self, x: Any) -> Any:
        return self.dense(x[:, 0])

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True) -> Any:
        rows = ops.shape(x)[0]
        line = ops.concatenate([x[:, 0, :1], ops.reshape(y, (rows, -1))], axis=1)
        at = ops.reshape(self.count + ops.arange(rows, dtype="int32"), (-1, 1))
        self.lines.assign(ops.scatter_update(self.lines, at, line))
        self.count.assign(self.count + rows)
        return super().compute_loss(x, y, y_pred, sample_weight, training)


def seen(train: ManifestSequence, val: ManifestSequence, columns: int) -> list[Any]:
    model = Model(columns)
    model.compile("sgd", "mse")
    model.fit(train, epochs=EPOCHS, verbose=0)
    model.evaluate(val, verbose=0)
    lines = ops.convert_to_numpy(model.lines)[: int(model.count)].tolist()
    return [list(train[0][1].shape), str(train[0][1].dtype), lines]


def normalised(name: str) -> list[float]:
    """Return mean and standard deviation of the training rows' numbers once a layer has normalised them, and how far back the way fails."""
    manifest = load_manifest(sys.argv[1])
    y = manifest.split("train").frame[name].to_numpy(dtype=np.float32)
    moments = manifest.normalization(name)
    there = ops.convert_to_numpy(keras.layers.Normalization(axis=None, **moments)(y))
    back = ops.convert_to_numpy(keras.layers.Normalization(axis=None, invert=True, **moments)(there))
    return [float(there.mean()), float(there.std()), float(np.abs(back - y).max())]


def main() -> None:
    manifest = load_manifest(Path(sys.argv[1]))
    train, val = manifest.split("train"), manifest.split("val")
    cases = {"one": "label", "three": ["label", "size", "age"], "indicators": ["rust", "scab"]}
    found: dict[str, Any] = {}
    for name, label in cases.items():
        columns = 1 if isinstance(label, str) else len(label)
        options: dict[str, Any] = {"batch_size": 4, "label": label}
        found[name] = seen(ManifestSequence(train, shuffle=True, seed=1, **options), ManifestSequence(val, **options), columns)
    labels = {id_: float(text) for id_, text in zip(manifest.ids, manifest.frame["label"], strict=True)}
    of_ids: dict[str, Any] = {"data_dir": manifest.root / "shards", "dim": (4,), "n_channels": 3, "label_mode": "float", "batch_size": 4}
    sequences = [ManifestSequence.from_ids(part.ids, labels, **of_ids) for part in (train, val)]
    found["from_ids"] = seen(sequences[0], sequences[1], 1)
    sys.stdout.write(json.dumps({"backend": keras.backend.backend(), "seen": found, "normalised": normalised("label")}) + "\n")


if __name__ == "__main__":
    main()
