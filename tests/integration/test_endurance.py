"""Descriptors, threads and memory stay what they are over hundreds of epochs, and over hundreds of fits in one process."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("endurance.py")

LIMIT = 256
"""Open files that a process may have, workers and the machine learning library included."""


def limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT))


def reports(what: str, count: int, folder: Path) -> list[dict[str, Any]]:
    command = [sys.executable, str(SCRIPT), what, str(count), str(folder / "data")]
    environment = os.environ | {"KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, preexec_fn=limit_files)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def check_flat(found: list[dict[str, Any]], growth: dict[str, int]) -> None:
    """Nothing grows from the first third to the end by more than this."""
    first = found[: len(found) // 3]
    for name, most in growth.items():
        figures = [one[name] for one in found]
        assert figures[-1] <= max(one[name] for one in first) + most, f"{name}: {figures}"


FLAT = {"descriptors": 10, "threads": 4, "worker_descriptors": 12, "worker_threads": 1, "rss_kb": 6_000, "worker_rss_kb": 3_000}


@pytest.mark.parametrize("count", [pytest.param(300, marks=pytest.mark.faults), 20])
def test_epochs_leave_nothing_behind(tmp_path: Path, count: int) -> None:
    found = reports("epochs", count, tmp_path)
    assert found[-1]["done"] == count
    check_flat(found, FLAT | {"shared_kb": 4_000})


@pytest.mark.parametrize("count", [pytest.param(600, marks=pytest.mark.faults), 30])
def test_fits_leave_nothing_behind(tmp_path: Path, count: int) -> None:
    pytest.importorskip("tensorflow")
    found = reports("fits", count, tmp_path)
    assert found[-1]["done"] == count
    # What Keras and TensorFlow keep of each fit, the sequence and its index among it, is not the feed's to give.
    check_flat(found, FLAT | {"shared_kb": 4_000, "rss_kb": 200 * count})
