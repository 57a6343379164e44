"""A table names raw files and their labels: which column means what, which file a value means, and all that can be wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from manifests.rows.table import strings, value
from prep.errors import SourceError, UsageError
from prep.sources.files import list_files
from prep.sources.items import COLUMN, column_names
from prep.sources.listing import Failure, Listing
from prep.sources.table import TableOptions, list_table


@pytest.fixture
def listed(raw: Path, touch: Any) -> Any:
    """List a table written from text, beside empty files."""

    def list_(text: str, *names: str, **options: Any) -> Listing:
        touch(*names)
        path = raw / "train.csv"
        path.write_text(text, encoding="utf-8")
        return list_table(path, raw, list_files(raw), TableOptions(**options))

    return list_


def table(listing: Listing) -> list[tuple[str, str, str]]:
    return list(zip(*map(strings, listing.items.select(["id", "source", "label"]).columns), strict=True))


# Which file a value means


@pytest.mark.parametrize(
    ("value", "files", "id_", "source"),
    [
        ("a", ["a.png"], "a", "a.png"),
        ("a.png", ["a.png"], "a", "a.png"),
        ("./a.png", ["a.png"], "a", "a.png"),
        ("007", ["007.jpg"], "007", "007.jpg"),
        ("1.5", ["1.5.png"], "1.5", "1.5.png"),
        ("a", ["images/a.PNG"], "a", "images/a.PNG"),
        ("a.png", ["deep/er/a.png"], "a", "deep/er/a.png"),
        ("x/a", ["x/a.npy"], "x/a", "x/a.npy"),
        ("x/a.png", ["x/a.png", "y/a.png"], "x/a", "x/a.png"),
        ("a.png", ["a.png", "sub/a.png"], "a", "a.png"),  # the whole path counts before the name
        ("a.png", ["a.png", "a.jpg"], "a", "a.png"),  # with the ending it is clear
        ("a.png.jpg", ["a.png.jpg"], "a.png", "a.png.jpg"),
        ("été", ["été.tif"], "été", "été.tif"),
    ],
)
def test_a_value_names_a_file(listed: Any, value: str, files: list[str], id_: str, source: str) -> None:
    listing = listed(f"image_id,label\n{value},cat\n", *files)
    assert table(listing) == [(id_, source, "cat")]
    assert listing.failures == []


def test_a_name_that_several_files_have_fails_with_all_of_them(listed: Any) -> None:
    listing = listed("image,label\na.png,cat\nb,dog\nc,cat\n", "x/a.png", "y/a.png", "b.png", "b.jpg", "c.png")
    assert table(listing) == [("c", "c.png", "cat")]
    assert [(failure.id, failure.stage, failure.error) for failure in listing.failures] == [
        ("a", "find", "'a.png' could be any of 2 files: 'x/a.png', 'y/a.png'; name it with its folder"),
        ("b", "find", "'b' could be any of 2 files: 'b.jpg', 'b.png'; name it with its folder"),
    ]


def test_a_missing_file_fails_alone(listed: Any, raw: Path) -> None:
    listing = listed("image,label\na,cat\nb.png,dog\n", "a.png")
    assert table(listing) == [("a", "a.png", "cat")]
    assert listing.failures == [Failure(id="b", source="b.png", stage="find", error=f"no file 'b.png' below {raw}")]


def test_no_row_goes_missing(listed: Any) -> None:
    listing = listed("image,label\n" + "".join(f"{i},x\n" for i in range(50)), *(f"{i}.png" for i in range(0, 50, 3)))
    assert len(listing.items) + len(listing.failures) == 50


def test_a_table_of_which_no_file_is_there_is_refused(listed: Any) -> None:
    with pytest.raises(SourceError, match="no column names files below"):
        listed("image,label\na,cat\n", "b.png")
    with pytest.raises(SourceError, match=r"not one row's file could be found by column 'image' below .*\n  row 2: no file 'a' below"):
        listed("image,label\na,cat\n", "b.png", path_column="image")


def test_a_table_of_which_every_name_is_that_of_several_files_says_so(listed: Any) -> None:
    names = [f"{folder}/{i}.png" for folder in ("test", "train") for i in (1, 2)]
    with pytest.raises(SourceError, match=r"row 2: '1' could be any of 2 files: .*\n  row 3: '2' could be any of 2 files"):
        listed("image,label\n1,cat\n2,dog\n", *names)


def test_a_file_whose_folder_is_no_utf_8_fails_alone(listed: Any, raw: Path) -> None:
    os.mkdir(os.path.join(os.fsencode(raw), b"\xff"))
    Path(os.fsdecode(os.path.join(os.fsencode(raw), b"\xff/b.png"))).touch()
    listing = listed("image,label\na,cat\nb,dog\n", "a.png")
    assert strings(listing.items["id"]) == ["a"]
    assert [(failure.id, failure.error) for failure in listing.failures] == [
        ("b", r"the file's name '\\udcff/b.png' is not UTF-8; rename it")
    ]


def test_control_characters_in_a_value_are_shown_escaped(listed: Any) -> None:
    listing = listed('id,file,label\n1,a.png,cat\n2,"b\x1b[31m.png",dog\n', "a.png", label_columns=("label",))
    assert listing.failures[0].source == r"b\x1b[31m.png"
    assert listing.failures[0].error.isprintable()


# Which column means what


@pytest.mark.parametrize(
    ("header", "row", "options", "expected"),
    [
        ("image_id,label", "a,cat", {}, ("a", "a.png", "cat")),
        ("id,label", "a,cat", {}, ("a", "a.png", "cat")),
        ("id,path,label", "1,a.png,cat", {}, ("1", "a.png", "cat")),
        ("path,label,id", "a.png,cat,1", {}, ("1", "a.png", "cat")),
        ("filename,breed", "a.png,cat", {}, ("a", "a.png", "cat")),
        ("filename,Class,age", "a.png,cat,3", {}, ("a", "a.png", "cat")),
        ("x,y,z", "1,a,cat", {"label_columns": ("z",)}, ("a", "a.png", "cat")),
        ("x,y,z", "1,a,cat", {"path_column": "y", "id_column": "x", "label_columns": ("z",)}, ("1", "a.png", "cat")),
        ("path,other,label", "a,a,cat", {}, ("a", "a.png", "cat")),
        ("p,q,label", "a,a,cat", {"path_column": "q"}, ("a", "a.png", "cat")),
        ("image", "a", {}, ("a", "a.png", "")),
    ],
)
def test_columns_are_found_or_named(listed: Any, header: str, row: str, options: dict[str, Any], expected: tuple[str, str, str]) -> None:
    listing = listed(f"{header}\n{row}\n", "a.png", **options)
    assert table(listing) == [expected]
    assert listing.label_columns == (("label",) if expected[2] else ())


def test_what_was_found_is_told(listed: Any) -> None:
    listing = listed("id,path,label,shape\n1,a,cat,big\n2,b,dog,big\n", "a.png", "b.png", "c.png", "d.png")
    assert listing.notes == [
        "table: train.csv, 2 rows; IDs from column 'id', files from column 'path'",
        "labels: column 'label' with 2 distinct values",
        "not kept: 'shape', names that the manifest gives a meaning of its own",
    ]
    assert listing.unnamed == 2


def test_what_is_wrong_is_told_in_the_order_of_the_table(listed: Any) -> None:
    text = "path,id,label\nz.png,z.npy/q,1\nz.png,z,1\nb.png,b.npy/q,1\nb.png,b,1\n"
    with pytest.raises(SourceError, match=r"ID 'z.npy/q' needs a folder where ID 'z' has its shard\n.*ID 'b.npy/q' needs"):
        listed(text, "z.png", "b.png", id_column="id", path_column="path")
    with pytest.raises(SourceError, match=r"names images \('z.png'\) and arrays \('y.npy'\)"):
        listed("path,label\nz.png,1\ny.npy,1\nb.png,1\na.npy,1\n", "z.png", "b.png", "y.npy", "a.npy")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a,b,label\nx,x,cat\n", "columns 'a', 'b' all name files; choose one with --path-column"),
        ("image,age,breed\nx,3,cat\n", "which column holds the label.*'age', 'breed'"),
        ("image,label,target\nx,3,cat\n", "which column holds the label.*'label', 'target'"),
    ],
)
def test_what_the_table_leaves_open_is_asked(listed: Any, text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        listed(text, "x.png")


@pytest.mark.parametrize("options", [{"id_column": "nope"}, {"path_column": "nope"}, {"label_columns": ("label", "nope")}])
def test_a_column_that_is_not_there_is_named_with_those_that_are(listed: Any, options: dict[str, Any]) -> None:
    with pytest.raises(SourceError, match="no column 'nope'; the columns are 'image', 'label'"):
        listed("image,label\na,cat\n", "a.png", **options)


def test_further_columns_are_kept_under_their_names(listed: Any) -> None:
    listing = listed("image,breed,age,split,group\na,cat,3,train,p1\n", "a.png", label_columns=("breed", "age"))
    assert listing.label_columns == ("label", "age")
    assert {name: value(listing.items, COLUMN + name, 0) for name in column_names(listing.items)} == {
        "age": "3",
        "split": "train",
        "group": "p1",
    }


@pytest.mark.parametrize("name", ["row", "shape", "dtype", "sha256", "source", "fingerprint", "label"])
def test_a_column_named_like_one_of_the_manifest_is_not_kept(listed: Any, name: str) -> None:
    listing = listed(f"image,breed,{name}\na,cat,x\n", "a.png", label_columns=("breed",))
    assert {name: value(listing.items, COLUMN + name, 0) for name in column_names(listing.items)} == {}
    assert any(note.startswith(f"not kept: {name!r}") for note in listing.notes)


@pytest.mark.parametrize("name", ["shape", "label", "fingerprint"])
def test_a_further_label_that_could_not_keep_its_name_is_refused(listed: Any, name: str) -> None:
    with pytest.raises(UsageError, match=f"label column '{name}' has a name that the manifest gives a meaning of its own"):
        listed(f"image,breed,{name}\na,cat,x\n", "a.png", label_columns=("breed", name))
    assert listed(f"image,breed,{name}\na,cat,x\n", "a.png", label_columns=(name,)).items["label"].to_pylist() == ["x"]


# All that can be wrong


def test_unsafe_and_repeated_ids_are_all_listed_with_their_rows(listed: Any) -> None:
    text = 'id,file,label\na,1.png,x\n../b,2.png,x\na,3.png,x\n/c,4.png,x\n"d\ne",5.png,x\nA,6.png,x\n,7.png,x\n'
    with pytest.raises(SourceError, match=r"train.csv: 6 problems with the IDs of column 'id'") as caught:
        listed(text, *(f"{i}.png" for i in range(1, 8)), label_columns=("label",))
    assert caught.value.problems == (
        "row 3: ID '../b' has the component '..', which could leave the dataset folder",
        "row 5: ID '/c' is absolute; expected a relative name",
        r"row 6: ID 'd\\ne' has a control character",
        "row 9: ID '' is empty",
        "row 4: ID 'a' already appears in row 2",
        "row 8: ID 'A' is the same on a case-insensitive disk as 'a' in row 2",
    )


def test_two_files_of_one_id_are_refused(listed: Any) -> None:
    with pytest.raises(SourceError) as caught:
        listed("image,label\na.png,x\na.jpg,y\n", "a.png", "a.jpg")
    assert caught.value.problems == ("row 3: ID 'a' already appears in row 2",)


def test_one_file_may_be_several_samples(listed: Any) -> None:
    listing = listed("id,file,label\n1,a.png,x\n2,a.png,y\n", "a.png", label_columns=("label",))
    assert table(listing) == [("1", "a.png", "x"), ("2", "a.png", "y")]


@pytest.mark.parametrize("empty", ["", " ", ";", " ; "])
def test_empty_labels_are_all_listed(listed: Any, empty: str) -> None:
    text = f"image,label,age\na,{empty},1\nb,cat,\nc,{empty},\n"
    names = ["a.png", "b.png", "c.png"]
    with pytest.raises(SourceError, match="4 labels missing; fill them in, or pass --allow-empty-labels") as caught:
        listed(text, *names, label_columns=("label", "age"))
    assert caught.value.problems == (
        "row 2: column 'label' is empty",
        "row 4: column 'label' is empty",
        "row 3: column 'age' is empty",
        "row 4: column 'age' is empty",
    )
    listing = listed(text, *names, label_columns=("label", "age"), allow_empty_labels=True)
    assert strings(listing.items["label"]) == [empty, "cat", empty]


def test_a_table_holds_images_or_arrays(listed: Any) -> None:
    with pytest.raises(SourceError, match=r"names images \('a.png'\) and arrays \('b.npy'\)"):
        listed("image,label\na,x\nb,y\n", "a.png", "b.npy")


@pytest.mark.parametrize(("name", "format_"), [("a.png", "images"), ("a.npy", "arrays"), ("a.NPZ", "arrays")])
def test_the_format_is_that_of_the_files(listed: Any, name: str, format_: str) -> None:
    assert listed("image,label\na,x\n", name).format == format_


def test_items_are_sorted_by_id(listed: Any) -> None:
    listing = listed("image,label\nb,x\na,y\nB2,z\n", "a.png", "b.png", "B2.png")
    assert strings(listing.items["id"]) == ["B2", "a", "b"]
