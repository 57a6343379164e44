"""Items that kill, hang or outlast their worker: they are written down, and all others are built."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from command_line import (
    STATE_FOLDER,
    Outcome,
    build,
    check_leaves_no_trace,
    check_refused,
    ended,
    prep,
    snapshot,
    start_prep,
    started,
    until,
    workers_of,
    write_array,
    write_pets,
)

from manifests import load_manifest
from prep import BuildOptions, SilentReporter, UsageError, build_shards

ITEMS = 150

TROUBLE = """
import ctypes, os, re, signal, time
import prep.build.execute.samples

ACTS = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda: ctypes.string_at(0),
    "exit": lambda: os._exit(3),
    "sleep": lambda: time.sleep(10**6),
    "spin": lambda: re.match(r"(a+)+b", "a" * 60),  # never gives the interpreter lock back
}
sound = prep.build.execute.samples.samples_of

def samples_of(root, record, recipe):
    name = record.id.partition("-")[0]
    if name in ACTS:
        with open(os.environ["TRIES"], "a") as file:
            file.write(record.id + "\\n")
        ACTS[name]()
    return sound(root, record, recipe)

prep.build.execute.samples.samples_of = samples_of
"""
"""Runs at the start of each interpreter: raw items of some names do harm to the process that reads them."""


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """150 arrays, some of them with names that do harm to workers, if told to."""
    root = tmp_path / "raw"
    for number in range(ITEMS):
        write_array(root / f"a{number:04d}.npy", np.full(3, number))
    return root


@pytest.fixture
def trouble(tmp_path: Path) -> Mapping[str, str]:
    """The environment of interpreters in which names do harm."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(TROUBLE)
    (tmp_path / "tries").touch()
    path = os.pathsep.join([str(folder), *(entry for entry in sys.path if entry)])
    return {**os.environ, "PYTHONPATH": path, "TRIES": str(tmp_path / "tries")}


def run(trouble: Mapping[str, str], *arguments: str | Path) -> Outcome:
    with start_prep("build-shards", *arguments, env=dict(trouble)) as process:
        return ended(process)


