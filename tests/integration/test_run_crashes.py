"""A build that is killed, or has no room left, at any of its file operations: the old state or the new one holds, and the next
build ends as if nothing had been."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_line import build, check_refused, prep, snapshot, until, write_image
from scenes import mask_of, write_scene

from prep.build.stage.stage import KEPT

SCRIPT = Path(__file__).with_name("crashing.py")

OLD_WITH_PARTS = "old, and parts of the new"
"""What the script calls the old state beside which the next build finds something to go on from."""


def make_source(root: Path, *, changed: bool) -> Path:
    """Write raw images: of the changed ones some are new, some others, one is gone, one cannot be read, and a folder was a file."""
    source = root / "raw"
    for number in range(4):
        write_image(source / "cats" / f"{number}.png", seed=number)
    write_image(source / "dogs" / "a.npy.png")
    if changed:
        write_image(source / "cats" / "0.png", seed=100)
        (source / "cats" / "1.png").unlink()
        write_image(source / "dogs" / "a.png", seed=5)
        (source / "dogs" / "a.npy.png").unlink()
        write_image(source / "dogs" / "a.npy" / "b.png", seed=6)
        (source / "dogs" / "a.png").unlink()
        write_image(source / "birds" / "new.png", seed=7)
        (source / "cats" / "bad.png").write_bytes(b"no image")
    return source


def make_scenes(root: Path, *, changed: bool) -> Path:
    """Write raw items with further arrays: of the changed ones one has others, one has lost its, one is gone, and one is new."""
    source = root / "raw"
    for number in range(3):
        write_scene(source / "a" / f"{number}.scene", number, mask=mask_of(number))
    write_scene(source / "b" / "x.npy.scene", 3, mask=mask_of(3), depth=("float32", [1.5]))
    if changed:
        write_scene(source / "a" / "0.scene", 10, mask=mask_of(10), depth=("float32", [2.5]))
        write_scene(source / "a" / "1.scene", 11)
        (source / "a" / "2.scene").unlink()
        (source / "b" / "x.npy.scene").unlink()
        write_scene(source / "b" / "x.npy" / "y.scene", 12, mask=mask_of(12))
        (source / "a" / "bad.scene").write_text("{")
    return source


def files(folder: Path) -> dict[str, str]:
    """Return the dataset's files: a build that ended early may leave folders, and nothing else."""
    return {name: digest for name, digest in snapshot(folder).items() if digest != "folder"}


