"""Nobody can read stderr: it is closed, on a full disk, or a pipe without a reader. What commands do, and exit codes, are the same."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import build, prep, snapshot

COMMAND = str(Path(sys.executable).with_name("prep"))
SHELL = {
    "closed": 'exec "$@" 0<&- 2>&-',
    "full": 'exec "$@" 2>/dev/full',
    "without a reader": '"$@" 2> >(exec true)',
}

Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.slow


@pytest.fixture(params=SHELL)
def unread(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Run a command whose stderr nobody can read."""

    def run(*arguments: str | Path, program: str = COMMAND) -> subprocess.CompletedProcess[str]:
        words = ["bash", "-c", SHELL[request.param], "bash", program, *map(str, arguments)]
        return subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False, cwd=tmp_path)

    return run


@pytest.mark.parametrize("flags", [("--workers", "1"), ("--workers", "2", "--progress", "json")])
def test_a_build_is_done_all_the_same(flags: tuple[str, ...], unread: Run, pets: Path, out: Path) -> None:
    (pets / "cats" / "broken.png").write_bytes(b"no image")
    done = unread("build-shards", pets, out, "--json", *flags)
    assert done.returncode == 1, done.stdout
    assert json.loads(done.stdout)["failed"] == 1
    prep("build-shards", pets, out.parent / "other", "--workers", "1")
    assert snapshot(out) == snapshot(out.parent / "other")
    (pets / "cats" / "broken.png").unlink()
    done = unread("build-shards", pets, out, "--json", *flags)
    assert (done.returncode, json.loads(done.stdout)["kept"]) == (0, 8)


def test_so_are_other_commands(unread: Run, pets: Path, out: Path) -> None:
    build(pets, out)
    assert unread("verify", out).returncode == 0
    assert unread("build-shards", pets, out, "--size", "x").returncode == 2
    assert json.loads(unread("inspect", out.parent / "missing", "--json").stdout)["exit_code"] == 1


def test_so_is_a_build_from_python_with_fresh_workers(unread: Run, pets: Path, out: Path) -> None:
    code = (
        "import sys, threading; from prep import BuildOptions, build_shards; "
        "threading.Thread(target=threading.Event().wait, daemon=True).start(); "
        "print(build_shards(*sys.argv[1:], BuildOptions(workers=2)).added)"
    )
    done = unread("-c", code, pets, out, program=sys.executable)
    assert (done.returncode, done.stdout) == (0, "8\n")
