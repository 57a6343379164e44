"""What the benchmarks share: shards to read, paired measuring, and the table of ratios at the end.

A ratio is measured in pairs: each round times the other way and then ours, so that a machine whose speed drifts moves
both; one round before them counts for nothing. What is reported is the median over the rounds. With
`--benchmark-disable`, as in the ordinary test run, everything runs once on a few files to show that it works, and no ratio
is held against its bound.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from manifests import Manifest, load_manifest, write_manifest
from manifests.format.schema import format_shape

# Test files are imported by their path, so the modules that they share need a place to be found at; so do worker processes, which
# are given this path.
sys.path.append(str(Path(__file__).parent))

from photographs import Photographs, write_photographs  # as above
from pipelines import Files, Open, Walk  # as above
from ratio_table import Figure, Ratio, Shards, lines_of  # as above

ROUNDS = 9

TRIES = 3
"""Runs of each setting of a library, to find its best before it is measured."""

MEASURED = {
    "12 KB": Shards(files=50_000, shape=(32, 32, 3), file_bytes=12_416, batch_size=64, batches=200),
    "131 KB": Shards(files=6_000, shape=(32, 32, 32, 1), file_bytes=131_200, batch_size=32, batches=187),
}
"""What is read to measure. The first kind is small enough that the calls cost more than the bytes, the second is not."""

SHOWN = {
    "12 KB": Shards(files=640, shape=(32, 32, 3), file_bytes=12_416, batch_size=64, batches=10),
    "131 KB": Shards(files=160, shape=(32, 32, 32, 1), file_bytes=131_200, batch_size=32, batches=5),
}
"""What is read to see that it works."""


@dataclass
class Scale:
    """How much is read and how often, and what came of it."""

    measured: bool
    shards: dict[str, Shards]
    rounds: int
    tries: int
    rows: list[Ratio | Figure] = field(default_factory=list)


_SCALE = pytest.StashKey[Scale]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SCALE] = Scale(True, MEASURED, ROUNDS, TRIES) if config.getoption("benchmark_enable") else Scale(False, SHOWN, 1, 1)


@pytest.fixture(scope="session")
def scale(request: pytest.FixtureRequest) -> Scale:
    return request.config.stash[_SCALE]


@pytest.fixture(scope="session")
def written(scale: Scale, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Manifest]]:
    """Return a function that writes the shards of one kind, once, and reads their manifest; they go when all is measured."""
    manifests: dict[str, Manifest] = {}

    def write(kind: str) -> Manifest:
        if kind not in manifests:
            manifests[kind] = _write(scale.shards[kind], tmp_path_factory.mktemp("shards"))
        return manifests[kind]

    yield write
    for manifest in manifests.values():
        shutil.rmtree(manifest.root)


@pytest.fixture(scope="session")
def photographs(scale: Scale, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Photographs]:
    """Photographs to build from, the same for all builds of a run; they go when all is measured."""
    root = write_photographs(tmp_path_factory.mktemp("photographs"), 5_000 if scale.measured else 40)
    yield Photographs(root, sorted(root.rglob("*.jpg")), 5 if scale.measured else 1)
    shutil.rmtree(root)


@pytest.fixture(scope="session")
def compiled(photographs: Photographs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let processes that are started find their modules compiled, as those of an installed package are, whatever the environment says.

    Two first builds compile them, beside their sources; they count for nothing.
    """
    folder = tmp_path_factory.mktemp("compiled")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        for out in (folder / "first", folder / "again"):
            arguments = ["build-shards", photographs.paths[0].parent, out, "--workers", "2"]
            subprocess.run([sys.executable, "-c", "from prep.cli.app import main; main()", *arguments], check=True, capture_output=True)
        yield
    shutil.rmtree(folder)


def _write(shards: Shards, root: Path) -> Manifest:
    ids = [f"{number:06d}" for number in range(shards.files)]
    (root / "shards").mkdir()
    sample = np.random.default_rng(0).random(shards.shape, dtype=np.float32)
    for number, id_ in enumerate(ids):
        np.save(root / "shards" / f"{id_}.npy", sample + np.float32(number % 10))
    assert (root / "shards" / f"{ids[0]}.npy").stat().st_size == shards.file_bytes
    labels = [str(number % 10) for number in range(shards.files)]
    columns = {"id": ids, "label": labels, "shape": format_shape(shards.shape), "dtype": "float32"}
    write_manifest(pd.DataFrame(columns), root)
    return load_manifest(root)


