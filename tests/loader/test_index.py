from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from loader import LabelError, OptionError, SamplesError
from loader.index import Index, index_of_ids, index_of_manifest
from manifests import ArraySpec, Manifest, load_manifest


def of_ids(list_ids: Any = ("a", "b"), labels: Any = None, **changes: Any) -> Index:
    arguments = {"data_dir": "data", "dim": (4,), "n_channels": 1, "n_classes": None, "label_mode": "int", "class_names": None}
    return index_of_ids(list_ids, {"a": 0, "b": 2} if labels is None else labels, **(arguments | changes))


def test_a_manifest_is_indexed_in_its_order(make_dataset: Callable[..., Manifest]) -> None:
    manifest = make_dataset(4, labels=["b", "a", "b", "c"], ids=["x/1", "x/2", "y", "z"])
    index = index_of_manifest(manifest, label_mode="int")
    assert list(index.ids) == ["x/1", "x/2", "y", "z"]
    assert list(index.paths) == ["shards/x/1.npy", "shards/x/2.npy", "shards/y.npy", "shards/z.npy"]
    assert [index.folders[i] for i in index.folder_of] == ["shards/x", "shards/x", "shards", "shards"]
    assert index.classes == ("a", "b", "c")
    assert index.codes is not None
    assert index.codes.values.tolist() == [1, 0, 1, 2]
    assert index.codes.values.dtype == np.int32


def test_classes_are_those_of_the_whole_manifest(make_dataset: Callable[..., Manifest]) -> None:
    manifest = make_dataset(3, labels=["a", "b", "c"])
    index = index_of_manifest(manifest.where(label="c"), label_mode="int")
    assert index.codes is not None
    assert index.codes.values.tolist() == [2]


def test_class_names_fix_the_order(make_dataset: Callable[..., Manifest]) -> None:
    index = index_of_manifest(make_dataset(2, labels=["a", "b"]), label_mode="int", class_names=["z", "b", "a"])
    assert index.classes == ("z", "b", "a")
    assert index.codes is not None
    assert index.codes.values.tolist() == [2, 1]


@pytest.mark.parametrize("class_names", [[], ["a", "a"], ["a", ""], [1, 2], ["a;b", "c"], 5])
def test_class_names_are_distinct_names(make_dataset: Callable[..., Manifest], class_names: Any) -> None:
    with pytest.raises(OptionError, match="class"):
        index_of_manifest(make_dataset(2), label_mode="int", class_names=class_names)


def test_rows_of_packs_are_refused(make_dataset: Callable[..., Manifest]) -> None:
    manifest = make_dataset(3, columns={"row": ["", "0", "1"]})
    with pytest.raises(SamplesError, match=r"2 samples are rows of packs.*ID 's001' \(shards/s001.npy, row 0\), ID 's002'"):
        index_of_manifest(manifest, label_mode=None)


def test_a_manifest_without_rows_is_refused(make_dataset: Callable[..., Manifest]) -> None:
    with pytest.raises(SamplesError, match="has no rows"):
        index_of_manifest(make_dataset(2).where(label="no such"), label_mode=None)


def test_a_manifest_without_labels_needs_the_mode_without(make_dataset: Callable[..., Manifest]) -> None:
    make_dataset(1)
    path = make_dataset(1).root / "manifest.csv"
    path.write_text("id\ns000\n")
    manifest = load_manifest(path)
    assert index_of_manifest(manifest, label_mode=None).codes is None
    with pytest.raises(LabelError, match=r"no column 'label' \(its columns are 'id'\); pass label_mode=None"):
        index_of_manifest(manifest, label_mode="int")


@pytest.mark.parametrize(
    ("shapes", "dtypes", "expected"),
    [
        (["4x3", "4x3"], ["float32", "float32"], ArraySpec(shape=(4, 3), dtype="float32")),
        (["4x3", ""], ["float32", "float32"], ArraySpec(shape=None, dtype=None)),
    ],
)
def test_the_rows_say_what_they_share(
    make_dataset: Callable[..., Manifest], shapes: list[str], dtypes: list[str], expected: ArraySpec
) -> None:
    manifest = make_dataset(2, columns={"shape": shapes, "dtype": dtypes})
    assert index_of_manifest(manifest, label_mode=None).array == expected


def test_rows_that_differ_are_refused_until_the_odd_ones_are_left_out(make_dataset: Callable[..., Manifest]) -> None:
    manifest = make_dataset(3, columns={"shape": ["4x3", "4x3", "5x3"], "dtype": ["float32"] * 3})
    (manifest.root / "dataset.json").write_text('{"schema_version": 1, "array": {"shape": [null, 3], "dtype": "float32"}}')
    manifest = load_manifest(manifest.root)
    with pytest.raises(SamplesError, match="the samples differ: shapes 4x3, 5x3; dtypes float32"):
        index_of_manifest(manifest, label_mode=None)
    assert index_of_manifest(manifest.where(shape="4x3"), label_mode=None).array == ArraySpec(shape=(4, 3), dtype="float32")