def failures_of(out: Path) -> list[dict[str, str]]:
    with open(out / "failures.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def check_built_but(bad: set[str], out: Path, stage: str) -> None:
    """Hold a dataset against one of all items but some, which are in failures.csv."""
    assert {row["id"]: row["stage"] for row in failures_of(out)} == dict.fromkeys(bad, stage)
    assert len(load_manifest(out)) == ITEMS
    assert not bad & set(load_manifest(out).ids)
    assert prep("verify", out).code == 0
    check_leaves_no_trace(out)


@pytest.mark.slow
@pytest.mark.parametrize(("act", "says"), [("kill", "SIGKILL(-9)"), ("segfault", "SIGSEGV(-11)"), ("exit", "EXIT(3)")])
def test_an_item_that_kills_its_worker_is_found_and_all_others_are_built(
    act: str, says: str, many: Path, out: Path, trouble: Mapping[str, str]
) -> None:
    write_array(many / f"{act}-1.npy", [1.0])
    outcome = run(trouble, many, out, "--workers", "2")
    check_refused(outcome, 1, f"failed: {act}-1.npy: worker-died", says)
    assert "Fatal Python error" not in outcome.err
    check_built_but({f"{act}-1"}, out, "worker-died")
    assert len(Path(trouble["TRIES"]).read_text().splitlines()) <= 3 + 1 + 6


@pytest.mark.slow
@pytest.mark.parametrize("act", ["kill", "segfault"])
def test_an_item_that_brings_down_a_small_build_is_found_by_the_next(act: str, many: Path, out: Path, trouble: Mapping[str, str]) -> None:
    """Few items are built in the command's own process, which such an item ends without a word, even as the very first."""
    for path in many.iterdir():
        path.rename(many / f"z{path.name}")
    write_array(many / f"{act}-1.npy", [1.0])
    assert run(trouble, many, out).code in {-signal.SIGKILL, -signal.SIGSEGV}
    assert not (out / "manifest.csv").exists()
    check_refused(run(trouble, many, out), 1, f"failed: {act}-1.npy: worker-died")
    check_built_but({f"{act}-1"}, out, "worker-died")


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("act", ["sleep", "spin"])
def test_an_item_that_hangs_is_given_up_after_its_time_and_not_tried_again(
    act: str, workers: str, many: Path, out: Path, trouble: Mapping[str, str]
) -> None:
    write_array(many / f"{act}-1.npy", [1.0])
    outcome = run(trouble, many, out, "--workers", workers, "--item-timeout", "2")
    check_refused(outcome, 1, f"failed: {act}-1.npy: timeout: took longer than 2 s", "--item-timeout")
    check_built_but({f"{act}-1"}, out, "timeout")
    assert Path(trouble["TRIES"]).read_text().splitlines() == [f"{act}-1"]


@pytest.mark.slow
def test_what_failed_with_its_worker_is_built_by_retry_to_the_same_bytes(
    many: Path, out: Path, trouble: Mapping[str, str], tmp_path: Path
) -> None:
    for name in ("exit-1", "exit-2", "sleep-1"):
        write_array(many / f"{name}.npy", [1.0, 2.0, 3.0])
    assert run(trouble, many, out, "--workers", "2", "--item-timeout", "2").code == 1
    assert len(failures_of(out)) == 3
    outcome = prep("retry", out, "--workers", "1", "--json")
    assert (outcome.code, outcome.json["found"], outcome.json["added"], outcome.json["failed"]) == (0, 3, 3, 0)
    build(many, tmp_path / "at once")
    assert snapshot(out) == snapshot(tmp_path / "at once")


@pytest.mark.slow
def test_what_killed_its_worker_kills_no_retry_that_has_one_item_to_do(many: Path, out: Path, trouble: Mapping[str, str]) -> None:
    write_array(many / "kill-1.npy", [1.0])
    run(trouble, many, out, "--workers", "2")
    with start_prep("retry", out, env=dict(trouble)) as process:
        check_refused(ended(process), 1, "failed: kill-1.npy: worker-died", "SIGKILL(-9)")
    check_built_but({"kill-1"}, out, "worker-died")


@pytest.mark.slow
def test_no_process_and_no_file_of_the_watch_is_left(many: Path, out: Path, trouble: Mapping[str, str], tmp_path: Path) -> None:
    write_array(many / "sleep-1.npy", [1.0])
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    run({**trouble, "TMPDIR": str(scratch)}, many, out, "--workers", "2", "--item-timeout", "1")
    assert [path for path in scratch.rglob("*") if "watch" in path.name] == []


@pytest.mark.slow
def test_of_a_build_that_is_killed_no_file_of_the_watch_is_left(many: Path, out: Path, trouble: Mapping[str, str], tmp_path: Path) -> None:
    write_array(many / "sleep-1.npy", [1.0])
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with start_prep("build-shards", many, out, "--workers", "2", env={**trouble, "TMPDIR": str(scratch)}) as process:
        until(lambda: bool(Path(trouble["TRIES"]).read_text()) or process.poll() is not None, "the item that hangs")
        assert list(scratch.glob("prep-watch-*"))
        process.kill()
        ended(process)
    assert list(scratch.glob("prep-watch-*")) == []


def test_a_named_pipe_as_a_raw_file_hangs_nothing(pets: Path, out: Path) -> None:
    os.mkfifo(pets / "cats" / "pipe.png")
    outcome = prep("build-shards", pets, out, "--workers", "1", "--json")
    assert outcome.json["added"] == 8
    assert outcome.json["found"] == outcome.json["added"] + outcome.json["failed"]


@pytest.mark.parametrize("threads", [1, 3])
def test_an_executor_of_the_users_own_runs_the_work_and_stays_open(threads: int, many: Path, out: Path, tmp_path: Path) -> None:
    names: set[str] = set()

    class Counting(ThreadPoolExecutor):
        calls = 0

        def submit(self, *args: object, **kwargs: object) -> object:  # type: ignore[override]
            self.calls += 1
            return super().submit(*args, **kwargs)  # type: ignore[arg-type]

    with Counting(threads, initializer=lambda: names.add(threading.current_thread().name)) as executor:
        summary = build_shards(many, out, executor=executor, report=SilentReporter())
        assert executor.calls >= 3
        assert executor.submit(int, "7").result() == 7  # type: ignore[attr-defined]
    assert names
    assert summary.added == ITEMS
    build(many, tmp_path / "alone")
    assert snapshot(out) == snapshot(tmp_path / "alone")


@pytest.mark.slow
def test_the_standard_librarys_processes_run_the_work_too(many: Path, out: Path, tmp_path: Path) -> None:
    """They pickle what they are given more narrowly than loky does."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        assert build_shards(many, out, executor=executor, report=SilentReporter()).added == ITEMS
        assert executor.submit(int, "7").result() == 7
    build(many, tmp_path / "alone")
    assert snapshot(out) == snapshot(tmp_path / "alone")


def test_no_time_limit_is_promised_for_an_executor_that_cannot_keep_it(many: Path, out: Path) -> None:
    with ThreadPoolExecutor(1) as executor, pytest.raises(UsageError, match="item_timeout"):
        build_shards(many, out, BuildOptions(item_timeout=5), executor=executor, report=SilentReporter())
    assert not out.exists()


SECONDS_TO_END = 5.0


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_says_how_to_go_on(
    number: signal.Signals, code: int, workers: str, many: Path, out: Path, trouble: Mapping[str, str]
) -> None:
    """One item is under way for ever: the first signal waits for it, the second does not."""
    write_array(many / "sleep-1.npy", [1.0])
    tries = Path(trouble["TRIES"])
    with start_prep("build-shards", many, out, "--workers", workers, env=dict(trouble)) as process:
        until(lambda: bool(tries.read_text()) or process.poll() is not None, "the item that hangs")
        os.kill(process.pid, number)
        if workers == "2":  # inline, nothing can be said until the item is over
            assert process.stderr is not None
            until(lambda: "finished first" in process.stderr.readline(), "the word on what is under way")  # type: ignore[union-attr]
        until(lambda: _has_taken(process.pid, number), "the first signal to be taken")
        assert process.poll() is None
        until(lambda: _ends_by(process, number), "the end by a further signal")
        outcome = ended(process)
    check_refused(outcome, code, "run the same command again: it goes on from", f"of {ITEMS + 1} items")


def _ends_by(process: subprocess.Popen[str], number: signal.Signals) -> bool:
    """Send a signal, and return whether it ended a process. Python makes one of two that come before it looks, as a user's key might."""
    os.kill(process.pid, number)
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        return False
    return True


def _has_taken(pid: int, number: signal.Signals) -> bool:
    """Whether a signal is no longer pending for a process."""
    pending = [line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(("SigPnd", "ShdPnd"))]
    return not any(int(mask, 16) >> (number - 1) & 1 for mask in pending)


@pytest.mark.slow
def test_a_build_that_is_to_stop_after_failures_leaves_the_dataset_as_it_was(tmp_path: Path, out: Path) -> None:
    raw = write_pets(tmp_path / "raw")
    build(raw, out)
    before = snapshot(out)
    for number in range(5):
        (raw / "cats" / f"bad{number}.png").write_bytes(b"")
    for workers in ("1", "2"):
        outcome = prep("build-shards", raw, out, "--stop-after-failures", "3", "--workers", workers)
        check_refused(outcome, 1, "stopped after", "--stop-after-failures")
        assert snapshot(out) == before
        check_leaves_no_trace(out)
    assert prep("build-shards", raw, out, "--stop-after-failures", "6", "--max-failures", "5").code == 0


@pytest.mark.parametrize(("allowed", "code"), [("0", 1), ("1", 1), ("2", 0), ("100", 0), ("0%", 1), ("19.9%", 1), ("20%", 0), ("100%", 0)])
def test_max_failures_decides_the_exit_code_alone(allowed: str, code: int, pets: Path, out: Path) -> None:
    for name in ("one", "two"):
        (pets / "cats" / f"{name}.png").write_bytes(b"")
    assert prep("build-shards", pets, out, "--max-failures", allowed, "--workers", "1").code == code
    assert len(load_manifest(out)) == 8


def test_retry_needs_no_flags_again(tmp_path: Path, out: Path) -> None:
    raw = tmp_path / "raw"
    for name in ("x", "y"):
        write_array(raw / "arrays" / f"{name}.npy", [1.0, 2.0])
    (raw / "arrays" / "x.npy").write_bytes(b"")
    (raw / "names.csv").write_text("name,kind\nx,1\ny,0\n")
    first = ("build-shards", raw / "arrays", out, "--labels", raw / "names.csv", "--id-column", "name", "--label", "kind", "--checksum")
    assert prep(*first, "--workers", "1").code == 1
    write_array(raw / "arrays" / "x.npy", [3.0, 4.0])
    outcome = prep("retry", out, "--json")
    assert (outcome.code, outcome.json["found"], outcome.json["added"]) == (0, 1, 1), outcome.err
    assert not (out / "failures.csv").exists()
    assert "nothing failed" in prep("retry", out).out


def test_retry_finds_a_source_that_has_moved_only_if_told(pets: Path, out: Path, tmp_path: Path) -> None:
    (pets / "cats" / "bad.png").write_bytes(b"")
    assert prep("build-shards", pets, out).code == 1
    pets.rename(tmp_path / "moved")
    check_refused(prep("retry", out), 2, "no such source")
    assert prep("retry", out, "--source", tmp_path / "moved", "--max-failures", "1").code == 0


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[1]", b'{"source": 1, "source_options": {"table": {}}}', b"\xff"])
def test_retry_says_what_it_does_not_know(content: bytes | None, pets: Path, out: Path) -> None:
    (pets / "cats" / "bad.png").write_bytes(b"")
    assert prep("build-shards", pets, out).code == 1
    note = out / STATE_FOLDER / "state.arrow"
    note.unlink()
    if content is not None:
        note.write_bytes(content)
    check_refused(prep("retry", out), 2, "state.arrow", "run build-shards again")
    check_refused(prep("retry", out.with_name("nowhere")), 2, "is not a dataset")


def test_events_are_json_lines_on_stderr_and_the_result_is_alone_on_stdout(pets: Path, out: Path) -> None:
    (pets / "cats" / "bad.png").write_bytes(b"")
    outcome = prep("build-shards", pets, out, "--json", "--progress", "json")
    assert outcome.json["failed"] == 1
    events = [json.loads(line) for line in outcome.err.splitlines()]
    assert {event["event"] for event in events} == {"note", "failure", "progress"}
    assert [event["source"] for event in events if event["event"] == "failure"] == ["cats/bad.png"]
    last = [event for event in events if event["event"] == "progress"][-1]
    assert (last["what"], last["done"], last["total"]) == ("build", 8, 8)


def test_no_progress_leaves_stderr_to_what_went_wrong(pets: Path, out: Path) -> None:
    assert prep("build-shards", pets, out, "--progress", "none").err == ""


def test_each_build_leaves_a_log_and_the_oldest_go(pets: Path, out: Path) -> None:
    (pets / "cats" / "bad.png").write_bytes(b"")
    for _ in range(22):
        assert prep("build-shards", pets, out, "--workers", "1").code == 1
    logs = sorted((out / STATE_FOLDER / "logs").glob("*.log"))
    assert len(logs) == 20
    text = logs[-1].read_text()
    for said in ("build of", "source: folder of images", "failed: cats/bad.png: read: ItemError: is empty", "done: ", "8 kept"):
        assert said in text


def test_a_log_that_cannot_be_written_costs_no_build(pets: Path, out: Path) -> None:
    (out / STATE_FOLDER).mkdir(parents=True)
    (out / STATE_FOLDER / "logs").write_text("in the way")
    assert prep("build-shards", pets, out).code == 0


def test_the_workers_of_a_build_are_gone_when_it_ends(pets: Path, out: Path) -> None:
    script = "import sys; from prep import build_shards, BuildOptions; build_shards(*sys.argv[1:], BuildOptions(workers=2)); input()"
    with started([sys.executable, "-c", script, pets, out]) as process:
        until(lambda: (out / "manifest.csv").exists() or process.poll() is not None, "the dataset")
        until(lambda: len(workers_of(process.pid)) == 0, "its workers to be gone")
        assert process.poll() is None
