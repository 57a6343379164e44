"""A stand-in for Keras 3.16's way to walk through a `PyDataset`, written from its description, for the Keras that is installed.

Its finite walk takes the numbers of batches in an order that is a function of the epoch, `random.Random(epoch).shuffle(indices)`,
and asks for them in a loop over a range. (Its enqueuer is left out: the sequence never has Keras start one.)
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import keras
from keras.src.trainers import data_adapters
from keras.src.trainers.data_adapters import py_dataset_adapter

VERSION = "3.99.0"


class NextAdapter(py_dataset_adapter.PyDatasetAdapter):
    """Walks as described above; everything else is as in the Keras that is installed."""

    _epoch = 0

    def _finite_generator(self) -> Iterator[Any]:
        num_batches = self.py_dataset.num_batches
        indices = list(range(num_batches))
        if self.shuffle:
            random.Random(self._epoch).shuffle(indices)  # noqa: S311  # as Keras does
        for i in range(0, num_batches, 1):
            yield self._standardize_batch(self.py_dataset[indices[i]])

    def _infinite_generator(self) -> Iterator[Any]:
        for i in itertools.count(start=0, step=1):
            yield self._standardize_batch(self.py_dataset[i])

    def on_epoch_end(self) -> None:
        super().on_epoch_end()
        self._epoch += 1


def pretend() -> None:
    """Let the Keras of this process be of a release that nobody has tried."""
    keras.__version__ = VERSION
    data_adapters.PyDatasetAdapter = NextAdapter
