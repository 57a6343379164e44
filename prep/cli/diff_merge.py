"""`prep diff` and `prep merge`: the commands that take two datasets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import click

from manifests.text import terminal_text
from prep.cli.flags.data_options import PATH
from prep.cli.output import DATA_PROBLEM, DONE, answer, json_option
from prep.datasets.diff.diff import diff_datasets, difference_text
from prep.datasets.merge.merge import merge_datasets
from prep.datasets.merge.union import MergeOptions
from prep.errors import ConflictError
from prep.progress.report import write_stderr


@click.command(short_help="Show how dataset B differs from dataset A.")
@click.argument("a", type=PATH)
@click.argument("b", type=PATH)
@click.option("--deep", is_flag=True, help="Read the arrays of IDs in both datasets where no sha256 can tell whether they are equal.")
@click.option("--all", "show_all", is_flag=True, help="Show every ID, not only the first ten of each kind.")
@click.option("--exit-code", is_flag=True, help="Exit with code 1 if there is a difference, or if one cannot be ruled out.")
@json_option
def diff(a: Path, b: Path, *, deep: bool, show_all: bool, exit_code: bool, as_json: bool) -> int:
    """Show how dataset B differs from dataset A.

    Lists IDs that were added, removed, relabelled, moved to another split or group, or whose content changed, classes in
    another order, and differences between the recipes. A and B are dataset folders or manifests. Content is compared by
    the manifests' sha256, else by fingerprint, else by shape and dtype. IDs for which these cannot tell are counted;
    --deep reads their arrays. The exit code is 0 even if there are differences, unless --exit-code is given.

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
@click.option("--prefer", type=click.Choice(["a", "b"]), help="In a conflict, take the row or class order of this dataset.")
@click.option("--prefix-a", metavar="TEXT", default="", help="Prefix for every ID of A, for example a/.")
@click.option("--prefix-b", metavar="TEXT", default="", help="Prefix for every ID of B, for example b/.")
@click.option("--mixed", is_flag=True, help="Allow arrays of different shapes or dtypes, or of different recipes, in one dataset.")
@click.option("--workers", type=click.IntRange(min=1), help="Number of files copied at the same time; by default one per processor.")
@json_option
def merge(
    a: Path, b: Path, out: Path, prefer: Literal["a", "b"] | None, workers: int | None, *, mixed: bool, as_json: bool, **values: Any
) -> int:
    """Write the union of the datasets A and B as the new dataset OUT; A and B are not changed.

    An ID in both with equal content and labels becomes one row. If the datasets conflict, every conflict is listed,
    nothing is written, and the exit code is 1. Conflicts are an ID with different content, label, split or group; a group
    that would be in two splits; names that cannot be on one disk; arrays of different shape or dtype; different recipes;
    classes in a different order. Nothing is resolved unless an option says how. Classes keep the order of A, followed by
    those that only B has.

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
        write_stderr(terminal_text(f"error: {error}", keep="\n"))
        told = {"error": error.message, "exit_code": DATA_PROBLEM, "conflicts": list(error.conflicts)}
        click.echo(json.dumps(told, default=vars, ensure_ascii=True, indent=2))
        return DATA_PROBLEM
    answer(summary.as_dict(), str(summary), as_json=as_json)
    return DONE
