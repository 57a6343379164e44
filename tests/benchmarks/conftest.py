"""What the benchmarks share: shards to read, paired measuring, and the table of ratios at the end.

A ratio is measured in pairs: each round times the other way and then ours, so that a machine whose speed drifts moves
both. What is reported is the median over the rounds. With `--benchmark-disable`, as in the ordinary test run, everything
runs once on a few files to show that it works, and no ratio is held against its bound.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from manifests import Manifest, load_manifest, write_manifest
from manifests.schema import format_shape

ROUNDS = 9


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    against: str
    ratios: list[float]
    ours: float
    theirs: float


@dataclass
class Scale:
    """How much is read: enough to measure, or just enough to see that it works."""

    measured: bool
    files: int
    batches: int
    rounds: int
    batch_size: int = 64
    shape: tuple[int, ...] = (32, 32, 3)
    rows: list[Row] = field(default_factory=list)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SCALE] = Scale(True, 50_000, 200, ROUNDS) if config.getoption("benchmark_enable") else Scale(False, 640, 10, 1)


_SCALE = pytest.StashKey[Scale]()


@pytest.fixture(scope="session")
def scale(request: pytest.FixtureRequest) -> Scale:
    return request.config.stash[_SCALE]


@pytest.fixture(scope="session")
def dataset(scale: Scale, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Shards of float32, 12,416 bytes each, of ten classes; in the page cache, as they were just written."""
    root = tmp_path_factory.mktemp("shards")
    ids = [f"{number:06d}" for number in range(scale.files)]
    (root / "shards").mkdir()
    sample = np.random.default_rng(0).random(scale.shape, dtype=np.float32)
    for number, id_ in enumerate(ids):
        np.save(root / "shards" / f"{id_}.npy", sample + np.float32(number % 10))
    labels = [str(number % 10) for number in range(scale.files)]
    columns = {"id": ids, "label": labels, "shape": format_shape(scale.shape), "dtype": "float32"}
    write_manifest(pd.DataFrame(columns), root)
    return load_manifest(root)


@pytest.fixture
def compare(benchmark: Any, scale: Scale) -> Callable[..., float]:
    """Measure two ways of one piece of work in pairs, note a line of the table, and return the median ratio."""

    def measure(
        what: str,
        against: str,
        ours: Callable[[], object],
        theirs: Callable[[], object],
        samples: int,
        *,
        before: Callable[[], object] = lambda: None,
    ) -> float:
        others: list[float] = []

        def time_theirs() -> None:
            before()
            start = time.perf_counter()
            theirs()
            others.append(time.perf_counter() - start)
            before()

        benchmark.pedantic(ours, setup=time_theirs, rounds=scale.rounds, iterations=1)
        if not scale.measured:
            return float("nan")
        mine = benchmark.stats.stats.data
        ratios = [other / own for other, own in zip(others[-len(mine) :], mine, strict=True)]
        row = Row(what, against, ratios, samples / statistics.median(mine), samples / statistics.median(others))
        scale.rows.append(row)
        benchmark.extra_info["ratio"] = statistics.median(ratios)
        return statistics.median(ratios)

    return measure


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    rows = config.stash[_SCALE].rows
    if not rows:
        return
    write = terminalreporter.write_line
    write("")
    write("| figure | against | ratio (median, lowest to highest) | ours, samples/s | theirs, samples/s |")
    write("|---|---|---|---|---|")
    for row in rows:
        spread = f"**{statistics.median(row.ratios):.2f}** ({min(row.ratios):.2f} to {max(row.ratios):.2f})"
        write(f"| {row.what} | {row.against} | {spread} | {_rounded(row.ours)} | {_rounded(row.theirs)} |")
    write("")
    write(_machine())


def _rounded(rate: float) -> str:
    return f"{float(f'{rate:.3g}'):,.0f}"


def _machine() -> str:
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    cores = 0
    if cpuinfo.is_file():
        lines = cpuinfo.read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
        cores = sum(line.startswith("processor") for line in lines)
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "keras", "tensorflow"))
    return (
        f"{cores} cores of {model}, Linux {platform.release()}, Python {platform.python_version()}, {libraries}; {ROUNDS} rounds in pairs."
    )
