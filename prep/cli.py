"""The command line: every command is a thin shell around one function of the package.

Exit codes: 0 done, 1 the data has a problem, 2 wrong usage, 130 after Ctrl-C, 143 after SIGTERM.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from manifests.errors import ManifestError
from manifests.store import load_manifest
from manifests.verification import verify as verify_dataset
from prep.adoption import AdoptOptions
from prep.adoption import adopt as adopt_arrays
from prep.answer import DATA_PROBLEM, DONE, INTERRUPTED, TERMINATED, WRONG_USAGE
from prep.answer import answer as _result
from prep.answer import json_option as _json_option
from prep.build import build_shards as build
from prep.build import plan_build
from prep.comparecommands import diff, merge
from prep.errors import PrepError, UsageError
from prep.executors import default_workers
from prep.flags import PATH, build_options, source_options, splits_of
from prep.inspection import inspect_dataset
from prep.interrupts import COMPLETED, Terminated, sigterm_raises
from prep.params import SplitsParam
from prep.readers import open_readers
from prep.records import Failure
from prep.report import StderrReporter
from prep.sources.table import TableOptions
from prep.text import counted, printable
from prep.verdict import Verification

_SHOWN_FAILURES = 20


def main() -> None:
    """Run the command line and leave with its exit code."""
    with sigterm_raises():
        sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; what goes wrong is one line on stderr, and JSON if that was asked for."""
    try:
        code = cli.main(list(arguments), prog_name="prep", standalone_mode=False)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context is not None else ""
        return _failed(arguments, f"{error.format_message()}{hint}", error.exit_code)
    except UsageError as error:
        return _failed(arguments, str(error), WRONG_USAGE)
    except (PrepError, ManifestError, OSError) as error:
        return _failed(arguments, str(error), DATA_PROBLEM)
    except (click.Abort, KeyboardInterrupt) as error:  # click makes an Abort of a KeyboardInterrupt
        return _failed(arguments, f"interrupted; {_left_by(error.__cause__ or error)}", INTERRUPTED)
    except Terminated as error:
        return _failed(arguments, f"terminated; {_left_by(error)}", TERMINATED)
    return code if isinstance(code, int) else DONE


def _left_by(interrupt: BaseException) -> str:
    """Say in what state an interrupt left the dataset."""
    return COMPLETED if COMPLETED in getattr(interrupt, "__notes__", ()) else "what was there before is unchanged"


def _failed(arguments: Sequence[str], message: str, code: int) -> int:
    for line in f"error: {message}".splitlines():
        click.echo(printable(line), err=True)
    if "--json" in arguments:
        click.echo(json.dumps({"error": message, "exit_code": code}, ensure_ascii=True, indent=2))
    return code


@click.group(no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="shardfeed")
def cli() -> None:
    """Turn raw data into one .npy shard per ID and a CSV manifest of IDs and labels.

    \b
    Example:
      prep build-shards photos/ data/ --size 32x32 --split train=0.8,val=0.1,test=0.1
    """  # noqa: D301  # \b is click's mark for text that keeps its line breaks