def crash(*arguments: str | Path) -> list[str]:
    """Run the script and return which state it found after each end."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    ran = subprocess.run([sys.executable, SCRIPT, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    states: list[str] = json.loads(ran.stdout)
    return states


@pytest.mark.slow
@pytest.mark.usefixtures("scene_reader")
@pytest.mark.parametrize("act", ["killed", "full"])
@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("every", [pytest.param(True, marks=pytest.mark.faults, id="every"), pytest.param(False, id="some")])
def test_at_every_file_operation_of_a_build_with_further_arrays(act: str, fresh: bool, every: bool, tmp_path: Path) -> None:
    out = tmp_path / "data"
    if not fresh:
        build(make_scenes(tmp_path, changed=False), out)
        assert (out / "arrays" / "depth" / "b" / "x.npy.npy").exists()
    states = crash(make_scenes(tmp_path, changed=True), out, act, "1" if every else "13")
    if act == "killed":
        first_new = states.index("new")
        assert set(states[:first_new]) <= {"old", OLD_WITH_PARTS}
        assert set(states[first_new:]) == {"new"}
        assert OLD_WITH_PARTS in states or not every


SOME = {"killed": 17, "full": 17, "files": 7, "inodes": 5, "quota": 5, "descriptors": 3}
"""For each end of a build, which operations to try where not all are: the first one, and each how-manyth after it."""


@pytest.mark.slow
@pytest.mark.parametrize("act", SOME)
@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("every", [pytest.param(True, marks=pytest.mark.faults, id="every"), pytest.param(False, id="some")])
def test_at_every_file_operation(act: str, fresh: bool, every: bool, tmp_path: Path) -> None:
    step = 1 if every else SOME[act]
    out = tmp_path / "data"
    if not fresh:
        build(make_source(tmp_path, changed=False), out, "--split", "train=0.5,val=0.5")
    states = crash(make_source(tmp_path, changed=True), out, act, str(step))
    if act == "killed":
        first_new = states.index("new")
        assert set(states[:first_new]) == {"old", OLD_WITH_PARTS}  # there is one moment at which the state changes
        assert set(states[first_new:]) == {"new"}
        assert first_new > 30 // step
        assert len(states) - first_new > 10 // step
    if act in {"files", "inodes", "quota"}:
        assert states.count("old") > (30 if act == "files" else 4) // step
        if every:
            assert states.count(OLD_WITH_PARTS) > (4 if act == "files" else 0)
            assert "new" in states
    if act == "descriptors":
        assert {"old", "new"} <= set(states)


@pytest.mark.slow
@pytest.mark.parametrize("kills", [pytest.param(100, marks=pytest.mark.faults), 10])
def test_at_random_moments_with_two_workers(kills: int, tmp_path: Path) -> None:
    source, out = make_source(tmp_path, changed=False), tmp_path / "data"
    build(source, out, "--split", "train=0.5,val=0.5")
    make_source(tmp_path, changed=True)
    for number in range(300):
        write_image(source / "fish" / f"{number:03d}.png", seed=number, shape=(64, 64, 3))
    states = crash(source, out, "random", str(kills))
    assert len(states) == kills
    assert states.count("old") > kills // 10


@pytest.mark.slow
@pytest.mark.usefixtures("scene_reader")
@pytest.mark.parametrize("kills", [pytest.param(60, marks=pytest.mark.faults), 6])
def test_at_random_moments_with_two_workers_and_further_arrays(kills: int, tmp_path: Path) -> None:
    source, out = make_scenes(tmp_path, changed=False), tmp_path / "data"
    build(source, out)
    make_scenes(tmp_path, changed=True)
    for number in range(600):
        write_scene(source / "many" / f"{number:03d}.scene", number % 256, mask=mask_of(number))
    assert len(crash(source, out, "random", str(kills))) == kills


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return a function that gives a file system of its own some limit, and its folder."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def sized(limit: str) -> Path:
        way = f"remount,{limit}" if os.path.ismount(folder) else limit
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", way, "tmpfs", folder], capture_output=True, text=True, check=False)  # noqa: S607
        if mounted.returncode:
            pytest.skip(f"this machine mounts nothing: {mounted.stderr.strip()}")
        return folder

    yield sized
    if os.path.ismount(folder):  # and a worker that is about to end may still have a file open there
        # An error that a worker has raised and the frames that it went through hold each other, and with them the state that is mapped.
        gc.collect()
        until(lambda: not subprocess.run(["umount", folder], capture_output=True, check=False).returncode, "the disk to be free")  # noqa: S607


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(("little", "much"), [("size=600k", "size=50m"), ("nr_inodes=300", "nr_inodes=3000")], ids=["blocks", "inodes"])
def test_a_disk_that_is_full_is_gone_on_with_when_there_is_room(
    small_disk: Callable[[str], Path], little: str, much: str, workers: str, tmp_path: Path
) -> None:
    out = small_disk(little) / "data"
    source = make_source(tmp_path, changed=False)
    build(source, out)
    before = files(out)
    for number in range(400):
        write_image(source / "fish" / f"{number:03d}.png", seed=number, shape=(32, 32, 3))
    full = prep("build-shards", source, out, "--workers", workers, "--dtype", "float32")
    check_refused(full, 1, "No space left on device", str(out))
    assert files(out) == before
    assert prep("verify", out).code == 0
    assert len([line for line in full.err.splitlines() if line.startswith("error: ")]) == 1
    small_disk(much)
    again = prep("build-shards", source, out, "--workers", workers, "--dtype", "float32")
    assert again.code == 0
    assert ("going on: " in again.err) == (KEPT in full.err)
    assert KEPT in full.err or little == "size=600k"  # which has no room for one chunk
    build(source, tmp_path / "elsewhere", "--dtype", "float32")
    assert files(out) == files(tmp_path / "elsewhere")