@pytest.fixture(params=list(MEASURED))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def shards(kind: str, scale: Scale) -> Shards:
    return scale.shards[kind]


@pytest.fixture
def dataset(kind: str, written: Callable[[str], Manifest]) -> Manifest:
    """Shards of ten classes; sample i is one array plus its class. In the page cache, as they were just written."""
    return written(kind)


@pytest.fixture
def part(dataset: Manifest, shards: Shards) -> Manifest:
    """As many samples as one run reads, from everywhere in the dataset, so that a run is a pass."""
    return dataset.where(np.random.default_rng(1).permutation(len(dataset)) < shards.batches * shards.batch_size)


@pytest.fixture
def files(part: Manifest, shards: Shards) -> Files:
    """The same samples, for who reads no manifests."""
    paths = [os.path.join(part.root, path) for path in part.paths]
    return Files(paths, [int(label) for label in part.frame["label"]], shards.shape, shards.batch_size)


@pytest.fixture
def compare(benchmark: Any, scale: Scale, shards: Shards) -> Callable[..., float]:
    """Measure two ways of one piece of work in pairs, note a line of the table, and return the median ratio.

    `of_others` says that what is read are not the shards of this kind; what they are stands in `what` then.
    """

    def measure(
        what: str,
        against: str,
        ours: Callable[[], object],
        theirs: Callable[[], object],
        samples: int,
        *,
        before_ours: Callable[[], object] = lambda: None,
        before_theirs: Callable[[], object] = lambda: None,
        of_others: bool = False,
    ) -> float:
        others: list[float] = []

        def time_theirs() -> None:
            before_theirs()
            start = time.perf_counter()
            theirs()
            others.append(time.perf_counter() - start)
            before_ours()

        benchmark.pedantic(ours, setup=time_theirs, rounds=scale.rounds, iterations=1, warmup_rounds=int(scale.measured))
        if not scale.measured:
            return float("nan")
        mine = benchmark.stats.stats.data
        other = others[-len(mine) :]
        ratios = [theirs / ours for theirs, ours in zip(other, mine, strict=True)]
        rate, other_rate = samples / statistics.median(mine), samples / statistics.median(other)
        scale.rows.append(Ratio(None if of_others else shards, what, against, ratios, rate, other_rate))
        benchmark.extra_info["ratio"] = statistics.median(ratios)
        return statistics.median(ratios)

    return measure


@pytest.fixture
def note(scale: Scale) -> Callable[[str, str, float, float, int], float]:
    """Note a line of the table for what is too long to be measured more than once, and return the ratio."""

    def add(what: str, against: str, ours: float, theirs: float, samples: int) -> float:
        if scale.measured:
            scale.rows.append(Ratio(None, what, against, [theirs / ours], samples / ours, samples / theirs))
        return theirs / ours

    return add


@pytest.fixture
def tell(scale: Scale, request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return a function that prints a line when measuring."""

    def write(line: str) -> None:
        if scale.measured:
            request.config.pluginmanager.get_plugin("terminalreporter").write_line(line)

    return write


@pytest.fixture
def compare_walks(compare: Callable[..., float], shards: Shards) -> Callable[..., float]:
    """Measure two pipelines in pairs, each from the second batch of a pass on."""

    def measure(what: str, against: str, ours: Open, theirs: Open, batches: int) -> float:
        with Walk(ours, batches) as mine, Walk(theirs, batches) as other:

            def before_ours() -> None:
                other.stop()
                mine.start()

            def before_theirs() -> None:
                mine.stop()
                other.start()

            samples = (batches - 1) * shards.batch_size
            return compare(what, against, mine.finish, other.finish, samples, before_ours=before_ours, before_theirs=before_theirs)

    return measure


@pytest.fixture
def report(benchmark: Any, scale: Scale, shards: Shards) -> Callable[[str, str, Callable[[], float]], None]:
    """Take a figure that is held against nothing, once a round, and note a line of the table."""

    def measure(what: str, unit: str, take: Callable[[], float]) -> None:
        values: list[float] = []
        benchmark.pedantic(lambda: values.append(take()), rounds=scale.rounds, iterations=1, warmup_rounds=int(scale.measured))
        if scale.measured:
            scale.rows.append(Figure(shards, what, unit, values[-scale.rounds :]))

    return measure


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    rows = config.stash[_SCALE].rows
    if rows:
        terminalreporter.write_line("")
        for line in lines_of(rows, ROUNDS):
            terminalreporter.write_line(line)
