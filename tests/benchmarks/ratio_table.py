"""What the benchmarks found, as the table that stands in the README."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from manifests.format.schema import format_shape

LIBRARIES = ("numpy", "keras", "tensorflow", "torch", "grain", "datasets", "litdata")


@dataclass(frozen=True)
class Shards:
    """What is read: so many files of one shape, so many samples in a batch, so many batches in a run."""

    files: int
    shape: tuple[int, ...]
    file_bytes: int
    batch_size: int
    batches: int

    @property
    def size(self) -> str:
        return f"{self.file_bytes / 1000:.0f} KB"

    def __str__(self) -> str:
        what = f"{self.files:,} shards of {format_shape(self.shape)} float32, {self.file_bytes:,} bytes each"
        return f"{what}, batches of {self.batch_size} in random order"


@dataclass(frozen=True)
class Ratio:
    """One line of the table of ratios; the rates are in samples a second. Without shards, `what` says what is read."""

    shards: Shards | None
    what: str
    against: str
    ratios: list[float]
    ours: float
    theirs: float

    def __str__(self) -> str:
        rates = f"{_rounded(self.ours)} | {_rounded(self.theirs)}"
        size = "" if self.shards is None else self.shards.size
        return f"| {self.what} | {size} | {self.against} | {_spread(self.ratios)} | {rates} |"


@dataclass(frozen=True)
class Figure:
    """One line of the table of figures that are held against nothing."""

    shards: Shards
    what: str
    unit: str
    values: list[float]

    def __str__(self) -> str:
        return f"| {self.what} | {self.shards.size} | {_spread(self.values)} {self.unit} |"


def lines_of(rows: list[Ratio | Figure], rounds: int) -> Iterator[str]:
    """Yield the lines of the report: what was read, the tables, and the machine."""
    for shards in dict.fromkeys(row.shards for row in rows if row.shards is not None):
        yield f"{shards.size}: {shards}."
    ratios = [row for row in rows if isinstance(row, Ratio)]
    figures = [row for row in rows if isinstance(row, Figure)]
    if ratios:
        yield from _table("figure | shards | against | ratio (median, lowest to highest) | ours, samples/s | theirs, samples/s", ratios)
    if figures:
        yield from _table("figure | shards | median, lowest to highest", figures)
    yield ""
    yield f"{_machine()}; {rounds} rounds in pairs."


def _table(head: str, rows: Iterable[Ratio | Figure]) -> Iterator[str]:
    yield ""
    yield f"| {head} |"
    yield "|" + "---|" * (head.count("|") + 1)
    yield from map(str, rows)


def _spread(values: list[float]) -> str:
    return f"**{statistics.median(values):.2f}** ({min(values):.2f} to {max(values):.2f})"


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
    libraries = ", ".join(_versions())
    return f"{cores} cores of {model}, Linux {platform.release()}, Python {platform.python_version()}, {libraries}"


def _versions() -> Iterator[str]:
    for name in LIBRARIES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
