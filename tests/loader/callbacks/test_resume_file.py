from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loader.callbacks.progress import Progress
from loader.callbacks.resume_file import STATE_NAME, NamedArray, ResumeFolder, State, named_array
from loader.errors import OptionError, ResumeError

ARRAYS = {
    "a matrix": np.arange(6, dtype="float32").reshape(2, 3),
    "a scalar": np.array(3, dtype="int64"),
    "nothing": np.zeros((0, 4)),
    "not a number, and infinity": np.array([np.nan, np.inf, -0.0]),
    "flags": np.array([True, False]),
    "columns first": np.asfortranarray(np.arange(6).reshape(2, 3)),
}


def state(**changes: Any) -> State:
    made = State(
        identity={"samples": 6, "seed": 1 << 90, "pad_to": None},
        progress=Progress(number=(1 << 70) + 3, epoch=2, step=3),
        steps=10,
        epochs=[0, 1],
        logs={"loss": [0.1, float("inf")], "val_loss": [0.5]},
        groups={"model": [named_array(name, array) for name, array in ARRAYS.items()], "metrics": []},
    )
    return replace(made, **changes)


def check_same(found: State | None, expected: State) -> None:
    assert found is not None
    assert replace(found, groups={}) == replace(expected, groups={})
    assert found.groups.keys() == expected.groups.keys()
    for group, items in expected.groups.items():
        assert len(found.groups[group]) == len(items)
        for one, other in zip(found.groups[group], items, strict=True):
            assert (one.name, one.dtype, one.array.dtype) == (other.name, other.dtype, other.array.dtype)
            assert one.array.shape == other.array.shape
            assert one.array.tobytes() == other.array.tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> ResumeFolder:
    made = ResumeFolder(tmp_path / "runs" / "run")
    made.prepare()
    return made


def test_a_state_survives_a_round_trip(folder: ResumeFolder) -> None:
    assert folder.read() is None
    for expected in [state(), state(is_complete=True, is_stopped=True, groups={}, logs={}, epochs=[])]:
        folder.write(expected)
        check_same(folder.read(), expected)
    assert os.listdir(folder.path) == [STATE_NAME]


def test_equal_states_are_equal_bytes_that_numpy_can_read(folder: ResumeFolder) -> None:
    written = []
    for _ in range(2):
        folder.write(state())
        written.append((folder.path / STATE_NAME).read_bytes())
    assert written[0] == written[1]
    with np.load(folder.path / STATE_NAME, allow_pickle=False) as archive:
        assert np.array_equal(archive["model/00000"], ARRAYS["a matrix"])


def test_dtypes_that_numpys_files_cannot_name() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = np.array([[1.5], [-2.0]], dtype=ml_dtypes.bfloat16)
    item = named_array("kernel", array)
    assert item.array.dtype == np.uint16
    assert item.dtype == "bfloat16"
    assert np.array_equal(item.array.view(array.dtype), array)


def test_every_damaged_byte_is_noticed_or_changes_nothing(folder: ResumeFolder) -> None:
    expected = state(groups={"model": [named_array("w", np.arange(3.0))]})
    folder.write(expected)
    file = folder.path / STATE_NAME
    whole = file.read_bytes()
    noticed = 0
    for position in range(len(whole)):
        file.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        try:
            found = folder.read()
        except ResumeError as error:
            assert "delete" in str(error) and "\n" not in str(error)  # noqa: PT017, PT018  # hundreds of bytes: no second context each
            noticed += 1
        else:
            check_same(found, expected)
    assert noticed > len(whole) // 2


@pytest.mark.parametrize("length", [0, 1, 100, -1])
def test_a_file_cut_short_is_damaged(folder: ResumeFolder, length: int) -> None:
    folder.write(state())
    file = folder.path / STATE_NAME
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(ResumeError, match=r"is damaged .*; delete .*run to train from the start$"):
        folder.read()


def test_nothing_is_unpickled(folder: ResumeFolder) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(folder.path / "trapped"),)

    folder.write(state(groups={"model": [NamedArray(name="w", dtype="float64", array=np.zeros(1))]}))
    with np.load(folder.path / STATE_NAME) as archive:
        head = archive["state.json"]
    np.savez(folder.path / STATE_NAME, **{"model/00000": np.array([Trap()], dtype=object)})
    import zipfile  # noqa: PLC0415

    with zipfile.ZipFile(folder.path / STATE_NAME, "a") as archive:
        archive.writestr("state.json", bytes(head))
    with pytest.raises(ResumeError, match=r"model/00000\.npy: holds Python objects"):
        folder.read()
    assert not (folder.path / "trapped").exists()


