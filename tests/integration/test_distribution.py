"""Training on several devices and in several processes gives each sample once, or is refused."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from backends import trains

from loader import ManifestSequence, OptionError
from manifests import Manifest, load_manifest

HERE = Path(__file__).parent
SAMPLES = 49


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    (root / "shards").mkdir()
    for number in range(SAMPLES):
        np.save(root / "shards" / f"s{number:03d}.npy", np.full((4, 3), number, np.float32))
    rows = "".join(f"s{number:03d},{'ab'[number % 2]}\n" for number in range(SAMPLES))
    (root / "manifest.csv").write_text(f"id,label\n{rows}", encoding="utf-8")
    return root


@pytest.fixture
def manifest(folder: Path) -> Manifest:
    return load_manifest(folder)


def environment() -> dict[str, str]:
    path = os.pathsep.join(path for path in sys.path if path)
    return os.environ | {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}


def run_two(folder: Path, how: str) -> list[Any]:
    """What each of two processes printed."""
    if not trains("jax"):
        pytest.skip("this Keras cannot train on this JAX")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(HERE / "distributed_fit.py"), str(folder), str(port)]
    processes = [
        subprocess.Popen([*command, str(index), how], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for index in range(2)
    ]
    try:
        printed = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert all(out for out, _ in printed), [err[-2000:] for _, err in printed]
    return [json.loads(out.splitlines()[-1]) for out, _ in printed]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["parts", "parts by hand"])
def test_two_processes_with_a_part_each_train_every_sample_once(folder: Path, how: str) -> None:
    first, second = run_two(folder, how)
    # Before the first epoch each builds its model with a batch, which is no part of one. 48 samples are whole batches of 8.
    epochs = [sorted(first[-24 * k : len(first) - 24 * (k - 1)] + second[-24 * k : len(second) - 24 * (k - 1)]) for k in (2, 1)]
    for epoch in epochs:
        assert len(epoch) == len(set(epoch)) == 48


@pytest.mark.slow
def test_two_processes_with_all_samples_each_are_refused_in_one_line(folder: Path) -> None:
    for index, line in enumerate(run_two(folder, "alone")):
        assert f"this process needs part {index}: expected process_index={index}, process_count=2" in line
        assert "\n" not in line


@pytest.mark.slow
def test_two_replicas_share_each_batch(folder: Path) -> None:
    ran = subprocess.run(
        [sys.executable, str(HERE / "mirrored_fit.py"), str(folder)], env=environment(), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    told = json.loads(ran.stdout.splitlines()[-1])
    assert told["replicas"] == 2
    assert [sorted(epoch) for epoch in told["epochs"]] == [list(range(SAMPLES))] * 2


class Distribution:
    """As much of a distribution of Keras as the sequence looks at, by release."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


RELEASES: dict[str, dict[str, Any]] = {
    "3.8": {"_is_multi_process": True, "_num_process": 2, "_process_id": 1, "_auto_shard_dataset": True},
    "3.15": {"_is_multi_process": True, "_num_processes": 2, "_process_id": 1, "auto_shard_dataset": True, "data_shard_id": 1},
    "3.16": {"_is_multi_process": True, "num_data_shards": 2, "data_shard_id": 1, "_process_id": 1, "auto_shard_dataset": True},
}


@pytest.fixture
def set_distribution(monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda **attributes: monkeypatch.setattr(keras.distribution, "distribution", lambda: Distribution(**attributes))


@pytest.mark.parametrize("release", RELEASES)
def test_each_release_of_keras_says_which_part_a_process_has(manifest: Manifest, set_distribution: Any, release: str) -> None:
    set_distribution(**RELEASES[release])
    with pytest.raises(OptionError, match="needs part 1: expected process_index=1, process_count=2 in ManifestSequence, got 0 and 1"):
        ManifestSequence(manifest).on_epoch_begin()
    with pytest.raises(OptionError, match="got 0 and 2"):
        ManifestSequence(manifest, process_count=2).on_epoch_begin()
    part = ManifestSequence(manifest, process_index=1, process_count=2, drop_remainder=True)
    part.on_epoch_begin()
    with pytest.raises(OptionError, match=r"splits a tf.data.Dataset between its processes itself, .* would split the data twice"):
        part.as_tf_dataset()
    assert ManifestSequence(manifest).as_tf_dataset() is not None


@pytest.mark.parametrize(
    "attributes",
    [
        {"_is_multi_process": False, "_num_process": 1, "_process_id": 0},
        RELEASES["3.15"] | {"auto_shard_dataset": False},
        RELEASES["3.16"] | {"num_data_shards": 1, "data_shard_id": 0},
    ],
    ids=["one process", "samples of its own each", "one model over several processes"],
)
def test_whoever_needs_all_samples_gets_them(manifest: Manifest, set_distribution: Any, attributes: dict[str, Any]) -> None:
    set_distribution(**attributes)
    ManifestSequence(manifest).on_epoch_begin()
