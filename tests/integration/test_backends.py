"""What is trained on each backend, in every way that Keras can drive a sequence. The fits themselves are in `fit_matrix.py`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backends import BACKENDS, ONE_BACKEND_THEN_ALL, trains

from loader.feed import randomness
from loader.feed.order import batch_positions
from loader.passes.counter import FIT_STRIDE

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
    "what_fit_does_not_hand_on": "t0",
    "targets_by_ids": "t0 t1 e2 p3",
    "targets_by_plain_numbers": "t0 t1 e2 p3",
    "targets_from_far_away": "t0 t1 e2 p3",
    "targets_beside_those_of_others": "t0 t1 e2 p3",
    "targets_by_a_thread": "t0 t1 e2 p3",
    "targets_amid_an_epoch": "e1 t0 t2",
    "targets_over_epochs_that_share_a_pass": "t0:0-10 t0:10-20 t0:20-25 t1:0-10",
    "length_overridden": "t1:0-24 t2:0-24 e3:0-24",
    "hooks_overridden": "t0 t1",
    "hooks_overridden_and_not_built": "t0 t1",
    "wrapped": "t1 t2 t3",  # Keras ends an epoch before the first
    "wrapped_and_not_told": "t0 t0",
    "wrapped_and_walked_through_amid_an_epoch": "t1 t5",
    "two_wrapped": "t1,1 t2,2",
    "loops_amid_an_epoch": "t0 t5",
    "five_loops_at_once": "t0 t6 p1 p2 p3 p4 p5",
    "short_evaluates_amid_an_epoch": "t0 t6 e1:0-1 e2:0-1 e3:0-1 e4:0-1 e5:0-1",
    "an_evaluate_an_epoch": (
        "t0:0-10 t0:10-20 t0:20-25 t4:0-10 t4:10-20 t4:20-25 t8:0-10 e1:0-1 e2:0-1 e3:0-1 e5:0-1 e6:0-1 e7:0-1 e9:0-1"
    ),
    "fit_amid_a_fit": "t0 t2 t1",
    "several_inputs_and_no_labels": "p0 p1",
    "many_workers": "t0 t1 t0 t1",
}

WORKERS = ["default", "none", "1 thread", "2 threads", "1 process", "2 processes"]
FEW_WORKERS = ["default", "2 processes"]
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
    if name == "hooks_overridden_and_not_built":  # where Keras looked at the data nobody told the sequence, and the look was a pass
        check_exact(name, seen)
        return
    batch_size = SAMPLES if name == "not_built_and_one_batch" else BATCH_SIZE
    assert seen == expected(EXPECTED[name], batch_size), f"{name}: expected {EXPECTED[name]}, found\n" + "\n".join(said(seen))


def check_exact(name: str, seen: list[list[Any]]) -> None:
    """Each walk has batches of one pass and each of them once, in whatever order, and all where a whole pass is expected."""
    batch_size = SAMPLES if name == "not_built_and_one_batch" else BATCH_SIZE
    length = -(-SAMPLES // batch_size)
    places = {tuple(map(tuple, samples(p, b, batch_size))): (p, b) for p in range(40) for b in range(length)}
    steps = EXPECTED[name].split()
    assert [kind for kind, _ in seen] == [KINDS[step[0]] for step in steps], (name, said(seen))
    walks: dict[str, list[tuple[int, int]]] = {}
    wanted: dict[str, int] = {}
    for number, (step, (_, rows)) in enumerate(zip(steps, seen, strict=True)):
        at = 0
        for part in step[1:].split(","):
            label, _, limits = part.partition(":")
            first, last = map(int, limits.split("-")) if limits else (0, length)
            # What is whole is a walk of its own, and so is each of two sequences in one.
            walk = f"{label} {number} {at}" if (first, last) == (0, length) else label
            wanted[walk] = wanted.get(walk, 0) + last - first
            for _ in range(first, last):
                batch = next(
                    tuple(map(tuple, rows[at : at + n])) for n in (batch_size, 1) if tuple(map(tuple, rows[at : at + n])) in places
                )
                at += len(batch)
                walks.setdefault(walk, []).append(places[batch])
        assert at == len(rows), (name, step, said(seen))
    for walk, found in walks.items():
        assert len({pass_ for pass_, _ in found}) == 1, (name, walk, found)
        assert len(set(found)) == len(found) == wanted[walk], (name, walk, found)


def check_interrupted(seen: list[list[Any]]) -> None:
    """Whenever the signal came, whole passes and a part of one were trained, and then two more."""
    *before, third, last = seen
    for pass_, (kind, rows) in enumerate(before):
        whole = [sample for batch in range(LENGTH) for sample in samples(pass_, batch, BATCH_SIZE)]
        assert kind == "train"
        assert rows == whole if pass_ < len(before) - 1 else rows == whole[: len(rows)]
    # The pass that was begun when it came may have trained nothing yet.
    assert any([third, last] == expected(f"t{n} t{n + 1}") for n in (len(before), len(before) + 1)), said(seen)


def check_interrupted_exactly(seen: list[list[Any]]) -> None:
    """The same where Keras names the batches."""
    whole = {tuple(sorted(map(tuple, (sample for batch in range(LENGTH) for sample in samples(p, batch, BATCH_SIZE))))) for p in range(40)}
    *before, _, third, last = seen if len(seen) > 2 else [None, *seen]
    for kind, rows in (*before, third, last) if before != [None] else (third, last):
        assert kind == "train"
        assert tuple(sorted(map(tuple, rows))) in whole


def run_matrix(backend: str, folder: Path, workers: Sequence[str], **variables: str) -> dict[str, dict[str, Any]]:
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""} | variables
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    if not trains(backend):
        pytest.skip("this Keras cannot train on this backend")
    command = [sys.executable, str(SCRIPT), str(folder), ",".join(workers)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout.splitlines()[-1])
    assert told["versions"]["backend"] == backend
    seen: dict[str, dict[str, Any]] = told["seen"]
    for by_name in seen.values():
        missing = EXPECTED.keys() - by_name.keys()
        assert missing == ({name for name in EXPECTED if name.startswith("several_steps")} if backend == "torch" else set())
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("workers", [pytest.param(WORKERS, marks=pytest.mark.faults, id="all"), pytest.param(FEW_WORKERS, id="some")])
@BACKENDS
def test_each_pass_is_trained_exactly_once_in_its_order_however_keras_drives_it(backend: str, workers: list[str], tmp_path: Path) -> None:
    for by_name in run_matrix(backend, tmp_path, workers).values():
        check_interrupted(by_name.pop(BY_SIGNAL))
        for name, what in by_name.items():
            check_seen(name, what)


@pytest.mark.slow
@ONE_BACKEND_THEN_ALL
def test_with_a_keras_that_nobody_has_tried_each_walk_has_each_sample_once(backend: str, tmp_path: Path) -> None:
    for by_name in run_matrix(backend, tmp_path, FEW_WORKERS, UNKNOWN_KERAS="1").values():
        check_interrupted_exactly(by_name.pop(BY_SIGNAL))
        for name, what in by_name.items():
            check_exact(name, what)


def test_the_checks_see_a_batch_that_is_trained_twice_or_in_the_wrong_place() -> None:
    check_seen("epochs", expected("t0 t1 t2"))
    for wrong in ["t0 t1", "t0 t2 t1", "t0 t1 t2:0-24", "t0 t1 t2,2:24-25", "t0 t1:1-2,1:0-1,1:2-25 t2", "t0 t1 e2"]:
        with pytest.raises(AssertionError, match="epochs: expected t0 t1 t2, found"):
            check_seen("epochs", expected(wrong))
    check_interrupted(expected("t0 t1:0-7 t2 t3"))
    for wrong in ["t0 t1:1-7 t2 t3", "t0:0-7 t1 t2 t3", "t0 t1:0-7 t4 t5", "t0 t1:0-7 t2:1-25 t3", "e0 t1 t2 t3"]:
        with pytest.raises(AssertionError):
            check_interrupted(expected(wrong))
