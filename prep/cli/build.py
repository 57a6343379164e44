"""`prep build-shards` and `prep plan`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from manifests.rows.buffers import number_array, string_array
from manifests.rows.table import strings, value
from manifests.text import terminal_text
from prep.build.build import build_shards as build
from prep.build.build import plan_build
from prep.build.commit.relabelled import Relabelled, relabelled_by_plan, relabelled_rows, warning_of
from prep.build.plan.plan import ADD, KEEP, REBUILD
from prep.build.plan.prepare import Prepared
from prep.cli.flags.data_options import build_options, source_options
from prep.cli.flags.run_options import Tolerance, dask_option, executor_at, finish, reporter, run_options, tell_failures
from prep.cli.output import DONE, answer, json_option
from prep.progress.report import write_stderr
from prep.text import counted


@click.command("build-shards")
@source_options
@run_options
@json_option
def build_shards(out: Path, max_failures: Tolerance, progress: str, *, as_json: bool, source: Path, dask: str | None, **values: Any) -> int:
    """Build or update the dataset OUT from the raw data SOURCE.

    SOURCE is a folder of images or of .npy/.npz arrays with one folder per class, or a CSV or Parquet table beside the
    files that it names. A sample's ID is its file's path without the extension, or what the table says. Only what has
    changed is built again. Options that decide the dataset default to those of the last build; --forget resets one.
    --prune, and options that say how to run a build, are not repeated. A raw item that cannot be used is listed in
    OUT/failures.csv, and the others are built.

    \b
    Examples:
      prep build-shards photos/ data/ --size 32x32 --split train=0.8,val=0.1,test=0.1
      prep build-shards kaggle/train.csv data/ --label breed
      prep build-shards scans/ data/ --labels labels.csv --dtype float32
      prep build-shards photos/ data/ --recipe recipe.toml
      prep build-shards /nfs/photos /nfs/data --dask tcp://10.0.0.5:8786
    """  # noqa: D301  # as above
    options = build_options(values)
    with executor_at(dask, options.workers) as executor:
        summary = build(source, out, options, report=reporter(progress), executor=executor)
    return finish(summary, max_failures, progress=progress, as_json=as_json)


@click.command(short_help="Show what build-shards would add, rebuild, keep and remove.")
@source_options
@dask_option
@json_option
def plan(out: Path, *, as_json: bool, source: Path, dask: str | None, **values: Any) -> int:
    """Show what build-shards with the same arguments would add, rebuild, keep and remove; nothing is written.

    \b
    Example:
      prep plan photos/ data/
    """  # noqa: D301  # as above
    options = build_options(values)
    with executor_at(dask) as executor:
        prepared = plan_build(source, out, options, executor=executor)
    plan, old = prepared.plan, prepared.old
    gone = [] if old is None else strings(old.table["id"].take(number_array(plan.gone(old.table, prepared.failures))))
    relabelled = _relabelled(prepared, gone)
    add, rebuild, keep = (plan.some(action) for action in (ADD, REBUILD, KEEP))
    rows = {} if old is None else {at: value(old.table, "id", row) for at, row in sorted(plan.moved_from.items())}
    result: dict[str, Any] = {
        "add": strings(add["id"]),
        "rebuild": dict(zip(strings(rebuild["id"]), strings(rebuild["reason"]), strict=True)),
        "move": {value(plan.items, "id", at): row for at, row in rows.items()},
        "keep": strings(keep["id"]),
        "remove" if prepared.prune else "gone": gone,
        "relabelled": [vars(pair) for pair in relabelled],
        "failed": [vars(failure) for failure in prepared.failures],
    }
    tell_failures(prepared.failures, None)
    if relabelled:
        write_stderr(terminal_text(warning_of(relabelled, len(gone))))
    lines = [f"add      {id_}" for id_ in result["add"]] + [f"rebuild  {id_}: {reason}" for id_, reason in result["rebuild"].items()]
    lines += [f"move     {id_}: copied from {row}" for id_, row in result["move"].items()]
    lines += [f"{'remove' if prepared.prune else 'gone':<8} {id_}" for id_ in gone]
    lines.append(f"keep     {counted(len(keep), 'ID')}")
    answer(result, "\n".join(lines), as_json=as_json)
    return DONE


def _relabelled(prepared: Prepared, gone: Sequence[str]) -> list[Relabelled]:
    """Return the items that are gone and are, or will be, in the dataset under another label too."""
    old, several = prepared.old, prepared.recipe.may_give_several
    if prepared.prune or old is None:
        return []
    plan = prepared.plan
    found = relabelled_rows(old.table, string_array(gone), several=several)
    by_plan: list[Relabelled] = []
    if len(plan.gone_rows) and not plan.others_stay and "label" in old.columns:
        gone_rows = old.table.take(number_array(plan.gone_rows))
        by_plan = relabelled_by_plan(plan.to_build, gone_rows, several=several, by_content=prepared.by_content)
    known = {pair.gone for pair in found}
    return [*found, *(pair for pair in by_plan if pair.gone not in known)]
