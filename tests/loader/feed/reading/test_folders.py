"""Folders are opened one name at a time, so that nothing outside the root is ever opened, and few of them are open at once."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from loader.feed.reading.folders import Folders, OutsideError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with `a/b/file`, whose text is its path, and a folder beside it."""
    for path in ("root/a/b/file", "root/store/file", "outside/file", "outside/b/file"):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(path)
    return tmp_path / "root"


def text_of(folders: Folders, path: bytes) -> str:
    with os.fdopen(folders.open(path)) as file:
        return file.read()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_file_is_opened_by_its_path(root: Path) -> None:
    folders = Folders(root)
    assert text_of(folders, b"a/b/file") == "root/a/b/file"
    for path in (b"a/b/none", b"a/none/file", b"none/b/file"):
        with pytest.raises(FileNotFoundError):
            folders.open(path)
    with pytest.raises(NotADirectoryError):
        folders.open(b"a/b/file/more")


def test_a_folder_is_opened_once(root: Path) -> None:
    folders = Folders(root)
    assert folders.of(b"a/b") is folders.of(b"a/b")
    assert folders.of(b"") is folders.of(b"")


@pytest.mark.parametrize("linked", ["a", "a/b", "a/b/file"])
@pytest.mark.parametrize("kind", ["relative", "absolute", "of a link"])
def test_links_that_stay_inside_are_followed(root: Path, linked: str, kind: str) -> None:
    path, moved = root / linked, root / "store" / "moved"
    path.rename(moved)
    target = moved if kind == "absolute" else Path(os.path.relpath(moved, path.parent))
    if kind == "of a link":
        (root / "link").symlink_to("store/moved")
        target = Path(os.path.relpath(root / "link", path.parent))
    path.symlink_to(target)
    assert text_of(Folders(root), b"a/b/file") == "root/a/b/file"


@pytest.mark.parametrize("linked", ["a", "a/b", "a/b/file"])
@pytest.mark.parametrize("target", ["outside", "outside/b", "outside/file", "root/../outside"])
def test_links_that_lead_out_are_not(root: Path, linked: str, target: str) -> None:
    path = root / linked
    path.rename(root / "moved")
    path.symlink_to(root.parent / target)
    with pytest.raises(OutsideError, match="a symbolic link that leads out of"):
        Folders(root).open(b"a/b/file")


def test_a_link_that_is_swapped_after_it_was_looked_at_is_not_followed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The moment between looking where a link leads and opening what is there."""
    (root / "a").rename(root / "moved")
    (root / "a").symlink_to("moved")
    folders = Folders(root)
    resolved = folders._resolved

    def swap(path: bytes) -> list[bytes]:
        names = resolved(path)
        (root / "moved").rename(root / "before")
        (root / "moved").symlink_to(root.parent / "outside")
        return names

    monkeypatch.setattr(folders, "_resolved", swap)
    with pytest.raises(NotADirectoryError):
        folders.open(b"a/b/file")


def test_few_folders_are_open_at_once(root: Path) -> None:
    paths = [f"many/{number}/in".encode() for number in range(200)]
    for path in paths:
        (root / path.decode()).mkdir(parents=True)
    before = open_files()
    folders = Folders(root)
    for path in [*paths, *paths]:
        folders.of(path)
        assert open_files() <= before + 40
    folders.let_go()
    assert open_files() == before


def test_a_folder_in_use_stays_open_until_it_is_no_longer_used(root: Path) -> None:
    before = open_files()
    folders = Folders(root)
    held = folders.of(b"a/b")
    folders.let_go()
    os.close(os.open("file", os.O_RDONLY, dir_fd=held.descriptor))
    assert open_files() == before + 1
    del held
    assert open_files() == before


def test_threads_that_read_while_others_let_go_read_what_they_asked_for(root: Path) -> None:
    folders = Folders(root)
    paths = [b"a/b/file", b"store/file"]
    wrong: list[str] = []

    def read(path: bytes) -> None:
        wrong.extend(text for _ in range(300) if (text := text_of(folders, path)) != f"root/{path.decode()}")

    threads = [threading.Thread(target=read, args=(path,)) for path in paths * 2]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        folders.let_go()
    assert wrong == []
