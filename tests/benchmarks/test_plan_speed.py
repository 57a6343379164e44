"""How long a build takes that has nothing to do, beside walking over its source."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from prep import BuildOptions, build_shards
from prep.report import SilentReporter

pytestmark = pytest.mark.slow

MOST = 3.0
"""Times the walk that a build may take of which nothing changed."""

PER_FOLDER = 1_000


@pytest.fixture
def count(scale: Any) -> int:
    return 100_000 if scale.measured else 300


@pytest.fixture
def source(tmp_path: Path, count: int) -> Path:
    """Small images in folders."""
    file = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(file, "PNG")
    for first in range(0, count, PER_FOLDER):
        folder = tmp_path / f"raw/{first:06d}"
        folder.mkdir(parents=True)
        for number in range(first, min(first + PER_FOLDER, count)):
            (folder / f"{number:06d}.png").write_bytes(file.getvalue())
    return tmp_path / "raw"


def walk(source: Path) -> None:
    for folder, _, names in os.walk(source):
        for name in names:
            os.stat(os.path.join(folder, name))


def test_a_build_that_has_nothing_to_do(source: Path, count: int, tmp_path: Path, scale: Any, note: Any) -> None:
    def build() -> None:
        summary = build_shards(source, tmp_path / "data", BuildOptions(), report=SilentReporter())
        assert summary.found == count

    build()
    ratios, ours, theirs = [], [], []
    for _ in range(scale.rounds + 1):
        for function, times in ((lambda: walk(source), theirs), (build, ours)):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
        ratios.append(ours[-1] / theirs[-1])
    middle = sorted(range(len(ratios)), key=ratios.__getitem__)[len(ratios) // 2]
    note(f"build of {count:,} images of which none changed", "os.walk with a stat of each file", ours[middle], theirs[middle], count)
    if scale.measured:
        assert ratios[middle] <= MOST
