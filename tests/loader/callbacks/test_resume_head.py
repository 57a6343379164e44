"""A saved training that was damaged, or made by hand, is refused in one line, whatever is wrong with it."""

from __future__ import annotations

import io
import json
import random
import resource
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loader.callbacks.progress import Progress
from loader.callbacks.resume_file import STATE_NAME, ResumeFolder, State, named_array
from loader.errors import ResumeError

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def folder(tmp_path: Path) -> ResumeFolder:
    """A folder with a state in it."""
    made = ResumeFolder(tmp_path / "run")
    made.prepare()
    made.write(
        State(
            identity={"samples": 6},
            progress=Progress(number=3, epoch=1, step=1),
            steps=2,
            epochs=[0],
            logs={"loss": [0.5]},
            groups={"model": [named_array("w", np.arange(6, dtype="float32").reshape(2, 3))], "metrics": []},
        )
    )
    return made


def entries_of(folder: ResumeFolder) -> dict[str, bytes]:
    with zipfile.ZipFile(folder.path / STATE_NAME) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(folder: ResumeFolder, entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(folder.path / STATE_NAME, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)


def check_refused(folder: ResumeFolder, match: str) -> None:
    with pytest.raises(ResumeError, match=match) as caught:
        folder.read()
    message = str(caught.value)
    assert message.startswith(f"{folder.path / STATE_NAME} ")
    assert message.endswith(f"; delete {folder.path} to train from the start")
    assert "\n" not in message
    assert len(message) < 500


COUNTS = [-1, 1.5, True, "1", None, [], {}]
WRONG: dict[str, list[Any]] = {
    "identity": [None, [], "x", 1],
    "number": COUNTS,
    "epoch": COUNTS,
    "step": COUNTS,
    "steps": [0, *COUNTS],
    "upcoming": [value for value in COUNTS if value is not None],
    "is_complete": [0, 1, "true", None],
    "is_stopped": [0, 1, "true", None],
    "epochs": [None, {}, 3, [None], [-1], ["0"], [[0]], "0"],
    "logs": [None, [], {"loss": None}, {"loss": 0.5}, {"loss": ["x"]}, {"loss": [None]}, {"loss": [True]}],
    "groups": [
        None,
        [],
        {"model": None},
        {"model": {}},
        {"model": [None]},
        {"model": [{}]},
        {"model": [{"name": 1, "dtype": "float32", "shape": [2, 3]}]},
        {"model": [{"name": "w", "dtype": None, "shape": [2, 3]}]},
        {"model": [{"name": "w", "dtype": "float32", "shape": [2, -3]}]},
        {"model": [{"name": "w", "dtype": "float32", "shape": "2x3"}]},
        {"model": [{"name": "w", "dtype": "float32", "shape": [2, [3]]}]},
    ],
}


def changed(folder: ResumeFolder, change: Change) -> None:
    entries = entries_of(folder)
    head = json.loads(entries["state.json"])
    change(head)
    write(folder, entries | {"state.json": json.dumps(head).encode()})


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values], ids=str)
def test_a_value_of_another_kind_is_named(folder: ResumeFolder, name: str, value: Any) -> None:
    changed(folder, lambda head: head.update({name: value}))
    check_refused(folder, rf"is damaged \(ValueError: {name} must be .*, got ")


@pytest.mark.parametrize("name", [name for name in WRONG if name != "upcoming"])
def test_a_value_that_is_missing_is_named(folder: ResumeFolder, name: str) -> None:
    changed(folder, lambda head: head.pop(name))
    check_refused(folder, rf"is damaged \(ValueError: {name} is missing, expected ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda head: head.update(step=3), "step must be at most steps=2, got 3"),
        (lambda head: head.update(logs={"loss": [1, 2]}), "logs must have at most one number for each of the 1 epochs, got 2"),
        (lambda head: head.update(format="other"), "it does not say 'shardfeed resume'"),
        (lambda head: head.pop("version"), "it is of version None, and this is version 1"),
        (lambda head: head["groups"]["model"][0].update(shape=[3, 2]), r"w has shape \(2, 3\) instead of \(3, 2\)"),
        (lambda head: head["groups"]["model"][0].update(dtype="float64"), "w has dtype float32 instead of 'float64'"),
        (lambda head: head["groups"]["model"][0].update(dtype="bfloat16"), "w has dtype float32 instead of 'bfloat16'"),
        (lambda head: head["groups"]["model"][0].update(dtype="x" * 10_000), "w has dtype float32 instead of 'xxx"),
        (lambda head: head["groups"]["model"].append(head["groups"]["model"][0]), "no item named 'model/00001.npy'"),
    ],
)
def test_values_that_do_not_go_together_are_named(folder: ResumeFolder, change: Change, message: str) -> None:
    changed(folder, change)
    check_refused(folder, message)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"format": "shardfeed resume", "version": 1e999}',
        b'{"format": "shardfeed resume", "version": 1, "identity": {}, "number": ' + b"9" * 10_000 + b"}",
    ],
    ids=lambda data: repr(data[:20]),
)
def test_what_is_no_head_at_all_is_refused(folder: ResumeFolder, data: bytes) -> None:
    write(folder, entries_of(folder) | {"state.json": data})
    check_refused(folder, "is damaged")


