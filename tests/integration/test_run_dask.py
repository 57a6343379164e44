"""A build on a Dask cluster: its scheduler and its workers are processes of their own, as those of other machines would be."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import pytest
from command_line import (
    DEADLINE_SECONDS,
    build,
    check_leaves_no_trace,
    check_refused,
    ended,
    prep,
    session_members,
    snapshot,
    start_prep,
    until,
    write_array,
    write_image,
    write_pets,
)

from manifests import load_manifest
from prep import SilentReporter, build_shards
from prep.build.recipe.recipe_toml import read_recipe
from prep.parallel import dask_cluster, remote_call

pytestmark = pytest.mark.slow

ITEMS = 60
GATE = 10
"""Items from this number on can be held up: some of the first chunk of each worker, so that later chunks are not begun by then."""

CODE = """
import os, time
from pathlib import Path

HERE = Path(__file__).parent


def act(array):
    number = int(array[0])
    with open(HERE / "begun", "a") as file:
        file.write(f"{number} {os.getpid()}\\n")
    if number == 7 and (HERE / "deadly").exists():
        os._exit(3)
    while number >= 10 and (HERE / "closed").exists():
        time.sleep(0.01)
    return array + 1
"""
"""A transform of which item 7 kills its process, and the later ones wait, if the test says so."""


@dataclass
class Cluster:
    """A scheduler and its workers, each a process."""

    folder: Path
    address: str = ""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, module: str, *arguments: str | Path) -> None:
        # A task is given up at the first death of its worker, not at the fourth, so that tests take less time.
        path = os.pathsep.join(entry for entry in sys.path if entry)
        env = {**os.environ, "PYTHONPATH": path, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
        command = [sys.executable, "-m", f"distributed.cli.{module}", *map(str, arguments), "--host", "127.0.0.1", "--no-dashboard"]
        with open(self.folder / f"{module}-{len(self.processes)}.log", "wb") as log:
            self.processes.append(subprocess.Popen(command, cwd=self.folder, env=env, stdout=log, stderr=log, start_new_session=True))

    def start_scheduler(self) -> None:
        file = self.folder / "scheduler.json"
        self.start("dask_scheduler", "--port", "0", "--scheduler-file", file)

        def is_written() -> bool:
            with contextlib.suppress(OSError, ValueError):
                self.address = json.loads(file.read_text())["address"]
            return bool(self.address)

        until(is_written, "the scheduler")

    def start_worker(self, *arguments: str) -> None:
        self.start("dask_worker", self.address, "--nthreads", "1", "--local-directory", self.folder, "--memory-limit", "0", *arguments)

    @contextlib.contextmanager
    def client(self) -> Iterator[Any]:
        with distributed.Client(self.address, set_as_default=False) as client:
            yield client

    def wait_until_idle(self) -> None:
        """Wait until no worker runs anything, whatever became of who has asked for it."""

        def executing(dask_worker: Any) -> int:
            return len(dask_worker.state.executing)

        with self.client() as client:
            until(lambda: not any(client.run(executing).values()), "the workers to be done")


@contextlib.contextmanager
def running(folder: Path, workers: int, *arguments: str) -> Iterator[Cluster]:
    cluster = Cluster(folder)
    try:
        cluster.start_scheduler()
        for _ in range(workers):
            cluster.start_worker(*arguments)
        yield cluster
    finally:
        for process in reversed(cluster.processes):
            process.terminate()
        for process in cluster.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            for pid in session_members(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two workers, each of which is replaced when it dies."""
    with running(tmp_path_factory.mktemp("cluster"), 2) as cluster:
        yield cluster


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler without workers."""
    folder = tmp_path / "empty"
    folder.mkdir()
    with running(folder, 0) as cluster:
        yield cluster


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Arrays, each of its own number, and a recipe whose function the tests have in hand."""
    root = tmp_path / "raw"
    for number in range(ITEMS):
        write_array(root / f"{number:03d}.npy", np.full(3, number))
    (tmp_path / "acting.py").write_text(CODE)
    (tmp_path / "recipe.toml").write_text('[[transforms]]\nname = "acting:act"\n')
    return root


def by_recipe(many: Path, out: Path) -> tuple[Path, Path, str, Path]:
    return many, out, "--recipe", many.with_name("recipe.toml")


def begun(many: Path) -> list[tuple[int, int]]:
    """Return the items that were begun, each with its worker's process."""
    path = many.with_name("begun")
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(line.split()[0]), int(line.split()[1])) for line in lines if line.count(" ") == 1 and not line.endswith(" ")]


def held_up(many: Path) -> list[int]:
    """Return the processes that have an item which waits at the gate."""
    return [pid for number, pid in begun(many) if number >= GATE]


