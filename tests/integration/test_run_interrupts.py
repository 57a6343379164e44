"""What ends a build early: signals, a full disk, a dying worker, a second build. The dataset stays, nothing else does."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from command_line import (
    STATE_FOLDER,
    Outcome,
    build,
    check_leaves_no_trace,
    check_no_temporary_file,
    check_refused,
    ended,
    prep,
    session_members,
    snapshot,
    start_prep,
    started,
    until,
    workers_of,
    write_array,
    write_image,
    write_pets,
)

from manifests import load_manifest
from prep.build.stage.stage import locked
from prep.parallel.interrupts import GOES_ON, KEPT

INTERRUPTED, TERMINATED = 130, 143

ITEMS = 100
"""Large enough to be killed in, small enough to be built to its end."""


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source that takes minutes to build and next to no room: one large image under many names."""
    root = tmp_path_factory.mktemp("endless") / "raw"
    image = write_image(root / "x" / "0000.png", shape=(1500, 1500, 3))
    for number in range(1, 1500):
        os.link(image, root / "x" / f"{number:04d}.png")
    return root


def is_building(out: Path) -> bool:
    """Whether a build has written its first shard."""
    return any((out / STATE_FOLDER).glob("build*/shards/x/*.npy"))


def grow_into(existing: Path, endless: Path) -> tuple[str | Path, ...]:
    """Return arguments of a build that adds the endless source's images to a dataset."""
    return ("build-shards", endless, existing, "--size", "4x4", "--prune")


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("number", "code", "says"), [(signal.SIGINT, INTERRUPTED, "interrupted"), (signal.SIGTERM, TERMINATED, "terminated")]
)
@pytest.mark.parametrize("to_group", [True, False], ids=["to all", "to the parent"])
def test_a_signal_ends_a_build_cleanly(
    number: signal.Signals,
    code: int,
    says: str,
    to_group: bool,
    workers: str,
    endless: Path,
    existing: Path,
) -> None:
    before = snapshot(existing)
    with start_prep(*grow_into(existing, endless), "--workers", workers) as process:
        until(lambda: is_building(existing) or process.poll() is not None, "the first shard")
        (os.killpg if to_group else os.kill)(process.pid, number)
        outcome = ended(process)
        check_refused(outcome, code, f"error: {says}; what was there before is unchanged")
    assert snapshot(existing) == before
    check_no_temporary_file(existing)
    assert prep("verify", existing).code == 0


@pytest.mark.slow
def test_ctrl_c_in_a_first_build_leaves_nothing(endless: Path, out: Path) -> None:
    with start_prep("build-shards", endless, out, "--workers", "2") as process:
        until(lambda: is_building(out) or process.poll() is not None, "the first shard")
        os.killpg(process.pid, signal.SIGINT)
        outcome = ended(process)
    check_refused(outcome, INTERRUPTED, "interrupted")
    check_kept_or_nothing(outcome, out)


def check_kept_or_nothing(outcome: Outcome, out: Path) -> None:
    """Check what an interrupted first build leaves: what was under way was finished and is kept, unless nothing was."""
    if GOES_ON in outcome.err:
        assert [path.name for path in out.iterdir()] == [STATE_FOLDER]
    else:
        assert not out.exists()


@pytest.mark.slow
@pytest.mark.parametrize("members", [2, 3, 4])
def test_ctrl_c_while_workers_start_is_as_quiet(members: int, endless: Path, out: Path) -> None:
    with start_prep("build-shards", endless, out, "--workers", "2") as process:
        until(lambda: len(session_members(process.pid)) >= members or process.poll() is not None, f"{members} processes")
        os.killpg(process.pid, signal.SIGINT)
        outcome = ended(process)
    check_refused(outcome, INTERRUPTED, "interrupted")
    check_kept_or_nothing(outcome, out)


