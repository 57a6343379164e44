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
from manifests.manifest import Manifest
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
from prep.flags import PATH, build_options, source_options, split_options, splits_of
from prep.inspection import inspect_dataset
from prep.interrupts import COMPLETED, GOES_ON, Terminated, sigterm_raises
from prep.leaks import DEFAULT_DISTANCE, MAX_DISTANCE, Leaks, find_leaks, look_tasks
from prep.looks import Look, check_hashing, look_at
from prep.readers import open_readers
from prep.recipecommand import recipe
from prep.report import Reporter, StderrReporter
from prep.retrycommand import retry
from prep.runflags import Tolerance, finish, reporter, run_options, tell_failures
from prep.sources.table import TableOptions
from prep.text import counted, printable
from prep.verdict import Verification
from prep.workarea import KEPT


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
        return _failed(arguments, f"{error}{_kept_by(error)}", DATA_PROBLEM)
    except (click.Abort, KeyboardInterrupt) as error:  # click makes an Abort of a KeyboardInterrupt
        return _failed(arguments, f"interrupted; {_left_by(error.__cause__ or error)}", INTERRUPTED)
    except Terminated as error:
        return _failed(arguments, f"terminated; {_left_by(error)}", TERMINATED)
    return code if isinstance(code, int) else DONE


def _left_by(interrupt: BaseException) -> str:
    """Say in what state an interrupt left the dataset."""
    if COMPLETED in getattr(interrupt, "__notes__", ()):
        return COMPLETED
    return f"what was there before is unchanged{_kept_by(interrupt)}"


def _kept_by(error: BaseException) -> str:
    """Say, behind what ended a build, that the next one can go on from where it was."""
    notes = getattr(error, "__notes__", ())
    kept = next((note for note in notes if note.endswith(KEPT)), "")
    # Who was interrupted knows how many items are kept of how many.
    return f"; {next((note for note in notes if note.startswith(GOES_ON)), kept)}" if kept else ""


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
@run_options
@_json_option
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


@cli.command(short_help="Say what build-shards would add, rebuild, keep and remove.")
@source_options
@_json_option
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
    _result(result, "\n".join(lines), as_json=as_json)
    return DONE


@cli.command(short_help="Hold a dataset against its manifest: missing, extra, damaged, changed files.")
@click.argument("out", type=PATH)
@click.option(
    "--quick/--deep", default=False, help="Look at existence, header and size only, or (default) compare every file's SHA-256 too."
)
@click.option("--leaks", is_flag=True, help="Look also for what stands in two splits or folds: groups, identical shards, near images.")
@click.option(
    "--near-distance",
    type=click.IntRange(min=0, max=MAX_DISTANCE),
    help=f"Bits of 64 by which the perceptual hashes of near-identical images may differ; {DEFAULT_DISTANCE} by default.",
)
@click.option("--no-near", is_flag=True, help="Leave near-identical images; for these ImageHash must be installed.")
@click.option("--workers", type=click.IntRange(min=1), help="Files read at the same time; by default one per processor.")
@_json_option
def verify(out: Path, workers: int | None, *, quick: bool, as_json: bool, **values: Any) -> int:
    """Hold the dataset OUT against its manifest: missing, extra, damaged and changed files; two IDs that share a file.

    Every byte is read, so that a single flipped bit is found, unless --quick is given. An ID without sha256 in the
    manifest is checked by what its row does say, and the summary counts such IDs. Shards that have further names
    (hard links) are told on stderr, but are no problem. The exit code is 1 if there is a problem.

    With --leaks, what makes a validation too good counts as a problem too: IDs of one group in two splits or two folds,
    shards of identical bytes, and images that look the same. An image of one colour, or an array that is no image, is
    compared by its bytes only.

    \b
    Examples:
      prep verify data/
      prep verify data/ --quick
      prep verify data/ --deep --workers 8
      prep verify data/ --quick --leaks
    """  # noqa: D301  # as above
    distance = _near_distance(leaks=values["leaks"], distance=values["near_distance"], no_near=values["no_near"])
    manifest, report = load_manifest(out), StderrReporter()
    with open_readers(workers or default_workers(), len(manifest)) as readers, report.progress(len(manifest), "verify") as advance:
        verification = Verification.of(manifest, verify_dataset(manifest, deep=not quick, run=readers.run, advance=advance), deep=not quick)
    found = _leaks(manifest, workers, report, distance) if values["leaks"] else None
    for note in [*verification.notes(), *(found.notes() if found else [])]:
        report.note(note)
    result = verification.as_dict() | ({"leaks": found.as_dict()} if found else {})
    leaked = f"; {counted(len(found.found), 'leak')}" if found else ""
    _result(result, f"{verification.text()}{found.text() if found else ''}{out}: {verification}{leaked}", as_json=as_json)
    return DATA_PROBLEM if verification.problems or (found and found.found) else DONE


def _near_distance(*, leaks: bool, distance: int | None, no_near: bool) -> int | None:
    """Return by how many bits near images may differ; None if they are not looked for."""
    if (distance is not None or no_near) and not leaks:
        raise UsageError("--near-distance and --no-near go with --leaks")
    if distance is not None and no_near:
        raise UsageError("--near-distance and --no-near exclude each other")
    if not leaks or no_near:
        return None
    check_hashing()
    return DEFAULT_DISTANCE if distance is None else distance


def _leaks(manifest: Manifest, workers: int | None, report: Reporter, distance: int | None) -> Leaks:
    tasks, looks = look_tasks(manifest, near=distance is not None), list[Look]()
    count = sum(len(task.positions) for task in tasks)
    with open_readers(workers or default_workers(), count) as readers, report.progress(count, "leaks") as advance:

        def take(done: list[Look]) -> None:
            looks.extend(done)
            advance(len(done))

        readers.run(look_at, tasks, take)
    return find_leaks(manifest, looks, distance=distance)


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
@split_options
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
    manifest = adopt_arrays(folder, labels, AdoptOptions(table=table, splits=splits_of(values)))
    result = {"path": str(folder), "ids": len(manifest), "splits": manifest.split_counts(), "classes": list(manifest.classes)}
    _result(result, f"{folder}: {counted(len(manifest), 'ID')}; {manifest.array}", as_json=as_json)
    return DONE


cli.add_command(diff)
cli.add_command(merge)
cli.add_command(recipe)
cli.add_command(retry)
