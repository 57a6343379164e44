"""The commands that take two datasets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import click

from prep.answer import DATA_PROBLEM, DONE, answer, json_option
from prep.diffing import diff_datasets, difference_text
from prep.errors import ConflictError
from prep.flags import PATH
from prep.merging import merge_datasets
from prep.text import printable
from prep.union import MergeOptions


@click.command(short_help="Say how dataset B differs from dataset A.")
@click.argument("a", type=PATH)
@click.argument("b", type=PATH)
@click.option("--deep", is_flag=True, help="Read the arrays of IDs in both where no sha256 says whether they are the same.")
@click.option("--all", "show_all", is_flag=True, help="Show every ID, not only the first ten of each kind.")
@click.option("--exit-code", is_flag=True, help="Leave with exit code 1 if there is a difference, or if one cannot be ruled out.")
@json_option
def diff(a: Path, b: Path, *, deep: bool, show_all: bool, exit_code: bool, as_json: bool) -> int:
    """Say how dataset B differs from dataset A.

    Told are IDs added, removed, relabelled, moved to another split or group, and with changed content, classes in
    another order, and another recipe. A and B are dataset folders or manifests. Content is compared by the manifests'
    sha256, else by fingerprint, else by shape and dtype; IDs of which that does not tell whether they are the same are
    counted, and --deep reads them. The exit code is 0 whether or not there is a difference, as one is no fault of the
    data, unless --exit-code is given.

    \b
    Examples:
      prep diff data/ data-new/
      prep diff backup/manifest.csv data/ --all --exit-code
    """  # noqa: D301  # \b is click's mark for text that keeps its line breaks
    difference = diff_datasets(a, b, deep=deep)
    answer({"a": str(a), "b": str(b), **difference.as_dict()}, difference_text(difference, limit=None if show_all else 10), as_json=as_json)
    return DATA_PROBLEM if exit_code and (difference or difference.uncompared) else DONE


@click.command(short_help="Write the union of datasets A and B as a new dataset.")
@click.argument("a", type=PATH)
@click.argument("b", type=PATH)
@click.argument("out", type=PATH)
@click.option("--prefer", type=click.Choice(["a", "b"]), help="Where they contradict each other, take this one's row or class order.")
@click.option("--prefix-a", metavar="TEXT", default="", help="Put this before every ID of A, for example a/.")
@click.option("--prefix-b", metavar="TEXT", default="", help="Put this before every ID of B, for example b/.")
@click.option("--mixed", is_flag=True, help="Take arrays of another shape or dtype, or of another recipe, into one dataset.")
@click.option("--workers", type=click.IntRange(min=1), help="Files copied at the same time; by default one per processor.")
@json_option
def merge(
    a: Path, b: Path, out: Path, prefer: Literal["a", "b"] | None, workers: int | None, *, mixed: bool, as_json: bool, **values: Any
) -> int:
    """Write the union of the datasets A and B as the new dataset OUT; A and B stay as they are.

    An ID in both with equal content and labels becomes one row. Whatever contradicts is listed, nothing is written, and
    the exit code is 1: an ID with other content, label, split or group; a group that would stand in two splits; names
    that one disk cannot hold; arrays of another shape or dtype; other recipes; classes in another order. Nothing is
    resolved unless an option says how. Classes keep the order of A, and those that only B has come behind them.

    \b
    Examples:
      prep merge monday/ tuesday/ week/
      prep merge old/ new/ all/ --prefer b
      prep merge site1/ site2/ both/ --prefix-a site1/ --prefix-b site2/
    """  # noqa: D301  # as above
    options = MergeOptions(prefer=prefer, prefix_a=values["prefix_a"], prefix_b=values["prefix_b"], mixed=mixed)
    try:
        summary = merge_datasets(a, b, out, options, workers=workers)
    except ConflictError as error:
        if not as_json:
            raise
        click.echo("\n".join(printable(line) for line in f"error: {error}".splitlines()), err=True)
        told = {"error": error.message, "exit_code": DATA_PROBLEM, "conflicts": list(error.conflicts)}
        click.echo(json.dumps(told, default=vars, ensure_ascii=True, indent=2))
        return DATA_PROBLEM
    answer(summary.as_dict(), str(summary), as_json=as_json)
    return DONE