@pytest.mark.slow
def test_a_second_build_is_refused_while_the_first_one_runs(endless: Path, existing: Path, tmp_path: Path) -> None:
    before = snapshot(existing)
    with start_prep(*grow_into(existing, endless), "--workers", "1") as process:
        until(lambda: is_building(existing) or process.poll() is not None, "the first shard")
        check_refused(prep("build-shards", tmp_path / "good", existing), 1, str(existing), "another prep command", "wait")
        assert is_building(existing)  # the refused one has not cleaned up behind the other
        process.send_signal(signal.SIGINT)
        ended(process)
    assert snapshot(existing) == before
    assert prep("build-shards", tmp_path / "good", existing).code == 0


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_killed_build_keeps_no_lock_no_workers_and_its_stage_goes_with_the_next(
    workers: str, endless: Path, existing: Path, tmp_path: Path
) -> None:
    before = snapshot(existing)
    with start_prep(*grow_into(existing, endless), "--workers", workers) as process:
        until(lambda: is_building(existing) or process.poll() is not None, "the first shard")
        process.kill()
        ended(process)
    assert snapshot(existing) == before
    assert is_building(existing)
    assert prep("build-shards", tmp_path / "good", existing).code == 0
    assert snapshot(existing) == before
    check_leaves_no_trace(existing)


@pytest.mark.slow
def test_a_worker_killed_from_outside_costs_no_item(endless: Path, existing: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    (few / "x").mkdir(parents=True)
    for path in sorted(endless.rglob("*.png"))[:ITEMS]:
        os.link(path, few / "x" / path.name)
    before = snapshot(existing)
    with start_prep(*grow_into(existing, few), "--workers", "2") as process:
        until(lambda: is_building(existing) or process.poll() is not None, "the first shard")
        worker = workers_of(process.pid)[0]
        os.kill(worker, signal.SIGKILL)
        outcome = ended(process)
    assert outcome.code == 0, outcome.err
    assert "a worker process died (SIGKILL(-9)); what it had is done again" in outcome.err
    assert set(before) & {f"shards/x/{number:04d}.npy" for number in range(ITEMS)} == set()
    assert len(load_manifest(existing)) == ITEMS
    assert prep("verify", existing).code == 0
    check_leaves_no_trace(existing)


def test_a_lock_of_a_process_that_lives_is_respected_and_one_of_a_dead_process_is_not(existing: Path, tmp_path: Path) -> None:
    with locked(existing / STATE_FOLDER):
        check_refused(prep("build-shards", tmp_path / "good", existing), 1, "another prep command")
    assert prep("build-shards", tmp_path / "good", existing).code == 0


def test_a_stage_that_a_killed_build_left_goes_with_the_next(existing: Path, tmp_path: Path) -> None:
    write_array(existing / STATE_FOLDER / "build" / "shards" / "x.npy", [1.0])
    build(tmp_path / "good", existing)
    check_leaves_no_trace(existing)


def test_who_cannot_ask_for_the_lock_leaves_all_to_who_may_have_it(existing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = write_array(existing / STATE_FOLDER / "build" / "shards" / "x.npy", [1.0])  # of a build at its first chunk

    def too_many(_: Path) -> NoReturn:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), "lock")

    with monkeypatch.context() as patch:
        patch.setattr("prep.build.stage.stage.locked", too_many)
        check_refused(prep("build-shards", tmp_path / "good", existing), 1, "lock: cannot be written: Too many open files")
    assert shard.is_file()


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
from prep.cli.app import main
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("fresh", [True, False])
def test_a_shard_that_does_not_fit_on_the_disk_ends_the_build(workers: str, fresh: bool, existing: Path, tmp_path: Path) -> None:
    source = write_pets(tmp_path / "growing", per_class=2)
    write_image(source / "cats" / "large.png", shape=(100, 100, 3))
    out = tmp_path / "fresh" if fresh else existing
    before = snapshot(existing)
    with started([sys.executable, "-c", LIMITED, "build-shards", source, out, "--workers", workers]) as process:
        check_refused(ended(process), 1, "cats/large", "cannot be written", "File too large")
    assert snapshot(existing) == before
    check_leaves_no_trace(existing)
    assert not (tmp_path / "fresh").exists()


def no_space(*_: object, **__: object) -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")


def no_rename(source: str | Path, target: str | Path, **_: object) -> NoReturn:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(source), None, str(target))


