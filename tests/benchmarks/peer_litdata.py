"""Building by litData, as a script: `optimize` with two workers and `peer_decoding.decode`. The workers import this file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import litdata
import numpy as np
from peer_decoding import decode, labelled, run

START_METHODS = {"forked workers": "fork", "spawned workers": "spawn"}


def one(photograph: tuple[str, int]) -> dict[str, Any]:
    path, label = photograph
    return {"pixels": decode(path), "label": label}


def build(setting: str, source: Path, out: Path) -> None:
    inputs = labelled(source)
    litdata.optimize(one, inputs, str(out), chunk_bytes="64MB", num_workers=2, start_method=START_METHODS[setting])


def read(out: Path) -> tuple[Any, Any]:
    samples = list(litdata.StreamingDataset(str(out)))
    return np.stack([sample["pixels"] for sample in samples]), np.array([sample["label"] for sample in samples])


if __name__ == "__main__":
    run(build, read)
