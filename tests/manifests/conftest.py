"""Datasets to test with, written by NumPy and by hand so that they do not lean on the code under test."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

WriteShard = Callable[[str, Any], Path]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An empty folder to hold a dataset; what stands beside it is outside of it."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def write_shard(data: Path) -> WriteShard:
    def write(path: str, array: Any) -> Path:
        file = data / path
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, array, allow_pickle=False)
        return file

    return write


@pytest.fixture
def pets(data: Path, write_shard: WriteShard) -> Path:
    """Six IDs in two splits, every checked column filled, no dataset.json."""
    rows = ["id,label,split,shape,dtype,sha256"]
    for number, (id_, label, split) in enumerate(
        [
            ("007", "dog", "train"),
            ("1e5", "cat", "train"),
            ("NA", "cat", "val"),
            ("cats/001", "cat", "train"),
            ("null", "dog", "train"),
            ("été", "bird", "val"),
        ]
    ):
        file = write_shard(f"shards/{id_}.npy", np.full((2, 3), number, dtype=np.uint8))
        rows.append(f"{id_},{label},{split},2x3,uint8,{hashlib.sha256(file.read_bytes()).hexdigest()}")
    (data / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return data
