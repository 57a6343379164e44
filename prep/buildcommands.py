"""The commands that build a dataset, or say what a build would do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from prep.answer import DONE, answer, json_option
from prep.build import build_shards as build
from prep.build import plan_build
from prep.flags import build_options, source_options
from prep.runflags import Tolerance, finish, reporter, run_options, tell_failures
from prep.text import counted


@click.command("build-shards")
@source_options
@run_options
@json_option
def build_shards(out: Path, max_failures: Tolerance, progress: str, *, as_json: bool, source: Path, **values: Any) -> int:
    """Build or update the dataset OUT from the raw data SOURCE.

    SOURCE is a folder of images or of .npy/.npz arrays with one folder per class, or a CSV or Parquet table beside the
    files that it names. A sample's ID is its file's path without the ending, or what the table says. Only what changed
    is built again; options left out are those of the last build. A raw item that cannot be used goes to
    OUT/failures.csv, and the others are built.

    \b
    Examples:
      prep build-shards photos/ data/ --size 32x32 --split train=0.8,val=0.1,test=0.1
      prep build-shards kaggle/train.csv data/ --label breed
      prep build-shards scans/ data/ --labels labels.csv --dtype float32
      prep build-shards photos/ data/ --recipe recipe.toml
    """  # noqa: D301  # as above
    summary = build(source, out, build_options(values), report=reporter(progress))
    return finish(summary, max_failures, progress=progress, as_json=as_json)


@click.command(short_help="Say what build-shards would add, rebuild, keep and remove.")
@source_options
@json_option
def plan(out: Path, *, as_json: bool, source: Path, **values: Any) -> int:
    """Say what build-shards with the same arguments would add, rebuild, keep and remove; write nothing.

    \b
    Example:
      prep plan photos/ data/
    """  # noqa: D301  # as above
    prepared = plan_build(source, out, build_options(values))
    plan = prepared.plan
    gone = plan.gone_without(prepared.failures)
    result = {
        "add": [record.id for record in plan.add],
        "rebuild": {record.id: reason for record, reason in plan.rebuild},
        "move": {record.id: row for record, row in plan.move},
        "keep": [record.id for record in plan.keep],
        "remove" if prepared.prune else "gone": gone,
        "failed": [vars(failure) for failure in prepared.failures],
    }
    tell_failures(prepared.failures, None)
    lines = [f"add      {record.id}" for record in plan.add] + [f"rebuild  {record.id}: {reason}" for record, reason in plan.rebuild]
    lines += [f"move     {record.id}: copied from {row}" for record, row in plan.move]
    lines += [f"{'remove' if prepared.prune else 'gone':<8} {id_}" for id_ in gone]
    lines.append(f"keep     {counted(len(plan.keep), 'ID')}")
    answer(result, "\n".join(lines), as_json=as_json)
    return DONE
