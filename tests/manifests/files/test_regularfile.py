"""Files of strangers: read if they are files, and nothing waits for a pipe."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from manifests.files import regularfile
from manifests.files.regularfile import open_regular, read_beginning_with

MARK = b"\xff\xd8"


@pytest.mark.parametrize("content", [MARK, MARK + b"x", MARK + bytes(range(256)) * 400])
def test_a_file_with_the_mark_is_read_whole(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    assert read_beginning_with(MARK, tmp_path / "a", 1 << 20) == content


@pytest.mark.parametrize("content", [b"", MARK[:1], b"x" + MARK, MARK + bytes(100)])
def test_any_other_and_one_that_is_too_large_are_left(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    assert read_beginning_with(MARK, tmp_path / "a", 50) is None


def test_what_the_system_gives_in_pieces_is_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(MARK + bytes(range(200)))
    read = os.read
    monkeypatch.setattr(regularfile.os, "read", lambda descriptor, count: read(descriptor, min(count, 7)))
    assert read_beginning_with(MARK, tmp_path / "a", 1000) == MARK + bytes(range(200))


def test_a_pipe_and_a_folder_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        for reading in (open_regular, lambda path: read_beginning_with(MARK, path, 50)):
            with pytest.raises(OSError):  # noqa: PT011  # a folder may be the system's to refuse
                reading(path)


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(MARK)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        read_beginning_with(MARK, tmp_path / "a", 50)
        read_beginning_with(b"no", tmp_path / "a", 50)
    assert len(os.listdir("/proc/self/fd")) == before
