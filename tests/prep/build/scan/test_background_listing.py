"""Each in an interpreter of its own: a test runner has threads, beside which no process is copied."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from prep import SilentReporter, build_shards

SETTING = """
import multiprocessing, os, shutil, sys, threading
from pathlib import Path
from manifests import load_manifest
import prep.build.scan.background_listing
from prep.build.scan.background_listing import looking_ahead
from prep.build.scan.existing_shards import damage_of

out = Path(sys.argv[1])
prep.build.scan.background_listing._FROM_BYTES = 0
prep.build.scan.background_listing.default_workers = lambda: 2
here = []

def told(manifest):
    here.append(os.getpid() == mine)
    return damage_of(manifest)

mine = os.getpid()
prep.build.scan.background_listing.damage_of = told
"""
ANSWER = """
    manifest = globals().get("manifest") or load_manifest(out)  # which starts threads, so that this process is not copied any more
    expected = damage_of(manifest).tolist()
    found = look(manifest).tolist()
assert found == expected, found
assert not multiprocessing.active_children()
print(bool(here))
"""
"""Prints whether this process looked itself."""


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A dataset of which a shard is missing and another is too short."""
    source = tmp_path / "raw"
    source.mkdir()
    for number in range(6):
        np.save(source / f"{number}.npy", np.arange(4, dtype=np.uint8))
    build_shards(source, tmp_path / "out", report=SilentReporter())
    (tmp_path / "out/shards/2.npy").unlink()
    with (tmp_path / "out/shards/4.npy").open("r+b") as file:
        file.truncate(130)
    return tmp_path / "out"


def looked_here(out: Path, during: str, before: str = "") -> bool:
    """Look ahead with a block that does something before it asks; return whether the process had to look itself."""
    script = f"{SETTING}{before}\nwith looking_ahead(out) as look:\n{during}{ANSWER}"
    ran = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", "-c", script, out], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    return ran.stdout == "True\n"


@pytest.mark.skipif(sys.platform != "linux", reason="processes are copied on Linux alone")
def test_a_copy_has_looked_when_the_answer_is_needed(out: Path) -> None:
    assert not looked_here(out, "    pass")


@pytest.mark.slow
def test_what_was_found_of_another_manifest_does_not_count(out: Path) -> None:
    wait = "    for copy in multiprocessing.active_children(): copy.join()\n"
    assert looked_here(out, wait + "    shutil.copy(out / 'manifest.csv', out / '.new'); (out / '.new').replace(out / 'manifest.csv')")


@pytest.mark.slow
def test_nor_is_a_copy_waited_for_that_was_killed(out: Path) -> None:
    slow = "import time; prep.build.scan.background_listing.load_existing = lambda _: time.sleep(600)"
    assert looked_here(out, "    for copy in multiprocessing.active_children(): copy.kill(); copy.join()", slow)


@pytest.mark.slow
@pytest.mark.parametrize(
    "before",
    [
        "prep.build.scan.background_listing._FROM_BYTES = 1 << 22",
        "prep.build.scan.background_listing.default_workers = lambda: 1",
        "threading.Thread(target=threading.Event().wait, daemon=True).start()",
        "manifest = load_manifest(out); (out / '.prep/build').mkdir(); (out / '.prep/build/commit.json').touch()",
        "def no_fork():\n    raise BlockingIOError\n\nos.fork = no_fork",
    ],
    ids=["small", "one processor", "a thread", "amid a changeover", "no process to be had"],
)
def test_no_copy_is_made_where_it_would_not_help(before: str, out: Path) -> None:
    assert looked_here(out, "    assert not multiprocessing.active_children()", before)


def test_a_dataset_that_is_not_there_needs_no_look(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib, prep.build.scan.background_listing as l\n"
        "with l.looking_ahead(pathlib.Path(sys.argv[1])) as look: print(look is l.damage_of)"
    )
    ran = subprocess.run([sys.executable, "-c", script, tmp_path / "none"], capture_output=True, text=True, check=True)
    assert ran.stdout == "True\n"


@pytest.mark.slow
def test_a_copy_that_fails_says_nothing(out: Path) -> None:
    assert looked_here(
        out,
        "    pass",
        "def failing(manifest):\n    os.getpid() == mine or 1 / 0\n    return told(manifest)\n\n"
        "prep.build.scan.background_listing.damage_of = failing",
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are copied on Linux alone")
def test_a_copy_ends_with_a_parent_that_is_killed(out: Path) -> None:
    slow = "import signal, time; prep.build.scan.background_listing.load_existing = lambda _: time.sleep(600)"
    script = f"{SETTING}{slow}\nwith looking_ahead(out) as look:\n    os.kill(mine, signal.SIGKILL)\n"
    # It has what its parent wrote to, so this waits for it.
    ran = subprocess.run([sys.executable, "-c", script, out], capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stdout, ran.stderr) == (-9, "", "")


@pytest.mark.slow
def test_a_process_that_may_have_none_of_its_own_looks_itself(out: Path) -> None:
    before = "multiprocessing.current_process()._config['daemon'] = True"
    assert looked_here(out, "    assert not multiprocessing.active_children()", before)
