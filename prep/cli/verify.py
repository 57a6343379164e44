"""`prep verify`: check a dataset against its manifest, and look for leaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from manifests.manifest import Manifest
from manifests.storage.store import load_manifest
from manifests.verification.verify import array_count
from manifests.verification.verify import verify as verify_dataset
from prep.build.commit.relabelled import contradictions
from prep.cli.flags.data_options import PATH
from prep.cli.output import DATA_PROBLEM, DONE, answer, json_option
from prep.datasets.leaks.image_hash import Look, check_hashing, look_at
from prep.datasets.leaks.leaks import DEFAULT_DISTANCE, MAX_DISTANCE, Leaks, find_leaks, look_tasks
from prep.datasets.verification import Verification
from prep.errors import UsageError
from prep.parallel.executors import default_workers
from prep.parallel.hashing import open_readers
from prep.progress.report import Reporter, StderrReporter
from prep.text import counted


@click.command(short_help="Check a dataset against its manifest: missing, extra, damaged, changed files.")
@click.argument("out", type=PATH)
@click.option("--quick/--deep", default=False, help="Check existence, header and size only, or compare every file's SHA-256 too (default).")
@click.option("--leaks", is_flag=True, help="Also look for leaks between splits or folds: groups, identical shards, near-identical images.")
@click.option(
    "--near-distance",
    type=click.IntRange(min=0, max=MAX_DISTANCE),
    help=f"Number of bits, of 64, in which the perceptual hashes of near-identical images may differ; {DEFAULT_DISTANCE} by default.",
)
@click.option("--no-near", is_flag=True, help="Do not look for near-identical images, which needs ImageHash.")
@click.option("--workers", type=click.IntRange(min=1), help="Number of files read at the same time; by default one per processor.")
@json_option
def verify(out: Path, workers: int | None, *, quick: bool, as_json: bool, **values: Any) -> int:
    """Check the dataset OUT against its manifest: missing, extra, damaged and changed files; IDs that share a file.

    Every byte is read, so that a single flipped bit is found, unless --quick is given. An ID without sha256 in the
    manifest is checked by what its row does say, and the summary counts such IDs. Shards with hard links elsewhere are
    reported on stderr, but are not problems. Neither are IDs with the same bytes under two labels, as after a file was
    moved to another class folder, unless --leaks is given. The exit code is 1 if there is a problem.

    With --leaks, whatever makes validation results too good is a problem too: IDs of one group in two splits or folds,
    shards with identical bytes, and images that look the same. So are identical bytes under two labels, one of which is
    wrong. Images of a single colour, and arrays that are not images, are compared by their bytes only.

    \b
    Examples:
      prep verify data/
      prep verify data/ --quick
      prep verify data/ --deep --workers 8
      prep verify data/ --quick --leaks
    """  # noqa: D301  # as above
    distance = _near_distance(leaks=values["leaks"], distance=values["near_distance"], no_near=values["no_near"])
    manifest, report = load_manifest(out), StderrReporter()
    with open_readers(workers or default_workers(), len(manifest)) as readers, report.progress(array_count(manifest), "verify") as advance:
        findings = [*verify_dataset(manifest, deep=not quick, run=readers.run, advance=advance), *contradictions(manifest)]
        verification = Verification.of(manifest, findings, deep=not quick, with_contradictions=values["leaks"])
    found = _leaks(manifest, workers, report, distance) if values["leaks"] else None
    for note in [*verification.notes(), *(found.notes() if found else [])]:
        report.note(note)
    result = verification.as_dict() | ({"leaks": found.as_dict()} if found else {})
    leaked = f"; {counted(len(found.found), 'leak')}" if found else ""
    answer(result, f"{verification.text()}{found.text() if found else ''}{out}: {verification}{leaked}", as_json=as_json)
    return DATA_PROBLEM if verification.problems or (found and found.found) else DONE


def _near_distance(*, leaks: bool, distance: int | None, no_near: bool) -> int | None:
    """Return by how many bits near images may differ; None if they are not looked for."""
    if (distance is not None or no_near) and not leaks:
        raise UsageError("--near-distance and --no-near need --leaks")
    if distance is not None and no_near:
        raise UsageError("--near-distance and --no-near cannot be used together")
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
