"""How long a build takes that has nothing to do, beside walking over its source."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

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


SCRIPT = """
import os, sys, time
from prep import BuildOptions, SilentReporter, build_shards

source, out, count, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

def walk():
    for folder, _, names in os.walk(source):
        for name in names:
            os.stat(os.path.join(folder, name))

def build():
    assert build_shards(source, out, BuildOptions(), report=SilentReporter()).found == count

build()
for _ in range(rounds):
    for work in (walk, build):
        start = time.perf_counter()
        work()
        print(time.perf_counter() - start)
"""
"""A process in which nothing else runs, as a command is; prints the seconds of each walk and each build in turn."""


def test_a_build_that_has_nothing_to_do(source: Path, count: int, tmp_path: Path, scale: Any, note: Any) -> None:
    arguments = [source, tmp_path / "data", count, scale.rounds + 1]
    ran = subprocess.run([sys.executable, "-c", SCRIPT, *map(str, arguments)], check=True, capture_output=True, text=True)
    seconds = [float(line) for line in ran.stdout.splitlines()]
    theirs, ours = seconds[0::2], seconds[1::2]
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    middle = sorted(range(len(ratios)), key=ratios.__getitem__)[len(ratios) // 2]
    note(f"build of {count:,} images of which none changed", "os.walk with a stat of each file", ours[middle], theirs[middle], count)
    if scale.measured:
        assert ratios[middle] <= MOST
