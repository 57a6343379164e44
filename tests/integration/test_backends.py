"""What is trained on each backend, in every way that Keras can drive a sequence. The fits themselves are in `fit_matrix.py`."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loader import randomness
from loader.order import batch_positions
from loader.passes import FIT_STRIDE

SCRIPT = Path(__file__).with_name("fit_matrix.py")
SAMPLES, BATCH_SIZE, SEED, LENGTH = 49, 2, 5, 25

# What is to be seen: t trains, e evaluates, p predicts; "t1" is all of pass 1, "t1:10-20" its batches 10 to 19,
# and "tS" the pass at which a second walk without end begins.
EXPECTED = {
    "epochs": "t0 t1 t2",
    "not_shuffled_by_keras": "t0 t1",
    "steps_below_the_length": "t0:0-10 t0:10-20 t0:20-25 t1:0-10 t1:10-20 t1:20-25 t2:0-10",
    "steps_at_the_length": "t0 t1",
    "steps_above_the_length": "t0 t1",
    "initial_epoch": "t0 t1",
    "initial_epoch_and_pass": "t2 t3",
    "fit_twice": "t0 t1 t2",
    "not_built": "t0 t1 e2 p3",
    "not_built_and_one_batch": "t0 t1",
    "several_steps_at_once": "t0 t1",
    "several_steps_at_once_below_the_length": "t0:0-8 t0:8-16 t0:16-24 t0:24-25 t1:0-8",
    "validation": "t0 e0 t1 e1",
    "validation_steps": "t0 e0:0-3 t1 e1:0-3 t2 e2:0-3",
    "validation_on_the_same_data": "t0:0-20 e1 t0:20-25 e2 t3:0-20 e4",
    "evaluate_and_predict": "e0 p1 e2:0-3",
    "predict_between_fits": "t0 p1 t2",
    "evaluate_amid_an_epoch": "e1 t0 t2",
    "evaluate_between_epochs_of_one_pass": "t0:0-10 t0:10-20 t0:20-25 t4:0-10 e1:0-3 e2:0-3 e3:0-3 e5:0-3",
    "class_weight": "t0 t1",
    "stopped_early": "t0:0-7 t1 t2",
    "stopped_after_the_first_batch": "t0:0-1 t1",
    "broken_off": "t0:0-7 t1 t2",
    "interrupted": "t0:0-7 t1 t2",
    "endless": "t0:0-10 t0:10-20 t0:20-25,1:0-5 t1:5-15 t1:15-25 t2:0-10 tS,S+1:0-5",
    "threads": "t0 t1 t0 t1 t0 t1 t0 t1",
    "processes": "t0 t1 t0 t1 t0 t1 t0 t1",
}

BY_SIGNAL = "interrupted_by_a_signal"
KINDS = {"t": "train", "e": "test", "p": "predict"}


@cache
def samples(pass_: int, batch: int, batch_size: int) -> list[list[int]]:
    """The numbers of a batch's samples, and the checksum of each after the transform of `fit_matrix`."""
    found = []
    for number in batch_positions(SAMPLES, batch_size, batch, seed=SEED, pass_=pass_, shuffle=True).tolist():
        noise = randomness.keyed_generator("sample", SEED, pass_, number, 0).integers(0, 4096, 11)
        found.append([number, int(np.dot(number + np.concatenate([[0], noise]), np.arange(1, 13)))])
    return found


def expected(steps: str, batch_size: int = BATCH_SIZE) -> list[list[Any]]:
    seen = []
    for step in steps.split():
        parts = []
        for part in step[1:].split(","):
            name, _, limits = part.partition(":")
            first, last = map(int, limits.split("-")) if limits else (0, -(-SAMPLES // batch_size))
            pass_ = eval(name, {"S": FIT_STRIDE})  # noqa: S307  # the table above
            parts += [sample for batch in range(first, last) for sample in samples(pass_, batch, batch_size)]
        seen.append([KINDS[step[0]], parts])
    return seen


def said(seen: list[list[Any]]) -> list[str]:
    """Say what was seen in the words of the table, as far as it can be, for people to read."""
    places = {tuple(map(tuple, samples(p, b, BATCH_SIZE))): f"{p}.{b}" for p in range(9) for b in range(LENGTH)}
    return [
        f"{kind}: " + " ".join(places.get(tuple(map(tuple, rows[at : at + 2])), str(rows[at : at + 2])) for at in range(0, len(rows), 2))
        for kind, rows in seen
    ]


def check_seen(name: str, seen: list[list[Any]]) -> None:
    batch_size = SAMPLES if name == "not_built_and_one_batch" else BATCH_SIZE
    assert seen == expected(EXPECTED[name], batch_size), f"{name}: expected {EXPECTED[name]}, found\n" + "\n".join(said(seen))


def check_interrupted(seen: list[list[Any]]) -> None:
    """Whenever the signal came, whole passes and a part of one were trained, and then two more."""
    *before, third, last = seen
    for pass_, (kind, rows) in enumerate(before):
        whole = [sample for batch in range(LENGTH) for sample in samples(pass_, batch, BATCH_SIZE)]
        assert kind == "train"
        assert rows == whole if pass_ < len(before) - 1 else rows == whole[: len(rows)]
    # The pass that was begun when it came may have trained nothing yet.
    assert any([third, last] == expected(f"t{n} t{n + 1}") for n in (len(before), len(before) + 1)), said(seen)


@pytest.mark.slow
@pytest.mark.parametrize(
    "backend",
    [
        "tensorflow",
        "jax",
        pytest.param("torch", marks=pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="torch is not installed: large")),
    ],
)
def test_each_pass_is_trained_exactly_once_in_its_order_however_keras_drives_it(backend: str, tmp_path: Path) -> None:
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    ran = subprocess.run([sys.executable, str(SCRIPT), str(tmp_path)], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout.splitlines()[-1])
    assert told["versions"]["backend"] == backend
    seen = told["seen"]
    check_interrupted(seen.pop(BY_SIGNAL))
    missing = EXPECTED.keys() - seen.keys()
    assert missing == ({name for name in EXPECTED if name.startswith("several_steps")} if backend == "torch" else set())
    for name, what in seen.items():
        check_seen(name, what)


def test_the_checks_see_a_batch_that_is_trained_twice_or_in_the_wrong_place() -> None:
    check_seen("epochs", expected("t0 t1 t2"))
    for wrong in ["t0 t1", "t0 t2 t1", "t0 t1 t2:0-24", "t0 t1 t2,2:24-25", "t0 t1:1-2,1:0-1,1:2-25 t2", "t0 t1 e2"]:
        with pytest.raises(AssertionError, match="epochs: expected t0 t1 t2, found"):
            check_seen("epochs", expected(wrong))
    check_interrupted(expected("t0 t1:0-7 t2 t3"))
    for wrong in ["t0 t1:1-7 t2 t3", "t0:0-7 t1 t2 t3", "t0 t1:0-7 t4 t5", "t0 t1:0-7 t2:1-25 t3", "e0 t1 t2 t3"]:
        with pytest.raises(AssertionError):
            check_interrupted(expected(wrong))
