"""Options that say how to run a build (workers, time limits, progress), and printing its failures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import click

from manifests.text import terminal_text
from prep.build.commit.summary import BuildSummary
from prep.cli.output import DATA_PROBLEM, DONE, answer
from prep.errors import UsageError
from prep.parallel.dask_cluster import open_dask
from prep.progress.events import JsonReporter
from prep.progress.report import Reporter, SilentReporter, StderrReporter, write_stderr
from prep.readers.parameters import exact_number
from prep.sources.listing import Failure

Command = TypeVar("Command", bound=Callable[..., Any])

_SHOWN_FAILURES = 20


@dataclass(frozen=True)
class Tolerance:
    """How many raw items may fail.

    Attributes:
        amount: items, or percent of those found.
        percent: which of the two.
    """

    amount: Fraction
    percent: bool = False

    def allows(self, failed: int, found: int) -> bool:
        """Return whether so many failures are few enough."""
        return failed * 100 <= self.amount * found if self.percent else failed <= self.amount

    def __str__(self) -> str:
        return f"{float(self.amount):g}%" if self.percent else str(self.amount)


class ToleranceParam(click.ParamType):  # type: ignore[type-arg]  # older releases of click are not generic
    """`N` items or `P%` of those found."""

    name = "N|P%"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Tolerance:
        """Read `3`, `2%` or `0.5%`."""
        if isinstance(value, Tolerance):
            return value
        text = str(value).strip()
        number = text.removesuffix("%")
        percent = number != text
        try:
            amount = exact_number(number)
        except (ValueError, ZeroDivisionError):
            amount = Fraction(-1)
        if "/" in number or amount < 0 or (percent and amount > 100) or (not percent and amount.denominator != 1):
            self.fail(f"{value!r} is neither a number of items nor a percentage; expected for example 10 or 0.5%", param, ctx)
        return Tolerance(amount, percent)


def run_options(command: Command) -> Command:
    """Add the options that say how to run a build."""
    command = dask_option(command)
    for option in reversed(
        (
            click.option(
                "--workers", type=click.IntRange(min=1), help="Worker processes; by default one per processor, fewer for few items."
            ),
            click.option(
                "--item-timeout",
                type=click.FloatRange(min=0),
                metavar="SECONDS",
                help="Seconds after which a raw item counts as failed; 0 for no limit. By default 600 in worker processes and no limit "
                "with one worker, which runs in a process of its own if this option is given.",
            ),
            click.option(
                "--max-failures",
                type=ToleranceParam(),
                metavar="N|P%",
                default="0",
                show_default=True,
                help="Number or percentage of the items found that may fail before the exit code is 1; the others are built in any case.",
            ),
            click.option(
                "--stop-after-failures",
                type=click.IntRange(min=1),
                metavar="N",
                help="Stop the build when N raw items have failed; the dataset stays as it was, and the same command resumes the build.",
            ),
            click.option(
                "--progress",
                type=click.Choice(["auto", "json", "none"]),
                default="auto",
                show_default=True,
                help="Progress on stderr: auto shows a bar on a terminal, elsewhere a line now and then; json prints an object per line.",
            ),
        )
    ):
        command = option(command)
    return command


def dask_option(command: Command) -> Command:
    """Add the option that lets a cluster do the work."""
    return click.option(
        "--dask", metavar="ADDRESS", help="Do the work on the Dask cluster whose scheduler has this address, such as tcp://10.0.0.5:8786."
    )(command)


@contextmanager
def executor_at(dask: str | None, workers: int | None = None) -> Iterator[Executor | None]:
    """Give the executor that `--dask` asks for; None without it.

    Raises:
        UsageError: it does not go with what else was asked for.
        WorkerError: there is no such cluster.
    """
    if dask is None:
        yield None
        return
    if workers is not None:
        raise UsageError("--workers are processes of this machine, and --dask is a cluster, which has its own: pass one of them")
    with open_dask(dask) as executor:
        yield executor


def reporter(progress: str) -> Reporter:
    """Return what `--progress` asks for."""
    kinds: dict[str, Callable[[], Reporter]] = {"auto": StderrReporter, "json": JsonReporter, "none": SilentReporter}
    return kinds[progress]()


def finish(summary: BuildSummary, max_failures: Tolerance, *, progress: str, as_json: bool) -> int:
    """Print what a build did, and return the exit code."""
    if progress != "json":  # there each failure was told as it came
        tell_failures(summary.failures, Path(summary.out))
    answer(summary.as_dict(), str(summary), as_json=as_json)
    return DONE if max_failures.allows(summary.failed, summary.found) else DATA_PROBLEM


def tell_failures(failures: Sequence[Failure], out: Path | None) -> None:
    """Print the first failures on stderr, and where the rest is."""
    for failure in failures[:_SHOWN_FAILURES]:
        write_stderr(terminal_text(f"failed: {failure.source}: {failure.stage}: {failure.error}"))
    if len(failures) > _SHOWN_FAILURES:
        where = "" if out is None else f"; all of them are in {os.fspath(out / 'failures.csv')}"
        write_stderr(f"failed: ... and {len(failures) - _SHOWN_FAILURES:,} more{where}")