def npy(header: bytes, data: bytes = bytes(24), version: bytes = b"\x01\x00") -> bytes:
    width = "<H" if version == b"\x01\x00" else "<I"
    return b"\x93NUMPY" + version + struct.pack(width, len(header)) + header + data


ARRAYS = {
    "an open bracket": npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3"),
    "an open string": npy(b"{'descr': '''<f4', 'fortran_order': False, 'shape': (2, 3)}\n"),
    "an open string of version 2": npy(b"'''" + b"x" * 100, version=b"\x02\x00"),
    "no header": npy(b""),
    "no dtype": npy(b"{'descr': [], 'fortran_order': False, 'shape': (2, 3)}"),
    "an odd dtype": npy(b"{'descr': (), 'fortran_order': False, 'shape': (2, 3)}"),
    "a huge shape": npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3000000000000)}"),
    "an impossible shape": npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 3)}"),
    "no integers": npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, None)}"),
    "objects": npy(b"{'descr': '|O', 'fortran_order': False, 'shape': (2, 3)}"),
    "many brackets": npy(b"(" * 5000),
    "a header that is not there": b"\x93NUMPY\x02\x00\xff\xff\xff\x7f",
    "nothing": b"",
}


@pytest.mark.parametrize("name", ARRAYS)
def test_what_is_no_array_is_refused(folder: ResumeFolder, name: str) -> None:
    write(folder, entries_of(folder) | {"model/00000.npy": ARRAYS[name]})
    check_refused(folder, r"is damaged \(ArrayFileError: model/00000.npy: ")


def test_what_is_compressed_is_not_blown_up(folder: ResumeFolder) -> None:
    write(folder, entries_of(folder) | {"model/00000.npy": bytes(50_000_000)}, zipfile.ZIP_DEFLATED)
    check_refused(folder, "is compressed, or larger than the file")


def test_what_claims_to_be_larger_than_the_file_is_not_allocated_for(folder: ResumeFolder) -> None:
    data = bytearray((folder.path / STATE_NAME).read_bytes())
    central = data.rindex(b"PK\x01\x02")
    data[central + 20 : central + 28] = struct.pack("<II", 0xF0000000, 0xF0000000)
    (folder.path / STATE_NAME).write_bytes(data)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), hard))
    try:
        check_refused(folder, "is damaged")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_what_needs_more_memory_than_there_is_is_refused(folder: ResumeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("loader.callbacks.resume_file.read_stream", fail)
    check_refused(folder, "needs more memory than there is, or is damaged")


@pytest.mark.parametrize("count", [pytest.param(20_000, marks=pytest.mark.faults), 500])
def test_whatever_is_put_into_an_entry_ends_in_a_state_or_in_one_line(folder: ResumeFolder, count: int) -> None:
    """The entries are changed, not the archive, whose checksums would tell."""
    draw = random.Random(5)  # noqa: S311  # no secret
    whole = entries_of(folder)
    for _ in range(count):
        name = draw.choice(list(whole))
        data = bytearray(whole[name])
        for _ in range(draw.randint(1, 4)):
            place = draw.randrange(min(len(data), 400))
            data[place : place + draw.randint(0, 3)] = bytes(draw.choice(b"\x00\xff\"'{}[](),:0123456789eE-Nulltrufa") for _ in range(2))
        write(folder, whole | {name: bytes(data)})
        try:
            folder.read()
        except ResumeError as error:
            assert "\n" not in str(error)  # noqa: PT017  # thousands of files: no second context each


def test_a_sound_state_is_read_as_it_was(folder: ResumeFolder) -> None:
    write(folder, entries_of(folder))
    found = folder.read()
    assert found is not None
    assert np.load(io.BytesIO(entries_of(folder)["model/00000.npy"])).tolist() == found.groups["model"][0].array.tolist()
