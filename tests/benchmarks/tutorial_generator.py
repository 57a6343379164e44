"""What the well-known tutorial has its readers paste."""

from __future__ import annotations

import os
from typing import Any

import keras
import numpy as np


class TutorialGenerator(keras.utils.PyDataset):
    """One `np.load` per ID, float64, floor division."""

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
