"""A folder of raw files: the ID is the path without its ending, the class the folder above."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from manifests.rows.table import strings
from prep.errors import SourceError
from prep.sources.folder import list_folder
from prep.sources.listing import Failure, Listing

ROOT = Path("raw")


def listed(*paths: str, allow_empty_labels: bool = False) -> Listing:
    return list_folder(ROOT, list(paths), "images", allow_empty_labels=allow_empty_labels)


def table(listing: Listing) -> list[tuple[str, str, str]]:
    return list(zip(*map(strings, listing.items.select(["id", "source", "label"]).columns), strict=True))


@pytest.mark.parametrize(
    ("path", "id_", "label"),
    [
        ("cats/1.png", "cats/1", "cats"),
        ("train/cats/1.png", "train/cats/1", "cats"),
        ("cats/1.2.png", "cats/1.2", "cats"),
        ("007/NA.npy", "007/NA", "007"),
        ("Käse/été.tif", "Käse/été", "Käse"),
        ("two words/a b.png", "two words/a b", "two words"),
    ],
)
def test_the_id_is_the_path_and_the_class_the_folder(path: str, id_: str, label: str) -> None:
    listing = listed(path)
    assert table(listing) == [(id_, path, label)]
    assert listing.label_columns == ("label",)
    assert listing.failures == []


def test_items_are_sorted_by_id() -> None:
    assert strings(listed("b/1.png", "a/2.png", "a-1/3.png").items["id"]) == ["a-1/3", "a/2", "b/1"]


def test_files_without_folders_have_no_labels() -> None:
    listing = listed("1.png", "2.png")
    assert table(listing) == [("1", "1.png", ""), ("2", "2.png", "")]
    assert listing.label_columns == ()
    assert listing.notes == ["labels: none, as no file lies in a class folder"]


def test_the_classes_are_told() -> None:
    assert listed("10/a.png", "2/b.png").notes == ["labels: name of the parent folder, 2 classes: '2', '10'"]


def test_every_file_without_a_class_is_listed() -> None:
    with pytest.raises(SourceError, match=r"2 files without a label.*--allow-empty-labels") as caught:
        listed("cats/1.png", "2.png", "3.png")
    assert caught.value.problems == ("2.png", "3.png")


def test_files_without_a_class_are_taken_on_request() -> None:
    assert strings(listed("cats/1.png", "2.png", allow_empty_labels=True).items["label"]) == ["", "cats"]


def test_a_class_folder_cannot_name_several_classes() -> None:
    with pytest.raises(SourceError, match=r"class folders must not have ';' in their name.*'cat;indoor'"):
        listed("cat;indoor/1.png", "dog/1.png")


@pytest.mark.parametrize(
    ("path", "source", "error"),
    [
        ("cats/a\nb.png", r"cats/a\nb.png", r"ID 'cats/a\\nb' has a control character"),
        ("a\x1b[31m.png", r"a\x1b[31m.png", r"ID 'a\\x1b[31m' has a control character"),
        ("a\\b.png", "a\\b.png", "ID 'a\\\\b' has a backslash; folders are separated by '/'"),
        ("\udcff.png", r"\udcff.png", r"ID '\\udcff' cannot be encoded as UTF-8"),
        (f"{'x' * 300}.png", f"{'x' * 300}.png", f"ID '{'x' * 300}' has a component of 300 bytes; file systems allow 255"),
    ],
)
def test_a_file_whose_name_can_be_no_id_fails_alone(path: str, source: str, error: str) -> None:
    listing = listed("good.png", path)
    assert strings(listing.items["id"]) == ["good"]
    assert listing.failures == [Failure(id="", source=source, stage="find", error=error)]
    assert all(text.isprintable() for text in (source, error))


@pytest.mark.parametrize(
    ("paths", "problem"),
    [
        (["a.png", "a.jpg"], "'a.png' and 'a.jpg' both map to ID 'a'"),
        (["cat/1.png", "Cat/1.png"], "'cat/1.png' and 'Cat/1.png' map to IDs that a case-insensitive disk takes for one: 'cat/1', 'Cat/1'"),
        (["x/a.png", "x/a.npy/b.png"], "ID 'x/a.npy/b' needs a folder where ID 'x/a' has its shard"),
    ],
)
def test_two_files_of_one_shard_are_refused(paths: Any, problem: str) -> None:
    with pytest.raises(SourceError, match="raw files that map to one ID") as caught:
        listed(*paths, allow_empty_labels=True)
    assert caught.value.problems == (problem,)