def test_another_version_is_named(folder: ResumeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loader.callbacks.resume_file.VERSION", 2)
    folder.write(state())
    monkeypatch.undo()
    with pytest.raises(ResumeError, match="of version 2, and this is version 1"):
        folder.read()


@pytest.mark.parametrize("name", ["fsync", "replace", "open"])
def test_what_goes_wrong_in_a_save_leaves_the_state_before(folder: ResumeFolder, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    folder.write(state())

    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(f"os.{name}", fails)
    with pytest.raises(ResumeError, match=r"run: cannot save the training's state: No space left on device$"):
        folder.write(state(steps=11))
    monkeypatch.undo()
    check_same(folder.read(), state())
    assert os.listdir(folder.path) == [STATE_NAME]


KILLER = textwrap.dedent("""
    import os, signal, sys
    from pathlib import Path
    import numpy as np
    from loader.callbacks.progress import Progress
    from loader.callbacks.resume_file import ResumeFolder, State, named_array

    MODULES = ("manifests.files.atomic", "loader.callbacks.resume_file", "zipfile")  # the last is a package in later Pythons
    folder = ResumeFolder(sys.argv[1])
    folder.prepare()

    def state(number):
        return State(identity={}, progress=Progress(number=number), steps=1, groups={"m": [named_array("w", np.full(3, number))]})

    reached = set()

    def write_until_line(number, line):
        lines = 0
        def trace(frame, event, argument):
            nonlocal lines
            module = frame.f_globals.get("__name__")
            if module not in MODULES:
                return None
            reached.add(module)
            if event in {"line", "return"}:
                lines += 1
                if lines == line:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace
        sys.settrace(trace)
        folder.write(state(number))
        sys.settrace(None)

    write_until_line(0, None)
    line, before, states = 0, 0, []
    while True:
        line += 1
        child = os.fork()
        if not child:
            write_until_line(line, line)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        found = folder.read()
        assert found.progress.number in (before, line), (line, found)
        assert found.groups["m"][0].array.tolist() == [found.progress.number] * 3
        before = found.progress.number
        states.append(before == line)
        if not os.WIFSIGNALED(status):
            break
    folder.prepare()
    print(line, sum(states), reached == set(MODULES), os.listdir(folder.path))
""")


def test_a_save_killed_at_any_line_leaves_the_state_before_or_the_new_one(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", KILLER, str(tmp_path / "run")], capture_output=True, text=True, check=False)
    assert not run.returncode, run.stderr
    lines, changed, went_everywhere, left = run.stdout.split(maxsplit=3)
    assert went_everywhere == "True"
    assert 1 < int(changed) < int(lines)
    assert left.strip() == repr([STATE_NAME])


def test_an_unfinished_file_is_removed_unless_its_writer_lives(folder: ResumeFolder) -> None:
    dead, living = folder.path / ".tmp-dead", folder.path / ".tmp-living"
    dead.touch()
    with open(living, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        folder.prepare()
        assert os.listdir(folder.path) == [living.name]
    folder.prepare()
    assert os.listdir(folder.path) == []


def test_a_folder_that_cannot_be_written_is_named_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for path in [tmp_path / "file", tmp_path / "file" / "run"]:
        with pytest.raises(ResumeError, match=f"^{path}: cannot save the training's state there: "):
            ResumeFolder(path).prepare()

    def fails(**_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("tempfile.TemporaryFile", fails)
    with pytest.raises(ResumeError, match=r"Permission denied$"):
        ResumeFolder(tmp_path).prepare()


@pytest.mark.parametrize("path", ["", None, 3, b"run"])
def test_what_is_no_path(path: Any) -> None:
    with pytest.raises(OptionError, match="path must be that of a folder, got"):
        ResumeFolder(path)


def test_removing_leaves_what_is_not_its_own(folder: ResumeFolder) -> None:
    folder.write(state())
    (folder.path / "notes").touch()
    folder.remove()
    assert os.listdir(folder.path) == ["notes"]
    (folder.path / "notes").unlink()
    folder.remove()
    assert not folder.path.exists()
