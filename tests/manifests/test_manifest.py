"""`Manifest`: loading, filtering that keeps the classes, and reading arrays."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manifests import (
    ArrayFileError,
    ArraySpec,
    InvalidManifestError,
    LabelSpec,
    Manifest,
    ManifestError,
    Metadata,
    NoManifestError,
    UnknownNameError,
    load_manifest,
    write_manifest,
)
from manifests.format.metadata import common_array, write_metadata
from manifests.format.names import collisions, name_problem
from manifests.format.schema import COLUMN_NAMES
from manifests.verification.verify import array_count, verify

GOLDEN = Path(__file__).parent.parent / "golden" / "manifests"

WriteShard = Callable[[str, Any], Path]

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def write_text(folder: Path, text: str) -> Path:
    (folder / "manifest.csv").write_text(text, encoding="utf-8")
    return folder


def rows(manifest: Manifest) -> list[tuple[str, ...]]:
    return list(manifest.frame.itertuples(index=False, name=None))


def check_round_trip(frame: pd.DataFrame, path: Path) -> Manifest:
    """Check that rows come back as the strings they were, sorted by code point, and that writing them again gives equal bytes."""
    write_manifest(frame, path)
    manifest = load_manifest(path)
    assert sorted(manifest.frame.columns) == sorted(frame.columns)
    expected = frame.astype(object)[list(manifest.frame.columns)].itertuples(index=False, name=None)
    position = list(manifest.frame.columns).index("id")
    assert rows(manifest) == sorted(expected, key=lambda row: row[position])
    assert all(type(value) is str for row in rows(manifest) for value in row)
    first = path.read_bytes()
    write_manifest(manifest.frame.iloc[::-1], path)
    assert path.read_bytes() == first
    return manifest


TRICKY = [
    "007",
    "7",
    "7.0",
    "NA",
    "N/A",
    "nan",
    "null",
    "None",
    "1e5",
    "True",
    "0x10",
    "1_000",
    "-0",
    "inf",
    "#N/A",
    " a",
    "été",
    "日本語",
    "🦊",
    "a,b",
]


def test_ids_that_look_like_something_else_stay_strings(tmp_path: Path) -> None:
    manifest = check_round_trip(pd.DataFrame({"id": TRICKY, "label": TRICKY[::-1]}, dtype=str), tmp_path / "manifest.csv")
    assert set(manifest.ids) == set(TRICKY)
    for id_, label in zip(TRICKY, TRICKY[::-1], strict=True):
        assert rows(manifest.where(id=id_)) == [(id_, label)]
        assert manifest.path_of(id_) == tmp_path.resolve() / f"{id_}.npy"


ids = st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6), max_size=6, unique=True)


@in_one_folder
@given(ids.filter(lambda names: not any(map(name_problem, names)) and not any(collisions(names))), st.data())
def test_any_manifest_survives_a_round_trip(tmp_path: Path, names: list[str], data: st.DataObject) -> None:
    values = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
    columns = {
        name: data.draw(st.lists(values, min_size=len(names), max_size=len(names))) for name in ("label", "group", "source", "my column")
    }
    check_round_trip(pd.DataFrame({"id": names, **columns}, dtype=object), tmp_path / "manifest.csv")


GOLDEN_FRAME = pd.DataFrame(
    {
        "age": ["34", None, "7", "61"],
        "fingerprint": ["f" * 64, "e" * 64, "", "d" * 64],
        "source": ["b/Été.png", 'a/"1".png', "NA.png", "line\nbreak.png"],
        "sha256": ["0" * 64, "1" * 64, "", "2" * 64],
        "dtype": ["uint8", "uint8", "", "float32"],
        "shape": ["32x32x3", "scalar", "", "3x0"],
        "row": ["", "", "", "12"],
        "path": ["shards/Été.npy", "shards/007.npy", "", "packs/0.npy"],
        "group": ["p1", "p1", "p2", "a, b"],
        "split": ["train", "val", "", "test"],
        "label": ["cat;indoor", "dog", "", "NA"],
        "id": ["Été", "007", "NA", "a/b"],
    }
)


def test_the_bytes_are_those_of_the_golden_file(tmp_path: Path) -> None:
    write_manifest(GOLDEN_FRAME, tmp_path / "manifest.csv")
    assert (tmp_path / "manifest.csv").read_bytes() == (GOLDEN / "manifest.csv").read_bytes()


def test_the_golden_file_is_read() -> None:
    manifest = load_manifest(GOLDEN)
    frame = manifest.frame
    assert list(frame.columns) == [*(name for name in COLUMN_NAMES if name not in {"fold", "member"}), "age"]  # it is of before these
    expected = GOLDEN_FRAME.fillna("").sort_values("id")[list(frame.columns)]
    assert frame.to_numpy().tolist() == expected.to_numpy().tolist()
    assert manifest.classes == ("indoor", "cat", "dog", "NA", "écureuil")


def test_columns_stand_in_the_contracts_order_and_the_users_after_them(tmp_path: Path) -> None:
    write_manifest(pd.DataFrame({"z": ["1"], "split": ["train"], "a": ["2"], "label": ["x"], "id": ["i"]}), tmp_path / "m.csv")
    assert (tmp_path / "m.csv").read_text() == "id,label,split,z,a\ni,x,train,1,2\n"


def test_rows_are_sorted_by_code_point(tmp_path: Path) -> None:
    write_manifest(pd.DataFrame({"id": ["é", "b", "10", "Z", "9", "b/c", "b.c", "🦊", "\uffe6"]}), tmp_path / "m.csv")
    assert load_manifest(tmp_path / "m.csv").ids == ["10", "9", "Z", "b", "b.c", "b/c", "é", "\uffe6", "🦊"]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (["x", None], ["x", ""]),
        (["x", np.nan], ["x", ""]),
        ([1, 2], ["1", "2"]),
        ([1.5, None], ["1.5", ""]),
        ([True, False], ["True", "False"]),
        (pd.array([1, None], dtype="Int64"), ["1", ""]),
        (pd.Categorical(["x", None]), ["x", ""]),
        (pd.array(["x", None], dtype="string"), ["x", ""]),
        (["NA", "nan"], ["NA", "nan"]),
    ],
    ids=["None", "NaN", "int", "float", "bool", "Int64", "category", "string", "text"],
)
def test_frames_of_other_types_are_written_as_text(tmp_path: Path, values: Any, texts: list[str]) -> None:
    write_manifest(pd.DataFrame({"id": ["a", "b"], "label": values}), tmp_path / "m.csv")
    assert list(load_manifest(tmp_path / "m.csv").frame["label"]) == texts


def test_the_folder_may_be_given_to_write_as_to_load(tmp_path: Path) -> None:
    write_manifest(pd.DataFrame({"id": ["a"]}), str(tmp_path))
    assert load_manifest(str(tmp_path)).ids == ["a"]
    assert os.listdir(tmp_path) == ["manifest.csv"]


def test_an_empty_manifest(tmp_path: Path) -> None:
    manifest = check_round_trip(pd.DataFrame({"id": [], "label": [], "shape": [], "dtype": []}, dtype=object), tmp_path / "manifest.csv")
    assert (len(manifest), manifest.ids, manifest.classes, manifest.splits, manifest.array) == (0, [], (), (), None)
    assert len(manifest.where(label="a")) == 0


@pytest.mark.parametrize(
    ("frame", "problems"),
    [
        (pd.DataFrame({"label": ["a"]}), [("no-id-column", None)]),
        (pd.DataFrame(), [("no-header", None)]),
        (pd.DataFrame({"id": ["b", "a", None]}), [("unsafe-id", 2)]),
        (pd.DataFrame({"id": ["b", "..", "b"], "shape": ["x", "", ""]}), [("unsafe-id", 2), ("bad-shape", 3), ("duplicate-id", 4)]),
        (pd.DataFrame([["a", "b"]], columns=["id", "id"]), [("header", 1)]),
        (pd.DataFrame([["a", "b"]], columns=["id", ""]), [("header", 1)]),
        (pd.DataFrame([["a", "b", "c"]], columns=["id", 0, "0"]), [("header", 1)]),
        (pd.DataFrame({"id": ["\ud800", "b"], "label": ["", "\udce9"]}, dtype=object), [("encoding", 2), ("unsafe-id", 3)]),
    ],
)
def test_rows_that_break_the_contract_are_not_written(tmp_path: Path, frame: pd.DataFrame, problems: list[tuple[str, int | None]]) -> None:
    path = tmp_path / "manifest.csv"
    path.write_bytes(b"old")
    with pytest.raises(InvalidManifestError, match=r"manifest\.csv: ") as caught:
        write_manifest(frame, path)
    assert [(problem.kind, problem.row) for problem in caught.value.problems] == problems
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["manifest.csv"]


def test_a_manifest_is_loaded_from_its_folder_or_its_file(pets: Path) -> None:
    for path in (pets, str(pets), pets / "manifest.csv", f"{pets}/"):
        manifest = load_manifest(path)
        assert (len(manifest), manifest.root, manifest.metadata) == (6, pets, Metadata())


def test_a_manifest_may_have_any_name(data: Path) -> None:
    (data / "labels.csv").write_text("id,label\na,x\n")
    assert load_manifest(data / "labels.csv").root == data


@pytest.mark.parametrize("name", [".", "no-such-folder", "no-such-file.csv"])
def test_no_manifest(data: Path, name: str) -> None:
    with pytest.raises(NoManifestError, match=r"no manifest there; expected a dataset folder with manifest\.csv"):
        load_manifest(data / name)


def test_a_bad_manifest_is_refused_with_all_its_problems_and_their_lines(data: Path) -> None:
    write_text(data, 'id,label,shape\n"a",x,3x3\n\n..,x,\nc,"two\nlines",\na,x,big\n')
    with pytest.raises(InvalidManifestError) as caught:
        load_manifest(data)
    assert str(caught.value).splitlines() == [
        f"{data / 'manifest.csv'}: 3 problems",
        "  row 4, column 'id': ID '..' has the component '..', which could leave the dataset folder",
        "  row 7, column 'id': ID 'a' already appears in row 2",
        "  row 7, column 'shape': expected a shape like 32x32x3, found 'big'",
    ]


def test_a_bad_dataset_json_is_refused(pets: Path) -> None:
    (pets / "dataset.json").write_text("{}")
    with pytest.raises(InvalidManifestError, match=r"dataset\.json: 1 problem\n  schema_version"):
        load_manifest(pets)


def test_the_frame_holds_what_the_file_says(pets: Path) -> None:
    frame = load_manifest(pets).frame
    assert list(frame.columns) == ["id", "label", "split", "shape", "dtype", "sha256"]
    assert list(frame.index) == list(range(6))
    assert list(frame["id"]) == ["007", "1e5", "NA", "cats/001", "null", "été"]


def test_splits_and_their_counts(pets: Path) -> None:
    manifest = load_manifest(pets)
    assert manifest.splits == ("train", "val")
    assert manifest.split_counts() == {"train": 4, "val": 2}
    assert manifest.split("val").ids == ["NA", "été"]
    assert manifest.split("val").splits == ("val",)


def test_the_order_of_splits_is_that_of_dataset_json(pets: Path) -> None:
    write_metadata(Metadata(splits={"names": ["val", "train", "test"]}), pets / "dataset.json")
    assert load_manifest(pets).splits == ("val", "train")


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("id,split\na,train\nb,\n", "the splits are 'train'"),
        ("id,split\na,\n", "the splits are none"),
        ("id\na\n", "the splits are none: the manifest has no split column or it is empty"),
    ],
)
def test_an_unknown_split_is_refused_with_the_known_ones(data: Path, text: str, known: str) -> None:
    with pytest.raises(UnknownNameError, match=f"no split 'tain'; {known}"):
        load_manifest(write_text(data, text)).split("tain")


def test_classes_are_those_of_the_rows_in_class_order(pets: Path) -> None:
    manifest = load_manifest(pets)
    assert manifest.classes == ("bird", "cat", "dog")
    assert manifest.class_counts().to_dict() == {"bird": 1, "cat": 3, "dog": 2}
    assert manifest.class_table().to_dict() == {"train": {"bird": 0, "cat": 2, "dog": 2}, "val": {"bird": 1, "cat": 1, "dog": 0}}


def test_classes_are_those_of_dataset_json_in_its_order(pets: Path) -> None:
    labels = {"label": LabelSpec(classes=("dog", "cow", "cat", "bird")), "later": LabelSpec(classes=("x",))}
    write_metadata(Metadata(labels=labels), pets / "dataset.json")
    manifest = load_manifest(pets)
    assert manifest.classes == ("dog", "cow", "cat", "bird")
    assert manifest.split("val").class_counts().to_dict() == {"dog": 0, "cow": 0, "cat": 1, "bird": 1}
    assert manifest.classes_of_column("later") == ("x",)


def test_a_label_that_dataset_json_does_not_name_is_refused(pets: Path) -> None:
    write_metadata(Metadata(labels={"label": LabelSpec(classes=("cat", "dog"))}), pets / "dataset.json")
    with pytest.raises(InvalidManifestError, match="row 7, column 'label': label 'bird' is not among the 2 classes"):
        load_manifest(pets)


def test_without_labels_there_are_no_classes(data: Path) -> None:
    manifest = load_manifest(write_text(data, "id\na\n"))
    assert manifest.classes == ()
    assert manifest.class_table().empty
    with pytest.raises(UnknownNameError, match="no column 'label'; the columns are 'id'"):
        manifest.class_counts()


@pytest.mark.parametrize("ask_before", [True, False])
def test_a_filtered_manifest_keeps_the_classes_of_the_whole_in_every_column(data: Path, ask_before: bool) -> None:
    manifest = load_manifest(write_text(data, "id,label,size,split\na,x,10,train\nb,y,2,val\nc,z,1,val\n"))
    if ask_before:
        assert manifest.classes_of_column("size") == ("1", "2", "10")
    for part in (manifest.split("train"), manifest.split("val"), manifest.split("val").where(label="z"), manifest.where(label=[])):
        assert part.classes == ("x", "y", "z")
        assert part.classes_of_column("size") == ("1", "2", "10")
    assert manifest.split("val").class_counts("size").to_dict() == {"1": 1, "2": 1, "10": 0}
    with pytest.raises(UnknownNameError):
        manifest.split("val").classes_of_column("no such column")


def test_classes_may_be_given(data: Path) -> None:
    frame = pd.DataFrame({"id": ["a"], "label": ["y"]}, dtype=str)
    manifest = Manifest(frame, data, Metadata(labels={"label": LabelSpec(classes=("x", "y"))}), {"label": ("y", "x")})
    assert manifest.classes == manifest.where(label="y").classes == ("y", "x")


@pytest.mark.parametrize(
    ("kept", "select"),
    [
        (["NA", "été"], lambda m: m.where(split="val")),
        (["007", "null", "été"], lambda m: m.where(label=["dog", "bird"])),
        (["1e5", "cats/001"], lambda m: m.where(split="train", label="cat")),
        (["été"], lambda m: m.where(label=np.array(["bird"]))),
        (["été"], lambda m: m.where(label=("bird", "no such class"))),
        ([], lambda m: m.where(label="no such class")),
        ([], lambda m: m.where(label=[])),
        (["007", "1e5"], lambda m: m.where(lambda f: f["id"].str.match(r"\d"))),
        (["007"], lambda m: m.where(lambda f: f["id"].str.match(r"\d"), label="dog")),
        (["007", "NA"], lambda m: m.where([True, False, True, False, False, False])),
        (["007", "NA"], lambda m: m.where(np.array([1, 0, 1, 0, 0, 0], dtype=bool))),
        (["007", "null"], lambda m: m.where(m.frame["label"] == "dog")),
        (["007", "null"], lambda m: m[m.frame["label"] == "dog"]),
        (["1e5"], lambda m: m[pd.to_numeric(m.frame["id"], errors="coerce").fillna(0).astype("Int64") > 7]),
        (["007", "1e5", "NA", "cats/001", "null", "été"], lambda m: m.where()),
    ],
)
def test_where_keeps_the_rows_that_meet_every_condition(pets: Path, kept: list[str], select: Callable[[Manifest], Manifest]) -> None:
    manifest = load_manifest(pets)
    found = select(manifest)
    assert found.ids == kept
    assert (found.root, found.metadata, found.classes) == (manifest.root, manifest.metadata, manifest.classes)
    assert list(found.frame.index) == list(range(len(kept)))
    assert len(manifest) == 6


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([True], r"expected a boolean mask of shape \(6,\), got bool of shape \(1,\)"),
        ([1, 0, 1, 0, 0, 0], r"expected a boolean mask of shape \(6,\), got int64"),
        (np.ones((6, 1), dtype=bool), r"got bool of shape \(6, 1\)"),
        ("label", "expected a boolean mask"),
        (0, "expected a boolean mask"),
        (pd.Series([True] * 6, index=range(1, 7)), "the mask's index is not this manifest's"),
        (pd.Series([True] * 5), "the mask's index is not this manifest's"),
        (pd.Series([True, None] * 3, dtype="boolean"), "missing values"),
        (lambda f: f["label"], "expected a boolean mask"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(pets: Path, mask: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_manifest(pets).where(mask)


def test_a_mask_of_the_whole_does_not_fit_a_part(pets: Path) -> None:
    manifest = load_manifest(pets)
    with pytest.raises(ValueError, match="build it from this manifest's own frame"):
        manifest.split("train")[manifest.frame["label"] == "cat"]


@pytest.mark.parametrize("value", [3, [1, 2], None, ["a", None], 1.0, np.array([1])])
def test_a_value_to_keep_must_be_a_string_since_no_other_could_match(pets: Path, value: Any) -> None:
    with pytest.raises(TypeError, match="the values of column 'label' are strings"):
        load_manifest(pets).where(label=value)


def test_an_unknown_column_is_refused(pets: Path) -> None:
    with pytest.raises(UnknownNameError, match="no column 'labels'; the columns are 'id', 'label'"):
        load_manifest(pets).where(labels="cat")


def test_the_text_repr(pets: Path, data: Path) -> None:
    assert repr(load_manifest(pets)) == f"<Manifest {pets}: 6 IDs; train 4, val 2; 3 classes; (2, 3) uint8>"
    assert repr(load_manifest(write_text(data, "id\na\n"))) == f"<Manifest {data}: 1 IDs>"


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("id,shape,dtype\na,2x3,uint8\nb,2x3,uint8\n", ArraySpec(shape=(2, 3), dtype="uint8")),
        ("id,shape,dtype\na,2x3,uint8\nb,4x3,int8\n", ArraySpec(shape=(None, 3), dtype=None)),
        ("id,shape,dtype\na,2x3,uint8\nb,,uint8\n", None),
        ("id,shape,dtype\na,2x3,uint8\nb,2x3,\n", None),
        ("id,shape\na,2x3\n", None),
        ("id,dtype\na,uint8\n", None),
        ("id,shape,dtype\n", None),
    ],
)
def test_the_array_spec_of_the_rows(data: Path, text: str, spec: ArraySpec | None) -> None:
    assert load_manifest(write_text(data, text)).array == spec


def test_the_array_spec_of_dataset_json_goes_first(pets: Path) -> None:
    spec = ArraySpec(shape=(None, 3), dtype="uint8")
    write_metadata(Metadata(array=spec), pets / "dataset.json")
    assert load_manifest(pets).array == spec


@pytest.mark.parametrize(
    ("shapes", "dtypes", "spec"),
    [
        (["3x2"], ["uint8"], ArraySpec(shape=(3, 2), dtype="uint8")),
        (["3x2", "4x2"], ["uint8", "uint8"], ArraySpec(shape=(None, 2), dtype="uint8")),
        (["3", "3x1"], ["uint8"], ArraySpec(shape=None, dtype="uint8")),
        (["scalar"], ["bool", "uint8"], ArraySpec(shape=(), dtype=None)),
        (["scalar", "1"], ["uint8"], ArraySpec(shape=None, dtype="uint8")),
    ],
)
def test_what_arrays_have_in_common(shapes: list[str], dtypes: list[str], spec: ArraySpec) -> None:
    assert common_array(shapes, dtypes) == spec


def test_each_id_has_its_path_and_array(pets: Path) -> None:
    manifest = load_manifest(pets)
    for number, id_ in enumerate(manifest.ids):
        assert manifest.path_of(id_) == pets.resolve() / f"shards/{id_}.npy"
        array = manifest.load(id_)
        assert array.dtype == np.uint8
        assert np.array_equal(array, np.full((2, 3), number))


def test_a_hand_written_manifest_beside_its_arrays(data: Path, write_shard: WriteShard) -> None:
    write_shard("id-1.npy", np.arange(3.0))
    write_shard("cats/id-2.npy", np.arange(4.0))
    manifest = load_manifest(write_text(data, "id,label\nid-1,0\ncats/id-2,1\n"))
    assert list(manifest.paths) == ["id-1.npy", "cats/id-2.npy"]
    assert manifest.path_of("id-1") == data.resolve() / "id-1.npy"
    assert np.array_equal(manifest.load("cats/id-2"), np.arange(4.0))


def test_a_path_of_its_own_goes_before_the_default(data: Path, write_shard: WriteShard) -> None:
    write_shard("shards/a.npy", np.zeros(1))
    write_shard("elsewhere/x.npy", np.ones(1))
    manifest = load_manifest(write_text(data, "id,path\na,\nb,elsewhere/x.npy\n"))
    assert list(manifest.paths) == ["shards/a.npy", "elsewhere/x.npy"]
    assert manifest.load("b") == 1


def test_rows_of_a_pack(data: Path, write_shard: WriteShard) -> None:
    write_shard("pack.npy", np.arange(6, dtype=np.int16).reshape(2, 3))
    write_shard("c.npy", np.arange(3, dtype=np.int16))
    text = "id,path,row,shape,dtype\na,pack.npy,1,3,int16\nb,pack.npy,0,3,int16\nc,c.npy,,3,int16\nd,pack.npy,2,3,int16\n"
    manifest = load_manifest(write_text(data, text))
    assert [manifest.load(id_).tolist() for id_ in "abc"] == [[3, 4, 5], [0, 1, 2], [0, 1, 2]]
    with pytest.raises(ArrayFileError, match=r"shard of ID 'd': .*pack\.npy: has no row 2; its shape is \(2, 3\)"):
        manifest.load("d")


@pytest.mark.parametrize(
    ("columns", "values", "message"),
    [
        ("shape", "3x2", "expected 3x2 of any dtype, found 2x3 uint8"),
        ("dtype", "float32", "expected any shape float32, found 2x3 uint8"),
        ("shape,dtype", "2x3,int8", "expected 2x3 int8, found 2x3 uint8"),
        ("shape,dtype", "scalar,uint8", "expected scalar uint8, found 2x3 uint8"),
    ],
)
def test_an_array_that_is_not_what_its_row_says_is_refused(
    data: Path, write_shard: WriteShard, columns: str, values: str, message: str
) -> None:
    path = write_shard("a.npy", np.zeros((2, 3), np.uint8))
    with pytest.raises(ArrayFileError, match=f"shard {path.resolve()} of ID 'a': {message}"):
        load_manifest(write_text(data, f"id,{columns}\na,{values}\n")).load("a")


def test_byte_order_is_no_difference(data: Path, write_shard: WriteShard) -> None:
    write_shard("a.npy", np.arange(3, dtype=">f4"))
    assert load_manifest(write_text(data, "id,shape,dtype\na,3,float32\n")).load("a").tolist() == [0, 1, 2]


def test_a_missing_shard_is_named_by_its_id_and_path(pets: Path) -> None:
    (pets / "shards/cats/001.npy").unlink()
    manifest = load_manifest(pets)
    assert not manifest.path_of("cats/001").exists()
    with pytest.raises(ArrayFileError, match=r"shard of ID 'cats/001': .*/shards/cats/001\.npy: no such file"):
        manifest.load("cats/001")


@pytest.mark.parametrize("name", ["7", "shards/007", "../data/shards/007", "", "a\x00b"])
def test_an_unknown_id_is_refused(pets: Path, name: str) -> None:
    manifest = load_manifest(pets)
    for ask in (manifest.path_of, manifest.load):
        with pytest.raises(UnknownNameError, match=r"no ID .* among the 6 rows of"):
            ask(name)


def test_an_id_that_was_filtered_away_is_unknown(pets: Path) -> None:
    with pytest.raises(UnknownNameError, match="no ID '007' among the 2 rows"):
        load_manifest(pets).split("val").load("007")


def test_a_link_out_of_the_dataset_is_not_followed(data: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "secret.npy", np.zeros(1))
    (data / "a.npy").symlink_to("../secret.npy")
    manifest = load_manifest(write_text(data, "id\na\n"))
    for ask in (manifest.path_of, manifest.load):
        with pytest.raises(ArrayFileError, match=r"shard 'a\.npy' of ID 'a' lies outside .* once symbolic links are followed"):
            ask("a")


def test_a_link_within_the_dataset_is_followed(data: Path, write_shard: WriteShard) -> None:
    write_shard("blobs/1.npy", np.ones(1))
    (data / "a.npy").symlink_to("blobs/1.npy")
    assert load_manifest(write_text(data, "id\na\n")).load("a") == 1


def test_a_manifest_can_be_copied_and_is_not_changed_by_use(pets: Path) -> None:
    manifest = load_manifest(pets)
    before = manifest.frame.copy()
    twin = copy.deepcopy(manifest.split("train"))
    assert (twin.ids, twin.classes) == (manifest.split("train").ids, manifest.classes)
    pd.testing.assert_frame_equal(manifest.frame, before)


def test_dataset_json_is_found_beside_a_manifest_of_any_name(data: Path) -> None:
    (data / "labels.csv").write_text("id,label\na,x\n")
    (data / "dataset.json").write_text(json.dumps({"schema_version": 1, "labels": {"label": {"classes": ["y", "x"]}}}))
    assert load_manifest(data / "labels.csv").classes == ("y", "x")


def test_ids_are_asked_for_by_in_and_never_iterated_as_masks(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("id\na\n")
    manifest = load_manifest(tmp_path)
    assert "a" in manifest
    assert "b" not in manifest
    with pytest.raises(TypeError, match="not iterable"):
        iter(manifest)  # type: ignore[call-overload]


REGRESSION = {"id": list("abc"), "label": ["3.5", "1", "2"], "grade": ["x", "y", "x"], "split": ["train", "val", "train"]}


def regression(labels: dict[str, LabelSpec] | None = None, **columns: list[str]) -> Manifest:
    return Manifest(pd.DataFrame(REGRESSION | columns, dtype=object), Path("data"), Metadata(labels=labels or {}))


def test_labels_that_look_like_numbers_are_numbers_and_have_no_classes() -> None:
    manifest = regression()
    assert (manifest.label_kind(), manifest.classes, manifest.label_kind("grade")) == ("number", (), "class")
    assert manifest.split("val").label_kind() == "number"  # though 1 is an integer
    assert "classes" not in repr(manifest)


def test_dataset_json_says_what_a_column_holds() -> None:
    specs = {"label": LabelSpec(classes=("1", "2", "3.5"), column="price"), "age": LabelSpec(kind="number"), "gone": LabelSpec()}
    manifest = regression(specs, age=["1", "2", "5"])
    assert (manifest.label_kind(), manifest.classes) == ("class", ("1", "2", "3.5"))
    assert (manifest.label_kind("age"), manifest.classes_of_column("age")) == ("number", ())
    assert manifest.label_columns == ("label", "age")
    assert (manifest.label_name("label"), manifest.label_name("age")) == ("price", "age")
    with pytest.raises(UnknownNameError, match="no column 'nowhere'"):
        manifest.label_kind("nowhere")


def test_numbers_are_summed_up_by_split_and_not_counted_as_classes() -> None:
    table = regression().number_table()
    assert table["train"].to_dict() == {"count": 2, "mean": 2.75, "std": 0.75, "min": 2, "max": 3.5}
    assert table["val"].to_dict() == {"count": 1, "mean": 1, "std": 0, "min": 1, "max": 1}
    for refused in (regression().class_counts, regression().class_table):
        with pytest.raises(ManifestError, match=r"column 'label' holds numbers, not classes; number_table\('label'\)"):
            refused()


def test_a_label_of_a_column_of_numbers_is_no_problem_of_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("id,label\na,1.5\nb,2\n")
    write_metadata(Metadata(labels={"label": LabelSpec(kind="number")}), tmp_path / "dataset.json")
    assert load_manifest(tmp_path).label_kind() == "number"


def test_a_further_array_may_lie_anywhere_and_in_a_pack(data: Path, write_shard: WriteShard) -> None:
    for id_ in ("a", "b"):
        write_shard(f"{id_}.npy", np.zeros(3))
    write_shard("packs/mask.npy", np.arange(6, dtype=np.uint8).reshape(2, 3))
    (data / "manifest.csv").write_text("id,mask.path,mask.row,grid.row\na,packs/mask.npy,1,7\nb,,,8\n")
    manifest = load_manifest(data)
    assert dict(manifest.arrays) == {"mask": None}
    assert manifest.load("a", "mask").tolist() == [3, 4, 5]
    assert manifest.has_array("mask").tolist() == [True, False]
    assert manifest.where(id="b").has_array("mask").tolist() == [False]
    assert verify(manifest) == []
    assert array_count(manifest) == 3