STEPS: dict[str, Callable[..., NoReturn]] = {
    "prep.build.execute.chunk.write_shards": no_space,
    "prep.build.stage.stage.write_manifest": no_space,
    "prep.build.stage.stage.write_metadata": no_space,
    "prep.build.stage.stage.write_failures": no_space,
    "os.replace": no_rename,
    "prep.build.stage.stage.locked": no_space,
}


AFTER_PARTS = {"prep.build.stage.stage.write_manifest", "prep.build.stage.stage.write_metadata", "prep.build.stage.stage.write_failures"}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("fresh", [True, False])
def test_a_disk_that_is_full_at_any_step_leaves_all_as_it_was(
    step: str,
    fresh: bool,
    existing: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = write_pets(tmp_path / "growing", per_class=3)
    (source / "cats" / "bad.png").write_bytes(b"")
    out = tmp_path / "deep" / "fresh" if fresh else existing
    before = snapshot(existing)
    with monkeypatch.context() as patch:
        patch.setattr(step, STEPS[step])
        outcome = prep("build-shards", source, out, "--prune", "--workers", "1")
    check_refused(outcome, 1, "cannot be written")
    assert snapshot(existing) == before
    check_no_temporary_file(existing)
    assert (
        [path.name for path in out.iterdir()] == [STATE_FOLDER] if fresh and KEPT in outcome.err else not fresh or not out.parent.exists()
    )
    again = prep("build-shards", source, out, "--prune", "--max-failures", "1")
    assert again.code == 0
    assert ("going on: " in again.err) == (KEPT in outcome.err) == (step in AFTER_PARTS)
    check_leaves_no_trace(out)
    assert prep("verify", out).code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_changeover_waits_and_is_told_truly(
    number: signal.Signals, existing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own, as its first rename sends the signal."""
    source = write_pets(tmp_path / "good", per_class=5)
    script = f"""
import os, signal
from prep.cli.app import main
rename = os.replace
def replace(*paths):
    os.replace = rename
    os.kill(os.getpid(), {int(number)})
    rename(*paths)
import prep.build.stage.stage
begin = prep.build.stage.stage.begin_changeover
def begin_changeover(*arguments, **options):
    begin(*arguments, **options)
    os.replace = replace
prep.build.stage.stage.begin_changeover = begin_changeover
main()
"""
    with started([sys.executable, "-c", script, "build-shards", source, existing]) as process:
        outcome = ended(process)
    check_refused(outcome, 128 + number, "too late", "the new dataset is in place")
    assert "unchanged" not in outcome.err
    assert len(load_manifest(existing)) == 10
    assert prep("verify", existing).code == 0
    check_leaves_no_trace(existing)


UNGUARDED = """
import sys
print("the script runs")
from prep import BuildOptions, build_shards
summary = build_shards(sys.argv[1], sys.argv[2], BuildOptions(workers=2))
print(summary.added)
"""


@pytest.mark.slow
def test_a_script_without_a_guard_is_not_run_again_by_its_workers(pets: Path, out: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    with started([sys.executable, script, pets, out]) as process:
        outcome = ended(process)
    assert (outcome.code, outcome.out) == (0, "the script runs\n8\n"), outcome.err
    assert prep("verify", out).code == 0


def test_the_commands_exit_codes_and_streams_are_those_of_a_process(pets: Path, out: Path) -> None:
    command = Path(sys.executable).with_name("prep")
    for arguments, code in ((["build-shards", pets, out], 0), (["verify", out / "nowhere"], 1), (["build-shards", pets], 2)):
        with started([command, *arguments]) as process:
            outcome = ended(process)
        assert outcome.code == code
        if code:
            check_refused(outcome, code)
            assert outcome.out == ""


def test_ctrl_c_while_the_command_is_imported_is_one_line() -> None:
    code = "import importlib.abc, sys, prep.cli.entry\n" + textwrap.dedent(
        """
        class Interrupt(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path, target=None):
                if name == "prep.cli.app":
                    raise KeyboardInterrupt
        sys.meta_path.insert(0, Interrupt())
        prep.cli.entry.main()
        """
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "error: interrupted before anything was done\n")