def test_ids_keep_their_order_and_may_repeat() -> None:
    index = of_ids(["b", "a", "b"])
    assert list(index.ids) == ["b", "a", "b"]
    assert list(index.paths) == ["b.npy", "a.npy", "b.npy"]
    assert index.codes is not None
    assert index.codes.values.tolist() == [2, 0, 2]


def test_arrays_and_series_of_ids_are_taken() -> None:
    assert list(of_ids(np.array(["a", "b"])).ids) == ["a", "b"]


@pytest.mark.parametrize(
    ("labels", "changes", "classes", "codes"),
    [
        ({"a": 0, "b": 2}, {}, ("0", "1", "2"), [0, 2]),
        ({"a": 0, "b": 2, "unused": 99}, {}, ("0", "1", "2"), [0, 2]),
        ({"a": np.int64(1), "b": True}, {"n_classes": 4}, ("0", "1", "2", "3"), [1, 1]),
        ({"a": "dog", "b": "cat"}, {"class_names": ["cat", "dog"]}, ("cat", "dog"), [1, 0]),
        ({"a": 1, "b": "cat"}, {"class_names": ["cat", "dog"], "n_classes": 2}, ("cat", "dog"), [1, 0]),
    ],
)
def test_labels_of_ids(labels: dict[str, Any], changes: dict[str, Any], classes: tuple[str, ...], codes: list[int]) -> None:
    index = of_ids(labels=labels, **changes)
    assert index.classes == classes
    assert index.codes is not None
    assert index.codes.values.tolist() == codes


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"list_ids": []}, SamplesError, "list_IDs is empty"),
        ({"list_ids": [1, "a"]}, OptionError, "list_IDs must hold strings, got 1;"),
        (
            {"list_ids": ["../a", "a", "", "/b"]},
            SamplesError,
            "3 unsafe IDs: ID '../a' has the component '..', which could leave the dataset folder; ID '' is empty; ID '/b' is absolute",
        ),
        ({"list_ids": ["x" * 252]}, SamplesError, "1 unsafe IDs: ID 'xxx"),
        ({"labels": {"a": 0}}, LabelError, "labels has no entry for 1 of the 2 IDs: 'b'"),
        ({"labels": {"a": 0, "b": 1.0}}, LabelError, "labels must be class indices, or names when class_names are given: ID 'b' has 1.0"),
        (
            {"labels": {"a": 0, "b": "dog"}},
            LabelError,
            "labels must be class indices, or names when class_names are given: ID 'b' has 'dog'",
        ),
        (
            {"labels": {"a": 0, "b": 10}, "n_classes": 10},
            LabelError,
            "1 sample with a label that is not among the 10 classes: ID 'b' (b.npy) has '10'",
        ),
        ({"labels": {"a": 0, "b": -1}}, LabelError, "1 sample with a label that is not among the 1 classes: ID 'b' (b.npy) has '-1'"),
        (
            {"labels": {"a": 2, "b": 0}, "class_names": ["x", "y"]},
            LabelError,
            "1 sample with a label that is not among the 2 classes: ID 'a' (a.npy) has '2'; expected 'x', 'y'",
        ),
        (
            {"labels": {"a": "z", "b": "x"}, "class_names": ["x", "y"]},
            LabelError,
            "1 sample with a label that is not among the 2 classes: ID 'a' (a.npy) has 'z'",
        ),
        ({"class_names": ["x", "y"], "n_classes": 3}, OptionError, "n_classes is 3, but class_names has 2 names"),
        ({"n_classes": 0}, OptionError, "n_classes must be a positive integer or None, got 0"),
        ({"labels": [0, 1]}, OptionError, "labels must be a dict of ID -> class, got list"),
        ({"dim": (0, 3)}, OptionError, "dim must be positive integers such as (32, 32, 32), got (0, 3)"),
        ({"dim": "32"}, OptionError, "dim must be positive integers"),
        ({"n_channels": 0}, OptionError, "n_channels must be a positive integer or None, got 0"),
        ({"label_mode": "onehot"}, OptionError, "label_mode must be one of"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_bad_arguments_of_ids(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match="^" + re.escape(message)):
        of_ids(**arguments)


def test_labels_may_be_none_only_without_a_mode() -> None:
    arguments: dict[str, Any] = {"data_dir": "data", "dim": None, "n_channels": None, "n_classes": None}
    assert index_of_ids(["a"], None, label_mode=None, **arguments).codes is None
    with pytest.raises(LabelError, match="labels is None; pass a dict"):
        index_of_ids(["a"], None, label_mode="int", **arguments)
