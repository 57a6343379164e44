"""`ResumeCallback` refuses a state that was made by hand for what it lacks, before training goes on."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest

from loader import ManifestSequence, ResumeCallback, ResumeError
from loader.callbacks.resume_file import STATE_NAME
from manifests import Manifest


class Stop(keras.callbacks.Callback):
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == 2:
            raise KeyboardInterrupt


def test_metrics_that_are_missing_amid_an_epoch_are_named(make_dataset: Callable[..., Manifest], tmp_path: Path) -> None:
    sequence = ManifestSequence(make_dataset(24), batch_size=4)

    def fit(*others: Any) -> None:
        model = keras.Sequential([keras.Input((4, 3)), keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")])
        model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
        model.fit(sequence, verbose=0, callbacks=[*others, ResumeCallback(tmp_path / "run", save_freq=1)])

    with pytest.raises(KeyboardInterrupt):
        fit(Stop())
    file = tmp_path / "run" / STATE_NAME
    with zipfile.ZipFile(file) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    head = json.loads(entries["state.json"])
    assert head["step"] > 0
    del head["groups"]["metrics"]
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in (entries | {"state.json": json.dumps(head).encode()}).items():
            archive.writestr(name, data)
    with pytest.raises(ResumeError, match=r"run was saved with another model: metrics had 0 variables, now it has "):
        fit()
