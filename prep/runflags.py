"""The flags that say how to run a build, not what to build, and how its failures are told."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import click

from prep.answer import DATA_PROBLEM, DONE, answer
from prep.events import JsonReporter
from prep.numbers import exact_number
from prep.records import Failure
from prep.report import Reporter, SilentReporter, StderrReporter
from prep.summary import BuildSummary
from prep.text import printable

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
            self.fail(f"{value!r} is neither a number of items nor a share; expected for example 10 or 0.5%", param, ctx)
        return Tolerance(amount, percent)


def run_options(command: Command) -> Command:
    """Add the options that say how to run a build."""
    for option in reversed(
        (
            click.option(
                "--workers", type=click.IntRange(min=1), help="Worker processes; by default one per processor, fewer for few items."
            ),
            click.option(
                "--item-timeout",
                type=click.FloatRange(min=0),
                metavar="SECONDS",
                help="Time that one raw item may take before it counts as failed; 0 for no limit. By default 600 in worker "
                "processes and no limit with one worker, which becomes a process of its own when this is given.",
            ),
            click.option(
                "--max-failures",
                type=ToleranceParam(),
                metavar="N|P%",
                default="0",
                show_default=True,
                help="Raw items, or percent of those found, that may fail before the exit code is 1; all others are built in any case.",
            ),
            click.option(
                "--stop-after-failures",
                type=click.IntRange(min=1),
                metavar="N",
                help="End the build when N raw items have failed; the dataset stays as it was, and the same command goes on.",
            ),
            click.option(
                "--progress",
                type=click.Choice(["auto", "json", "none"]),
                default="auto",
                show_default=True,
                help="On stderr: a bar on a terminal and a line now and then elsewhere; or one JSON object a line; or nothing.",
            ),
        )
    ):
        command = option(command)
    return command


def reporter(progress: str) -> Reporter:
    """Return what `--progress` asks for."""
    kinds: dict[str, Callable[[], Reporter]] = {"auto": StderrReporter, "json": JsonReporter, "none": SilentReporter}
    return kinds[progress]()


def finish(summary: BuildSummary, max_failures: Tolerance, *, progress: str, as_json: bool) -> int:
    """Tell what a build did, and return the exit code."""
    if progress != "json":  # there each failure was told as it came
        tell_failures(summary.failures, Path(summary.out))
    answer(summary.as_dict(), str(summary), as_json=as_json)
    return DONE if max_failures.allows(summary.failed, summary.found) else DATA_PROBLEM


def tell_failures(failures: Sequence[Failure], out: Path | None) -> None:
    """Tell the first failures on stderr, and where the rest is."""
    for failure in failures[:_SHOWN_FAILURES]:
        click.echo(printable(f"failed: {failure.source}: {failure.stage}: {failure.error}"), err=True)
    if len(failures) > _SHOWN_FAILURES:
        where = "" if out is None else f"; all of them are in {os.fspath(out / 'failures.csv')}"
        click.echo(f"failed: ... and {len(failures) - _SHOWN_FAILURES:,} more{where}", err=True)
