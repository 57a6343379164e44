"""What reaches the loss of a regression, on each backend. The fits themselves are in `fit_targets.py`."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("fit_targets.py")
SAMPLES, TRAIN, EPOCHS = 13, 9, 2

# All of them are float32 to the bit.
COLUMNS = {
    "label": [number * 0.25 - 1 for number in range(SAMPLES)],
    "size": [2.0**-number for number in range(SAMPLES)],
    "age": [35 + number for number in range(SAMPLES)],
    "rust": [number % 2 for number in range(SAMPLES)],
    "scab": [int(number % 3 == 0) for number in range(SAMPLES)],
}
CASES = {
    "one": (["label"], [4]),
    "three": (["label", "size", "age"], [4, 3]),
    "indicators": (["rust", "scab"], [4, 2]),
    "from_ids": (["label"], [4]),
}


def write_dataset(root: Path) -> None:
    (root / "shards").mkdir(parents=True)
    rows = [",".join(["id", *COLUMNS, "split"])]
    for number in range(SAMPLES):
        np.save(root / "shards" / f"s{number:03d}.npy", np.full((4, 3), number, np.float32))
        rows.append(
            ",".join([f"s{number:03d}", *(str(values[number]) for values in COLUMNS.values()), "train" if number < TRAIN else "val"])
        )
    (root / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    labels = {name: {"kind": "number"} for name in ("label", "size", "age")}
    (root / "dataset.json").write_text(json.dumps({"schema_version": 1, "labels": labels}), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    "backend",
    [
        "tensorflow",
        "jax",
        pytest.param("torch", marks=pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="torch is not installed: large")),
    ],
)
def test_the_loss_sees_the_numbers_of_the_manifest(backend: str, tmp_path: Path) -> None:
    write_dataset(tmp_path)
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    ran = subprocess.run([sys.executable, str(SCRIPT), str(tmp_path)], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout.splitlines()[-1])
    assert told["backend"] == backend
    assert told["seen"].keys() == CASES.keys()
    for name, (shape, dtype, lines) in told["seen"].items():
        columns, expected_shape = CASES[name]
        assert (shape, dtype) == (expected_shape, "float32")
        # Each training sample once an epoch, each of the others once, and each with its own numbers.
        of_number = {number: (float(number), *(float(COLUMNS[column][number]) for column in columns)) for number in range(SAMPLES)}
        expected = [*list(range(TRAIN)) * EPOCHS, *range(TRAIN, SAMPLES)]
        assert Counter(map(tuple, lines)) == Counter(of_number[number] for number in expected), name
    assert told["normalised"] == pytest.approx([0, 1, 0], abs=1e-5)
