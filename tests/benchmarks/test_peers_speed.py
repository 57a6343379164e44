"""Other libraries over the same files, in the same run: batches in random order, each at its best setting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from peer_tensorflow import a_batch_a_call, a_file_a_call
from peer_tensorflow import walks as tensorflow_walks
from pipelines import Files, Open, Walk, fastest_walk
from sequence_pipelines import manifest_sequences

from manifests import Manifest

pytestmark = pytest.mark.slow

Against = Callable[[str, Mapping[str, Open]], None]


@pytest.fixture
def against(part: Manifest, files: Files, shards: Any, scale: Any, compare_walks: Callable[..., float]) -> Against:
    """Return a function that finds the best setting of both in short runs and then measures them in pairs."""

    def measure(name: str, settings: Mapping[str, Open]) -> None:
        ours = manifest_sequences(part, shards.batch_size)
        if not scale.measured:  # to start processes takes longer than everything else here
            ours = {setting: ours[setting] for setting in ("inline", "2 threads")}
        for pipeline in (*ours.values(), *settings.values()):
            check(pipeline, files)
        best = fastest_walk(ours, shards.batches, scale.tries)
        other = fastest_walk(settings, shards.batches, scale.tries)
        compare_walks(f"iterating, {best}", f"{name}, {other}", ours[best], settings[other], shards.batches)

    return measure


def check(pipeline: Open, files: Files) -> None:
    """Hold a pipeline's first batch against what was written: a sample is that of class 0 plus its class."""
    with Walk(pipeline, 1) as walk:
        x, y = map(np.asarray, walk.start())
        classes = y.argmax(axis=1) if y.ndim == 2 else y
        assert x.shape == (files.batch_size, *files.shape)
        assert x.dtype == np.float32
        zero = files.read(files.labels.index(0))
        np.testing.assert_array_equal(x, zero + classes.astype(np.float32).reshape(-1, *[1] * len(files.shape)))
        assert classes.tolist() != files.labels[: files.batch_size]  # shuffled


def test_iterating_against_tf_data_that_reads_a_file_a_call(against: Against, files: Files) -> None:
    against("`tf.data`", tensorflow_walks(a_file_a_call(files)))


def test_iterating_against_tf_data_that_reads_a_batch_a_call(against: Against, files: Files) -> None:
    against("`tf.data`", tensorflow_walks(a_batch_a_call(files)))


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # more workers than cores: as it is meant
def test_iterating_against_torch(against: Against, files: Files, scale: Any) -> None:
    pytest.importorskip("torch")
    peer = import_module("peer_torch")
    against("torch DataLoader", peer.walks(files, peer.WORKERS if scale.measured else (1,)))


def test_iterating_against_grain(against: Against, files: Files, scale: Any) -> None:
    pytest.importorskip("grain")
    peer = import_module("peer_grain")
    against("Grain", peer.walks(files) if scale.measured else peer.walks(files, peer.THREADS[:1], peer.WORKERS[:1]))
