"""`prep retry`: what failed, once more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from manifests.schema import FAILURES_NAME, MANIFEST_NAME
from prep.answer import answer, json_option
from prep.build import build_shards
from prep.errors import UsageError
from prep.flags import PATH
from prep.remembering import last_build
from prep.runflags import Tolerance, finish, reporter, run_options


@click.command(short_help="Build again what failed, and nothing else, from the source of the last build.")
@click.argument("out", type=PATH)
@click.option("--source", type=PATH, help="Where the raw data are now, if not where the last build found them.")
@run_options
@json_option
def retry(
    out: Path,
    source: Path | None,
    max_failures: Tolerance,
    progress: str,
    *,
    as_json: bool,
    **values: Any,
) -> int:
    """Build again what failed in the dataset OUT, and nothing else, from the source of its last build.

    What failed for a passing reason (a disk that was away, too little time, a killed worker) or has been mended since
    gets its row, by the recipe of the others and in the split that it had; what fails again stays in OUT/failures.csv
    with its new reason, and what the source no longer has leaves it. All other rows and shards stay as they are: what is
    new, changed or gone in the source waits for the next build-shards. Where that would change the recipe of the others,
    as with a first image in colour among grey ones, nothing is done but to say so; nor is anything if nothing failed.

    The raw items that the result counts as found, and that --max-failures takes its percent of, are those tried again.

    \b
    Examples:
      prep retry data/
      prep retry data/ --item-timeout 3600
      prep retry data/ --source /mnt/moved/photos
    """  # noqa: D301  # \b is click's mark for text that keeps its line breaks
    if not (out / MANIFEST_NAME).is_file():
        raise UsageError(f"{out}: holds no dataset; build it first")
    if not (out / FAILURES_NAME).is_file():
        answer({"out": str(out), "failed": 0}, f"{out}: nothing failed, so nothing is to be done again", as_json=as_json)
        return 0
    last = last_build(out, source=source)
    options = replace(last.options, only_failed=True, **values)
    summary = build_shards(last.source, out, options, report=reporter(progress))
    return finish(summary, max_failures, progress=progress, as_json=as_json)
