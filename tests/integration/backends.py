"""The backends of Keras that tests run on, each in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from functools import cache

import pytest

NEEDS_TORCH = pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="torch is not installed: large")

BACKENDS = pytest.mark.parametrize("backend", ["tensorflow", "jax", pytest.param("torch", marks=NEEDS_TORCH)])

ONE_BACKEND_THEN_ALL = pytest.mark.parametrize(
    "backend",
    ["tensorflow", pytest.param("jax", marks=pytest.mark.faults), pytest.param("torch", marks=[pytest.mark.faults, NEEDS_TORCH])],
)
"""For what starts many interpreters: `make test` runs it on the first one."""


@cache
def trains(backend: str) -> bool:
    """Whether this release of Keras can train on this release of a backend at all, without a sequence."""
    code = (
        "import keras, numpy as np\n"
        "model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])\n"
        "model.compile('sgd', 'mse')\n"
        "model.fit(np.zeros((2, 2)), np.zeros((2, 1)), verbose=0)"
    )
    environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return not subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False).returncode