@pytest.fixture
def gate(many: Path) -> Iterator[Path]:
    """A file at which later items wait until it is gone."""
    path = many.with_name("closed")
    path.touch()
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def alone(many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, str]]:
    """Return what a build in this process alone makes of the same."""

    def make() -> dict[str, str]:
        for name in ("closed", "deadly"):
            many.with_name(name).unlink(missing_ok=True)
        build(*by_recipe(many, tmp_path / "alone"))
        return snapshot(tmp_path / "alone")

    return make


def everything(out: Path) -> dict[str, tuple[int, int]]:
    """Return every file below a folder with its size and time, those of the build's own state too."""
    return {os.fspath(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in out.rglob("*") if path.is_file()}


def start_on(cluster: Cluster, many: Path, out: Path) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
    return start_prep("build-shards", *by_recipe(many, out), "--dask", cluster.address)


def until_held_up(process: subprocess.Popen[str], many: Path) -> None:
    until(lambda: bool(held_up(many)) or process.poll() is not None, "an item at the gate")


def test_the_command_makes_the_bytes_of_a_build_in_one_process(cluster: Cluster, tmp_path: Path, out: Path) -> None:
    pets = write_pets(tmp_path / "pets", per_class=30)
    options = ("--size", "4x4", "--split", "train=0.5,val=0.5")
    planned = prep("plan", pets, out, *options, "--dask", cluster.address, "--json")
    assert len(planned.json["add"]) == 60, planned.err
    assert not out.exists()
    outcome = prep("build-shards", pets, out, *options, "--dask", cluster.address, "--json")
    assert (outcome.code, outcome.json["added"]) == (0, 60), outcome.err
    build(pets, tmp_path / "alone", *options)
    assert snapshot(out) == snapshot(tmp_path / "alone")
    check_leaves_no_trace(out)


@pytest.mark.parametrize("pure", [True, False])
def test_so_does_an_executor_of_the_callers_client(
    pure: bool, cluster: Cluster, many: Path, out: Path, alone: Callable[[], dict[str, str]]
) -> None:
    options = read_recipe(many.with_name("recipe.toml"))
    with cluster.client() as client:
        executor = client.get_executor(pure=pure)
        assert build_shards(many, out, options, executor=executor, report=SilentReporter()).added == ITEMS
        assert executor.submit(int, "7").result() == 7
    assert snapshot(out) == alone()


def test_retry_runs_on_a_cluster_too(cluster: Cluster, tmp_path: Path, out: Path) -> None:
    pets = write_pets(tmp_path / "pets")
    (pets / "cats" / "late.png").write_bytes(b"")
    assert prep("build-shards", pets, out, "--dask", cluster.address).code == 1
    write_image(pets / "cats" / "late.png", seed=9)
    outcome = prep("retry", out, "--dask", cluster.address, "--json")
    assert (outcome.code, outcome.json["added"]) == (0, 1), outcome.err


def test_paths_that_are_relative_to_the_callers_folder_are_found(
    cluster: Cluster, many: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(many.parent)
    outcome = prep("build-shards", many.name, out.name, "--dask", cluster.address)
    assert outcome.code == 0, outcome.err
    assert len(load_manifest(out)) == ITEMS


def test_a_worker_that_is_killed_costs_no_item(
    cluster: Cluster, many: Path, out: Path, gate: Path, alone: Callable[[], dict[str, str]]
) -> None:
    with start_on(cluster, many, out) as process:
        until_held_up(process, many)
        os.kill(held_up(many)[0], signal.SIGKILL)
        gate.unlink()
        outcome = ended(process)
    assert outcome.code == 0, outcome.err
    assert "a worker process died (KilledWorker); what it had is done again" in outcome.err
    assert snapshot(out) == alone()
    check_leaves_no_trace(out)


def test_an_item_that_kills_its_worker_is_found_and_all_others_are_built(
    cluster: Cluster, many: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an executor that gives a call's stored error to whoever makes the same call, as Dask's does unless it is told not to."""
    many.with_name("deadly").touch()
    options = read_recipe(many.with_name("recipe.toml"))
    with cluster.client() as client:
        summary = build_shards(many, out, options, executor=client.get_executor(), report=SilentReporter())
    assert [(failure.id, failure.stage) for failure in summary.failures] == [("007", "worker-died")]
    assert len(load_manifest(out)) == ITEMS - 1
    assert prep("verify", out).code == 0
    check_leaves_no_trace(out)
    many.with_name("deadly").unlink()
    monkeypatch.chdir(many.parent)  # where the recipe's function is looked for
    assert prep("retry", out, "--dask", cluster.address).code == 0
    assert len(load_manifest(out)) == ITEMS


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_waits_for_the_items_under_way_and_nothing_is_written_later(
    number: signal.Signals, code: int, cluster: Cluster, many: Path, out: Path, gate: Path, alone: Callable[[], dict[str, str]]
) -> None:
    with start_on(cluster, many, out) as process:
        until_held_up(process, many)
        os.kill(process.pid, number)
        until_said(process, "finished first")
        assert process.poll() is None
        gate.unlink()
        outcome = ended(process)
        left, items = everything(out), begun(many)
    check_refused(outcome, code, "run the same command again: it goes on from")
    assert len(items) < ITEMS
    cluster.wait_until_idle()
    assert (everything(out), begun(many)) == (left, items)
    again = prep("build-shards", *by_recipe(many, out), "--dask", cluster.address)
    assert again.code == 0
    assert "going on: " in again.err
    assert snapshot(out) == alone()
    check_leaves_no_trace(out)


def test_after_a_second_signal_what_still_runs_writes_nothing(
    cluster: Cluster, many: Path, out: Path, gate: Path, alone: Callable[[], dict[str, str]]
) -> None:
    with start_on(cluster, many, out) as process:
        until_held_up(process, many)
        os.kill(process.pid, signal.SIGINT)
        until_said(process, "finished first")
        os.kill(process.pid, signal.SIGINT)
        outcome = ended(process)
    check_refused(outcome, 130, "not waited for")
    left = everything(out)
    gate.unlink()
    cluster.wait_until_idle()
    assert everything(out) == left
    assert prep("build-shards", *by_recipe(many, out), "--workers", "1").code == 0
    assert snapshot(out) == alone()
    check_leaves_no_trace(out)


def test_work_of_a_build_that_was_killed_does_not_reach_into_the_next(
    cluster: Cluster, many: Path, out: Path, gate: Path, tmp_path: Path
) -> None:
    """The next one makes other bytes under the same names, and is done before the work of the first one goes on."""
    with start_on(cluster, many, out) as process:
        until_held_up(process, many)
        process.kill()
        ended(process)
    build(many, out, "--dtype", "float32")
    before = snapshot(out)
    gate.unlink()
    cluster.wait_until_idle()
    assert snapshot(out) == before
    check_leaves_no_trace(out)
    build(many, tmp_path / "other", "--dtype", "float32")
    assert before == snapshot(tmp_path / "other")


def test_a_scheduler_without_workers_is_not_waited_for(empty: Cluster, many: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "WORKERS_SECONDS", 0.1)
    for command in ("build-shards", "plan"):
        check_refused(
            prep(command, many, out, "--dask", empty.address), 1, f"{empty.address}: the Dask scheduler has no workers", "start some"
        )
    assert not out.exists()


def test_a_cluster_that_has_lost_all_its_workers_is_not_waited_for(
    empty: Cluster, many: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty.start_worker("--no-nanny")
    many.with_name("deadly").touch()
    monkeypatch.setattr(dask_cluster, "REPLACE_SECONDS", 0.1)
    monkeypatch.setattr(dask_cluster, "WORKERS_SECONDS", DEADLINE_SECONDS)
    outcome = prep("build-shards", *by_recipe(many, out), "--dask", empty.address)
    check_refused(outcome, 1, empty.address, "has no workers any more", "nothing was changed")
    assert not (out / "manifest.csv").exists()


def test_a_scheduler_that_dies_amid_a_build_ends_it(
    empty: Cluster, many: Path, out: Path, gate: Path, alone: Callable[[], dict[str, str]]
) -> None:
    empty.start_worker("--no-nanny")
    until_connected(empty)
    with start_on(empty, many, out) as process:
        until_held_up(process, many)
        empty.processes[0].kill()
        gate.unlink()
        outcome = ended(process)
    check_refused(outcome, 1, empty.address, "nothing was changed")
    assert not (out / "manifest.csv").exists()
    assert prep("build-shards", *by_recipe(many, out), "--workers", "1").code == 0
    assert snapshot(out) == alone()


def until_connected(cluster: Cluster) -> None:
    with cluster.client() as client:
        until(lambda: bool(client.nthreads()), "a worker")


def test_an_address_without_a_scheduler_is_told(many: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "CONNECT_SECONDS", 0.5)
    with socket.socket() as taken:  # which nobody listens at
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        check_refused(
            prep("build-shards", many, out, "--dask", address), 1, f"{address}: no Dask scheduler answers there", "nothing was changed"
        )
    assert not out.exists()


@pytest.mark.parametrize("arguments", [("--dask", "nonsense"), ("--dask", "tcp://127.0.0.1:1", "--workers", "2")])
def test_what_cannot_be_meant_is_wrong_usage(arguments: tuple[str, ...], many: Path, out: Path) -> None:
    check_refused(prep("build-shards", many, out, *arguments), 2, "--dask")
    assert not out.exists()


def test_without_the_package_its_extra_is_named(many: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    check_refused(prep("build-shards", many, out, "--dask", "tcp://127.0.0.1:1"), 2, "pip install 'shardfeed[dask]'")


@pytest.mark.parametrize("package", ["shardfeed", "numpy", "pillow", "Python"])
def test_workers_with_other_packages_are_refused(
    package: str, cluster: Cluster, many: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = remote_call.versions()
    monkeypatch.setattr(remote_call, "versions", lambda: {**own, package: "0.0.7"})
    outcome = prep("build-shards", many, out, "--dask", cluster.address)
    check_refused(outcome, 1, "the worker tcp://127.0.0.1:", f"has {package} {own[package]} instead of 0.0.7", "nothing was changed")
    assert not out.exists()


@pytest.mark.parametrize(
    ("source", "out", "says"),
    [
        ("/proc/self/cwd/raw", "{here}/data", "cannot see the source"),
        ("{here}/raw", "/proc/self/cwd/data", "cannot see /proc/self/cwd/data/.prep/build-"),
    ],
)
def test_workers_that_see_other_files_are_refused(
    source: str, out: str, says: str, cluster: Cluster, many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths of the system that mean another folder in each process."""
    monkeypatch.chdir(many.parent)
    outcome = prep("build-shards", source.format(here=many.parent), out.format(here=many.parent), "--dask", cluster.address)
    check_refused(outcome, 1, "the worker tcp://127.0.0.1:", says, "see the same files")
    assert not (many.parent / "data").exists()


def test_workers_that_cannot_load_the_recipes_function_are_told(
    cluster: Cluster, many: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are no item's fault."""
    mine = many.with_name("mine")
    mine.mkdir()
    (mine / "only_mine.py").write_text("def act(array):\n    return array\n")
    many.with_name("recipe.toml").write_text('[[transforms]]\nname = "only_mine:act"\n')
    monkeypatch.syspath_prepend(mine)
    outcome = prep("build-shards", *by_recipe(many, out), "--dask", cluster.address)
    check_refused(outcome, 1, "the worker", "cannot load a function of the recipe (there is no module 'only_mine'")
    assert not (out / "manifest.csv").exists()


def test_workers_with_another_copy_of_the_source_are_refused(
    cluster: Cluster, many: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of the same name in which one of the files is older."""
    copy = shutil.copytree(many, cluster.folder / "raw", dirs_exist_ok=True)
    os.utime(copy / "000.npy", (1, 1))
    monkeypatch.chdir(many.parent)
    outcome = prep("build-shards", "/proc/self/cwd/raw", out, "--dask", cluster.address)
    shutil.rmtree(copy)
    check_refused(outcome, 1, "the worker tcp://127.0.0.1:", "sees another file than this process at /proc/self/cwd/raw/000.npy")
    assert not out.exists()


def test_a_source_without_one_usable_file_is_told_as_ever(cluster: Cluster, raw: Path, out: Path) -> None:
    write_image(raw / "a.png")
    write_image(raw / "a.bmp")
    outcomes = [prep("build-shards", raw, out, *more) for more in (("--workers", "1"), ("--dask", cluster.address))]
    assert outcomes[0].code == outcomes[1].code == 1
    assert outcomes[0].err == outcomes[1].err


def test_an_executor_for_some_of_the_workers_is_held_to_those(cluster: Cluster, many: Path, out: Path) -> None:
    with cluster.client() as client:
        until(lambda: len(client.nthreads()) == 2, "both workers")
        one = min(client.nthreads())
        restricted = dask_cluster.cluster_of(client.get_executor(workers=[one]))
        assert restricted is not None
        assert restricted.check(remote_call.CallerView(root=many, flag=None), []) == 1
        assert build_shards(many, out, executor=client.get_executor(workers=[one]), report=SilentReporter()).added == ITEMS


def test_what_the_guide_tells_people_to_type_works(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "guides" / "clusters.md").read_text(encoding="utf-8")
    assert "tcp://10.0.0.5:8786" in page
    page = page.replace("tcp://10.0.0.5:8786", cluster.address)
    write_pets(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    (command,) = [line for line in page.splitlines() if line.startswith("prep ")]
    outcome = prep(*shlex.split(command)[1:])
    assert outcome.code == 0, outcome.err
    write_image(tmp_path / "photos" / "cats" / "new.png", seed=9)
    (code,) = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    exec(compile(code, "clusters.md", "exec"), {})  # noqa: S102  # the guide's own
    assert len(load_manifest(tmp_path / "data")) == 9


def until_said(process: subprocess.Popen[str], text: str) -> None:
    """Wait until a process has said something on stderr."""
    assert process.stderr is not None
    stderr = process.stderr
    until(lambda: text in stderr.readline() or process.poll() is not None, text)
