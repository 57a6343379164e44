"""How long it takes from nothing to the first batch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import loader
from manifests import Manifest

pytestmark = pytest.mark.slow

# The clock starts when a bare interpreter has imported Keras: neither the interpreter nor Keras is ours to make faster.
SCRIPT = """
import sys
import time

import keras

start = time.perf_counter()
from loader import ManifestSequence
from manifests import load_manifest

train = ManifestSequence(load_manifest(sys.argv[1]), batch_size=int(sys.argv[2]), shuffle=True, workers=2, use_multiprocessing=True)
train.on_epoch_begin()
next(iter(train))
print(time.perf_counter() - start)
train.close()
"""


@pytest.mark.parametrize("kind", ["12 KB"])
def test_the_first_batch(dataset: Manifest, shards: Any, report: Callable[[str, str, Callable[[], float]], None]) -> None:
    command = [sys.executable, "-c", SCRIPT, os.fspath(dataset.root), str(shards.batch_size)]
    # The current folder comes first among those that are imported from.
    packages = Path(loader.__file__).parents[1]

    def take() -> float:
        return float(subprocess.run(command, cwd=packages, check=True, capture_output=True, text=True).stdout)

    report(f"import, manifest of {len(dataset):,} rows, 2 worker processes, first batch", "s beyond importing Keras", take)
