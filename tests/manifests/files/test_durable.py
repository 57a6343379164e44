"""Flushing: by one call where the system has it, else file by file with their folders; what it finds wrong is told."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest

from manifests.files import durable
from manifests.files.durable import sync_below


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "new/deeper/file"
    path.parent.mkdir(parents=True)
    path.touch()
    return path


def failing(number: int) -> object:
    def fail(_: int) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return lambda: fail


def flushed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which the path of every file and folder that is flushed goes."""
    seen: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: seen.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    return seen


@pytest.mark.parametrize("syncfs", [lambda: None, failing(errno.ENOSYS), failing(errno.EPERM)], ids=["none", "unknown", "forbidden"])
def test_without_the_call_each_file_and_every_folder_above_it_is_flushed(
    syncfs: object, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "_syncfs", syncfs)
    gone = file.parent.parent / "emptied"
    gone.mkdir()
    seen = flushed(monkeypatch)
    sync_below(file.parent, [file], [gone, gone / "no longer there"])
    wanted = [file, file.parent, gone, file.parent.parent, file.parent.parent.parent]
    assert next(path for path in seen if path in map(str, wanted)) == str(file)  # a folder is flushed after what it names
    assert set(map(str, wanted)) <= set(seen)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_what_the_call_finds_wrong_is_told_with_the_folder(number: int, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "_syncfs", failing(number))
    with pytest.raises(OSError, match=os.strerror(number)) as told:
        sync_below(file.parent, [file])
    assert told.value.filename == str(file.parent)


def test_the_call_is_made_and_its_errors_are_read() -> None:
    syncfs = durable._syncfs()
    if syncfs is None:
        pytest.skip("this system has no syncfs")
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        syncfs(-1)
