"""`prep retry`: build the items that failed again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from manifests.format.schema import FAILURES_NAME, MANIFEST_NAME
from prep.build.build import build_shards
from prep.build.recipe.last_build import last_source
from prep.build.recipe.options import BuildOptions
from prep.cli.flags.data_options import PATH, allow_code_option
from prep.cli.flags.run_options import Tolerance, executor_at, finish, reporter, run_options
from prep.cli.output import answer, json_option
from prep.errors import UsageError


@click.command(short_help="Build the items that failed again, and nothing else.")
@click.argument("out", type=PATH)
@click.option("--source", type=PATH, help="Where the raw data is now, if it has moved since the last build.")
@allow_code_option
@run_options
@json_option
def retry(
    out: Path,
    source: Path | None,
    max_failures: Tolerance,
    progress: str,
    *,
    as_json: bool,
    dask: str | None,
    **values: Any,
) -> int:
    """Build the items that failed in the dataset OUT again, and nothing else, from the source of its last build.

    Items that failed for a temporary reason (an unmounted disk, a time limit, a killed worker), or whose files have been
    repaired since, get their rows, built by the dataset's recipe and in the split that they had. Items that fail again stay in
    OUT/failures.csv with the new reason; those that the source no longer has are removed from it. All other rows and
    shards stay as they are: files that are new, changed or gone wait for the next build-shards. If an item would change
    the recipe of the others, as a first 16-bit image among 8-bit ones would, the command only says so and builds nothing.

    The number of raw items found, in the result and for a percentage given to --max-failures, is the number tried again.

    \b
    Examples:
      prep retry data/
      prep retry data/ --item-timeout 3600
      prep retry data/ --source /mnt/moved/photos
    """  # noqa: D301  # \b is click's mark for text that keeps its line breaks
    if not (out / MANIFEST_NAME).is_file():
        raise UsageError(f"{out}: is not a dataset; build it first")
    if not (out / FAILURES_NAME).is_file():
        answer({"out": str(out), "failed": 0}, f"{out}: nothing failed, so there is nothing to retry", as_json=as_json)
        return 0
    options = BuildOptions(only_failed=True, **values)
    with executor_at(dask, options.workers) as executor:
        summary = build_shards(source or last_source(out), out, options, report=reporter(progress), executor=executor)
    return finish(summary, max_failures, progress=progress, as_json=as_json)