@cli.command("build-shards")
@source_options
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes; by default one per processor, fewer for few items.")
@click.option(
    "--max-failures", type=click.IntRange(min=0), default=0, show_default=True, help="Raw items that may fail before the exit code is 1."
)
@_json_option
def build_shards(out: Path, workers: int | None, max_failures: int, *, as_json: bool, source: Path, **values: Any) -> int:
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
    """  # noqa: D301  # as above
    summary = build(source, out, build_options(workers, values))
    _tell_failures(summary.failures, out)
    _result(summary.as_dict(), str(summary), as_json=as_json)
    return DATA_PROBLEM if summary.failed > max_failures else DONE


@cli.command(short_help="Say what build-shards would add, rebuild, keep and remove.")
@source_options
@_json_option
def plan(out: Path, *, as_json: bool, source: Path, **values: Any) -> int:
    """Say what build-shards with the same arguments would add, rebuild, keep and remove; write nothing.

    \b
    Example:
      prep plan photos/ data/
    """  # noqa: D301  # as above
    prepared = plan_build(source, out, build_options(None, values))
    plan = prepared.plan
    gone = plan.gone_without(prepared.failures)
    result = {
        "add": [record.id for record in plan.add],
        "rebuild": {record.id: reason for record, reason in plan.rebuild},
        "keep": [record.id for record in plan.keep],
        "remove" if prepared.prune else "gone": gone,
        "failed": [vars(failure) for failure in prepared.failures],
    }
    _tell_failures(prepared.failures, None)
    lines = [f"add      {record.id}" for record in plan.add] + [f"rebuild  {record.id}: {reason}" for record, reason in plan.rebuild]
    lines += [f"{'remove' if prepared.prune else 'gone':<8} {id_}" for id_ in gone]
    lines.append(f"keep     {counted(len(plan.keep), 'ID')}")
    _result(result, "\n".join(lines), as_json=as_json)
    return DONE


@cli.command(short_help="Hold a dataset against its manifest: missing, extra, damaged, changed files.")
@click.argument("out", type=PATH)
@click.option(
    "--quick/--deep", default=False, help="Look at existence, header and size only, or (default) compare every file's SHA-256 too."
)
@click.option("--workers", type=click.IntRange(min=1), help="Files read at the same time; by default one per processor.")
@_json_option
def verify(out: Path, workers: int | None, *, quick: bool, as_json: bool) -> int:
    """Hold the dataset OUT against its manifest: missing, extra, damaged and changed files; two IDs that share a file.

    Every byte is read, so that a single flipped bit is found, unless --quick is given. An ID without sha256 in the
    manifest is checked by what its row does say, and the summary counts such IDs. Shards that have further names
    (hard links) are told on stderr, but are no problem. The exit code is 1 if there is a problem.

    \b
    Examples:
      prep verify data/
      prep verify data/ --quick
      prep verify data/ --deep --workers 8
    """  # noqa: D301  # as above
    manifest, report = load_manifest(out), StderrReporter()
    with open_readers(workers or default_workers(), len(manifest)) as readers, report.progress(len(manifest), "verify") as advance:
        verification = Verification.of(manifest, verify_dataset(manifest, deep=not quick, run=readers.run, advance=advance), deep=not quick)
    for note in verification.notes():
        report.note(note)
    _result(verification.as_dict(), f"{verification.text()}{out}: {verification}", as_json=as_json)
    return DATA_PROBLEM if verification.problems else DONE


@cli.command(short_help="Count IDs by split and class; array, sizes, failures.")
@click.argument("out", type=PATH)
@_json_option
def inspect(out: Path, *, as_json: bool) -> int:
    """Count what the dataset OUT holds: IDs by split and class, array shape and dtype, bytes, failures.

    \b
    Example:
      prep inspect data/
    """  # noqa: D301  # as above
    inspection = inspect_dataset(out)
    _result(inspection.as_dict(), str(inspection), as_json=as_json)
    return DONE


@cli.command(short_help="Write a manifest for .npy files that exist already.")
@click.argument("folder", metavar="DIR", type=PATH)
@click.option("--labels", required=True, type=PATH, help="CSV, TSV or Parquet table of IDs and labels, or a JSON object from ID to label.")
@click.option("--id-column", help="Column of the table that names the samples.")
@click.option("--label", "label_columns", multiple=True, help="Column of the table with the label; repeat it for several.")
@click.option("--allow-empty-labels", is_flag=True, help="Take arrays that have no label.")
@click.option(
    "--split", "splits", type=SplitsParam(), metavar="NAME=SHARE,...", help="Shares of the splits, for example train=0.8,val=0.2."
)
@click.option("--seed", type=int, help="Seed of the splits; 0 by default.")
@_json_option
def adopt(folder: Path, labels: Path, *, as_json: bool, **values: Any) -> int:
    """Write a manifest for the <ID>.npy files that DIR has already; nothing is copied or changed.

    \b
    Example:
      prep adopt data/ --labels labels.json --split train=0.8,val=0.2
    """  # noqa: D301  # as above
    table = TableOptions(
        id_column=values["id_column"], label_columns=values["label_columns"], allow_empty_labels=values["allow_empty_labels"]
    )
    manifest = adopt_arrays(folder, labels, AdoptOptions(table=table, splits=splits_of(values["splits"], values["seed"])))
    result = {"path": str(folder), "ids": len(manifest), "splits": manifest.split_counts(), "classes": list(manifest.classes)}
    _result(result, f"{folder}: {counted(len(manifest), 'ID')}; {manifest.array}", as_json=as_json)
    return DONE


cli.add_command(diff)
cli.add_command(merge)


def _tell_failures(failures: Sequence[Failure], out: Path | None) -> None:
    for failure in failures[:_SHOWN_FAILURES]:
        click.echo(printable(f"failed: {failure.source}: {failure.stage}: {failure.error}"), err=True)
    if len(failures) > _SHOWN_FAILURES:
        where = "" if out is None else f"; all of them are in {out / 'failures.csv'}"
        click.echo(f"failed: ... and {len(failures) - _SHOWN_FAILURES:,} more{where}", err=True)
