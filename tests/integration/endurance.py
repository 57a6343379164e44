"""What a process has open after many epochs, or many fits: `python endurance.py epochs|fits COUNT FOLDER`, a line of JSON now and then."""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from loader import ManifestSequence
from loader.workers.pool.shared import shared_pool
from manifests import Manifest, load_manifest

SAMPLES = 64
KINDS: list[dict[str, Any]] = [{"workers": 2, "use_multiprocessing": True}, {"workers": 2}, {}]
"""Who makes the batches, in turn."""


def write_dataset(root: Path) -> Manifest:
    (root / "shards").mkdir(parents=True)
    for i in range(SAMPLES):
        np.save(root / "shards" / f"s{i:02}.npy", np.full(256, i, np.float32))
    (root / "manifest.csv").write_text("id,label\n" + "".join(f"s{i:02},{'ab'[i % 2]}\n" for i in range(SAMPLES)), encoding="ascii")
    return load_manifest(root)


def status_kb(process: int | str, name: str) -> int:
    text = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(text.partition(f"{name}:")[2].split()[0])


def report(done: int) -> None:
    gc.collect()
    workers = shared_pool().process_ids
    slots = shared_pool()._slots
    figures = {
        "done": done,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "rss_kb": status_kb("self", "RssAnon"),
        "worker_descriptors": max((len(os.listdir(f"/proc/{pid}/fd")) for pid in workers), default=0),
        "worker_threads": max((len(os.listdir(f"/proc/{pid}/task")) for pid in workers), default=0),
        "worker_rss_kb": max((status_kb(pid, "RssAnon") for pid in workers), default=0),
        "shared_kb": 0 if slots is None else os.fstat(slots.memory.descriptor).st_blocks // 2,
    }
    print(json.dumps(figures), flush=True)  # noqa: T201  # what the test reads


def many_epochs(count: int, manifest: Manifest) -> None:
    """Walk through three sequences of each kind, epoch after epoch, as training and validation do."""
    sequences = [ManifestSequence(manifest, batch_size=4, shuffle=True, seed=number, **KINDS[number]) for number in range(3)]
    expected = list(range(SAMPLES))
    for epoch in range(count):
        for sequence in sequences:
            assert sorted(int(number) for x, _ in sequence for number in x[:, 0]) == expected
        if epoch % (count // 10) == count // 10 - 1:
            report(epoch + 1)


def many_fits(count: int, manifest: Manifest) -> None:
    """Train one model again and again, each time with a new sequence, which somebody holds on to as TensorFlow does."""
    import keras  # noqa: PLC0415  # the other half does without

    model = keras.Sequential([keras.Input((256,)), keras.layers.Dense(2, activation="softmax")])
    model.compile("sgd", "categorical_crossentropy")
    kept = []
    for number in range(count):
        sequence = ManifestSequence(manifest, batch_size=16, shuffle=True, **KINDS[number % 3])
        kept.append(sequence)
        model.fit(sequence, verbose=0)
        if number % (count // 10) == count // 10 - 1:
            report(number + 1)


if __name__ == "__main__":
    {"epochs": many_epochs, "fits": many_fits}[sys.argv[1]](int(sys.argv[2]), write_dataset(Path(sys.argv[3])))
