"""Which files of a folder are raw items, and what is said of the others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from manifests.rows import arrow
from prep.errors import SourceError
from prep.readers.registry import names_by_suffix
from prep.sources import files as files_module
from prep.sources.files import TABLE_SUFFIXES, FolderFiles, column_of_paths, list_files, without_raw_suffix


def check_all_counted(root: Path, found: FolderFiles) -> None:
    """No file is passed over in silence (for folders without hidden folders and links)."""
    below = sum(len(leaves) for _, _, leaves in os.walk(root))
    assert sum(map(len, found.raw.values())) + len(found.tables) + sum(found.ignored.values()) == below


@pytest.mark.parametrize("suffix", sorted(TABLE_SUFFIXES.union(names_by_suffix())))
def test_an_ending_counts_in_any_case(touch: Any, suffix: str) -> None:
    root = touch(f"a{suffix}", f"B{suffix.upper()}", f"c.d{suffix.title()}")
    found = list_files(root)
    paths = found.tables if suffix in TABLE_SUFFIXES else found.raw[names_by_suffix()[suffix]]
    assert paths == [f"B{suffix.upper()}", f"a{suffix}", f"c.d{suffix.title()}"]
    check_all_counted(root, found)


def test_each_list_is_sorted_by_path(touch: Any) -> None:
    found = list_files(touch("b/1.png", "a/2.png", "a/10.png", "c.png", "a.png", "z.npy", "y/x.npz", "é.png"))
    assert found.raw["images"] == ["a.png", "a/10.png", "a/2.png", "b/1.png", "c.png", "é.png"]
    assert found.raw["arrays"] == ["y/x.npz", "z.npy"]


def test_what_is_no_raw_item_is_counted_by_its_ending(touch: Any) -> None:
    root = touch("a.png", "notes.txt", "b/more.TXT", "README", "x.tar.gz", "sub/labels.csv", "a.jpg.bak", "png")
    found = list_files(root)
    assert found.raw["images"] == ["a.png"]
    assert found.ignored == {".txt": 2, "no ending": 2, ".gz": 1, ".csv": 1, ".bak": 1, "hidden": 0}
    check_all_counted(root, found)


def test_tables_are_those_at_the_top(touch: Any) -> None:
    assert list_files(touch("b.csv", "a.parquet", "c.tsv", "sub/d.csv")).tables == ["a.parquet", "b.csv", "c.tsv"]


def test_hidden_files_and_folders_are_left_aside(touch: Any) -> None:
    found = list_files(touch("a.png", ".b.png", "._a.png", ".git/c.png", ".git/d.png", "x/.thumbs/e.png", ".DS_Store"))
    assert found.raw["images"] == ["a.png"]
    assert found.ignored["hidden"] == 5  # a hidden folder counts once, whatever it holds


def test_links_to_folders_are_followed(touch: Any, tmp_path: Path) -> None:
    root = touch("a/1.png")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/2.png").touch()
    (root / "b").symlink_to(tmp_path / "elsewhere")
    (root / "3.png").symlink_to(tmp_path / "elsewhere/2.png")
    assert list_files(root).raw["images"] == ["3.png", "a/1.png", "b/2.png"]


@pytest.mark.parametrize("target", [".", "..", "../../a"])
def test_a_circle_of_links_ends(touch: Any, target: str) -> None:
    root = touch("a/1.png", "a/b/2.png")
    (root / "a/b/loop").symlink_to(target)
    found = list_files(root)
    assert found.raw["images"] == ["a/1.png", "a/b/2.png"]
    assert found.ignored["folder linked twice"] == 1


def test_a_folder_goes_by_its_own_name_rather_than_a_links(touch: Any) -> None:
    root = touch("cats/1.png")
    (root / "best").symlink_to("cats")
    found = list_files(root)
    assert found.raw["images"] == ["cats/1.png"]
    assert found.ignored["folder linked twice"] == 1


def test_the_root_may_be_a_link(touch: Any, tmp_path: Path) -> None:
    touch("a/1.png")
    (tmp_path / "link").symlink_to("raw")
    assert list_files(tmp_path / "link").raw["images"] == ["a/1.png"]


def test_names_that_are_no_utf_8_are_listed(raw: Path) -> None:
    with open(os.path.join(os.fsencode(raw), b"\xff.png"), "wb"):
        pass
    assert list_files(raw).raw["images"] == [os.fsdecode(b"\xff.png")]


def test_a_folder_that_cannot_be_read_is_an_error_and_not_an_empty_one(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(raw / "closed"))

    monkeypatch.setattr(files_module.os, "scandir", refuse)
    with pytest.raises(SourceError, match="closed: the folder cannot be read: Permission denied"):
        list_files(raw)


@pytest.mark.parametrize(
    ("path", "stem"),
    [
        ("a.png", "a"),
        ("x/a.JPEG", "x/a"),
        ("a.npy", "a"),
        ("a.NPZ", "a"),
        ("a.b.tif", "a.b"),
        ("a.png.npy", "a.png"),
        ("1.5", "1.5"),
        ("x.y/a", "x.y/a"),
        ("a.txt", "a.txt"),
        (".png", ".png"),
        ("x/.npy", "x/.npy"),
        ("", ""),
    ],
)
def test_only_the_ending_of_a_raw_file_is_taken_off(path: str, stem: str) -> None:
    assert without_raw_suffix(path) == stem


def test_paths_that_are_no_utf_8_are_empty_in_a_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow, "ROWS_AT_ONCE", 2)
    assert column_of_paths(iter(["a.png", "b.png", "\udcff.png", "é.png", "c.png"])).to_pylist() == ["a.png", "b.png", "", "é.png", "c.png"]
    assert column_of_paths([]).to_pylist() == []
