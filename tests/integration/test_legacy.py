"""Legacy Keras over the same feed: the tutorial's script as it is written, and what becomes of its arguments."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("tf_keras") is None, reason="needs the extra 'legacy'")

SCRIPT = Path(__file__).with_name("legacy_keras.py")


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the script's scenarios observed."""
    folder = tmp_path_factory.mktemp("legacy")
    (folder / "shards").mkdir()
    for number in range(50):
        np.save(folder / "shards" / f"s{number:03d}.npy", np.full((4, 3, 1), number, np.float32))
    rows = "".join(f"s{number:03d},{number % 8}\n" for number in range(50))
    (folder / "manifest.csv").write_text(f"id,label\n{rows}")
    done = subprocess.run([sys.executable, str(SCRIPT), str(folder)], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-5000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_the_tutorials_script_runs_as_written(observed: dict[str, Any]) -> None:
    assert observed["tutorial"] == {
        "is a Sequence": True,
        "keras 3 is there": False,
        "epochs": 1,
        "losses are numbers": True,
        "predictions": [10, 8],
        "passes": [0, 1],
    }


@pytest.mark.parametrize(
    ("fit", "steps"),
    [
        ("as written", 21),
        ("defaults", 21),
        ("threads", 21),
        ("one process", 21),
        ("a queue of one", 21),
        ("in the named order", 21),
        ("as written, 3 steps an epoch", 9),
        ("as written, 5 steps an epoch", 15),
        ("defaults, 3 steps an epoch", 9),
        ("defaults, 5 steps an epoch", 15),
        ("without end", 20),
    ],
)
def test_every_sample_is_trained_once_a_pass_in_the_promised_order(observed: dict[str, Any], fit: str, steps: int) -> None:
    result = observed["fits"][fit]
    assert result["got"] == result["promised"]
    assert len(result["got"]) == steps


def test_nothing_is_read_that_nobody_uses(observed: dict[str, Any]) -> None:
    look = 1  # at the first batch, for its shape
    assert observed["fits"]["as written"]["batches"] == look + 21


def test_the_feeds_own_workers_work_and_no_pool_is_forked(observed: dict[str, Any]) -> None:
    result = observed["workers"]
    assert result["asked here"]
    assert result["processes"] == min(10, result["cores"])
    assert result["told itself"] == 1


def test_a_killed_worker_costs_nothing(observed: dict[str, Any]) -> None:
    result = observed["killed_worker"]
    assert result["killed"] == 1
    assert result["got"] == result["promised"]


def test_each_call_is_the_next_pass(observed: dict[str, Any]) -> None:
    for what, (got, promised) in observed["several_calls"].items():
        assert got == promised, what


def test_validation_has_passes_of_its_own(observed: dict[str, Any]) -> None:
    assert observed["validation"]["got"] == observed["validation"]["promised"]


def test_a_bad_shard_is_named(observed: dict[str, Any]) -> None:
    assert "missing.npy of ID 'missing': expected (4, 3, 1) float32, found no such file" in observed["a_bad_shard"]


def test_an_override_gets_the_batches_of_its_ids_in_their_order(observed: dict[str, Any]) -> None:
    for how, result in observed["overrides"].items():
        assert result["got"] == result["promised"], how
        assert len(result["got"]) in {9, 21}


def test_a_shorter_length_is_refused(observed: dict[str, Any]) -> None:
    assert observed["a_shorter_length"] == "Short overrides __len__, and legacy Keras takes whole passes; use drop_remainder=True"
