"""What a source is, found out and said, or asked back: nothing is guessed in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from manifests.rows.table import strings
from prep.errors import SourceError, UsageError
from prep.sources.detect import SourceOptions, list_source
from prep.sources.listing import Listing
from prep.sources.table import TableOptions


def check_usage(source: Path, why: str, **options: Any) -> None:
    with pytest.raises(UsageError, match=why):
        list_source(source, SourceOptions(**options))


def ids(listing: Listing) -> list[str]:
    return strings(listing.items["id"])


@pytest.mark.parametrize(
    ("names", "format_", "first_note"),
    [
        (["a/1.png", "b/2.JPG"], "images", "source: folder of images, 2 files"),
        (["a/1.npy", "b/2.npz"], "arrays", "source: folder of arrays, 2 files"),
    ],
)
def test_a_folder_of_one_kind_is_taken_for_that_kind(touch: Any, names: list[str], format_: str, first_note: str) -> None:
    source = touch(*names)
    listing = list_source(source, SourceOptions())
    assert (listing.format, listing.root, ids(listing)) == (format_, source, ["a/1", "b/2"])
    assert listing.notes[0] == first_note


def test_what_is_left_aside_is_told(touch: Any) -> None:
    listing = list_source(touch("a/1.png", "a/2.npy", "a/x.txt", "a/y.txt", ".hidden"), SourceOptions(format="images"))
    assert ids(listing) == ["a/1"]
    assert listing.notes[-1] == "ignored files: .txt 2, arrays 1, hidden 1"


def test_images_beside_arrays_must_be_told_apart(touch: Any) -> None:
    source = touch("a/1.png", "a/2.png", "a/3.npy")
    check_usage(source, "holds 2 images and 1 array; choose with --format images or --format arrays")
    assert ids(list_source(source, SourceOptions(format="images"))) == ["a/1", "a/2"]
    assert ids(list_source(source, SourceOptions(format="arrays"))) == ["a/3"]


def test_a_table_in_the_folder_must_be_taken_or_declined(touch: Any) -> None:
    source = touch("images/1.png", "train.csv")
    check_usage(source, r"holds the table 'train.csv'; for its labels pass .*train\.csv as SOURCE .*--format images")
    assert ids(list_source(source, SourceOptions(format="images"))) == ["images/1"]


def test_files_that_no_row_names_are_told(touch: Any) -> None:
    source = touch("1.png", "2.png", "notes.txt")
    (source / "train.csv").write_text("path,label\n1.png,cat\n")
    assert list_source(source / "train.csv", SourceOptions()).notes[-2:] == ["ignored: 1 file that no row names", "ignored files: .txt 1"]


def test_a_table_is_a_source(touch: Any) -> None:
    source = touch("images/1.png")
    (source / "train.csv").write_text("image_id,label\n1,cat\n")
    listing = list_source(source / "train.csv", SourceOptions())
    assert list(zip(*map(strings, listing.items.select(["id", "source", "label"]).columns), strict=True)) == [("1", "images/1.png", "cat")]
    assert listing.root == source


def test_a_table_of_labels_may_lie_elsewhere(touch: Any, tmp_path: Path) -> None:
    source = touch("1.npy", "2.npy")
    for name, text in (("labels.csv", "id,label\n1,cat\n2,dog\n"), ("labels.json", '{"1": "cat", "2": "dog"}')):
        (tmp_path / name).write_text(text)
        listing = list_source(source, SourceOptions(labels=tmp_path / name))
        assert list(zip(*map(strings, listing.items.select(["id", "label"]).columns), strict=True)) == [("1", "cat"), ("2", "dog")]
        assert listing.format == "arrays"


@pytest.mark.parametrize(("format_", "found"), [("images", "1.png"), ("arrays", "1.npy")])
def test_a_chosen_format_settles_which_file_a_table_means(touch: Any, tmp_path: Path, format_: str, found: str) -> None:
    source = touch("1.png", "1.npy")
    (tmp_path / "labels.csv").write_text("id,label\n1,cat\n")
    with pytest.raises(SourceError, match=r"row 2: .* could be any of 2 files"):  # which of the two is open
        list_source(source, SourceOptions(labels=tmp_path / "labels.csv"))
    listing = list_source(source, SourceOptions(labels=tmp_path / "labels.csv", format=format_))  # type: ignore[arg-type]
    assert strings(listing.items["source"]) == [found]


@pytest.mark.parametrize(
    ("names", "format_", "why"),
    [
        ([], "auto", "empty: no images .* and no .npy or .npz files below it"),
        (["a.txt", ".hidden.png"], "auto", "empty: no images"),
        (["a.npy"], "images", "no images below it"),
        (["a.png"], "arrays", "no .npy or .npz files below it"),
    ],
)
def test_a_source_without_raw_items_is_refused(touch: Any, names: list[str], format_: Any, why: str) -> None:
    with pytest.raises(SourceError, match=why):
        list_source(touch(*names), SourceOptions(format=format_))


def test_options_that_do_not_fit_the_source_are_refused(touch: Any, tmp_path: Path) -> None:
    source = touch("a/1.png")
    table = tmp_path / "labels.csv"
    table.write_text("id,label\na/1,cat\n")
    (tmp_path / "notes.txt").touch()
    check_usage(tmp_path / "nowhere", "no such source")
    check_usage(tmp_path / "notes.txt", "is neither a folder nor a table")
    check_usage(source, "is a folder; for --format table pass the table itself", format="table")
    check_usage(source, "no such table of labels", labels=tmp_path / "none.csv")
    check_usage(source, "no such table of labels", labels=tmp_path)
    check_usage(table, "--labels goes with a folder as SOURCE", labels=table)
    check_usage(table, "--format images takes a folder", format="images")
    check_usage(table, "--format arrays takes a folder", format="arrays")


@pytest.mark.parametrize("options", [{"id_column": "id"}, {"path_column": "p"}, {"label_columns": ("y",)}])
def test_columns_need_a_table(touch: Any, options: dict[str, Any]) -> None:
    check_usage(touch("a/1.png"), "there is no table; pass --labels TABLE", table=TableOptions(**options))


def test_any_text_may_be_a_table_on_request(touch: Any) -> None:
    source = touch("1.png")
    (source / "labels.txt").write_text("id,label\n1,cat\n")
    assert ids(list_source(source / "labels.txt", SourceOptions(format="table"))) == ["1"]
