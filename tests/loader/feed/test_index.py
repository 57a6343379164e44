from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from loader import LabelError, OptionError, SamplesError
from loader.feed.feed import Feed
from loader.feed.index.from_ids import index_of_ids
from loader.feed.index.from_manifest import index_of_manifest
from loader.feed.index.index import Index
from loader.feed.options import FeedOptions
from loader.feed.reading.shard_reader import ShardReader
from loader.feed.targets.labels import targets
from manifests import ArraySpec, Manifest, load_manifest
from manifests.storage import cache, store


def of_ids(list_ids: Any = ("a", "b"), labels: Any = None, **changes: Any) -> Index:
    arguments = {"data_dir": "data", "dim": (4,), "n_channels": 1, "n_classes": None, "label_mode": "int", "class_names": None}
    return index_of_ids(list_ids, {"a": 0, "b": 2} if labels is None else labels, **(arguments | changes))


def test_a_manifest_is_indexed_in_its_order(make_dataset: Callable[..., Manifest]) -> None:
    manifest = make_dataset(4, labels=["b", "a", "b", "c"], ids=["x/1", "x/2", "y", "z"])
    index = index_of_manifest(manifest, label_mode="int")
    assert list(index.ids) == ["x/1", "x/2", "y", "z"]
    assert list(index.paths) == ["shards/x/1.npy", "shards/x/2.npy", "shards/y.npy", "shards/z.npy"]
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
    with pytest.raises(SamplesError, match=r"the samples differ: shapes 4x3, 5x3; a batch needs one shape: pass pad_to=, or a transform="):
        Feed(index_of_manifest(manifest, label_mode=None), FeedOptions())
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
        (
            {"labels": {"a": 0, "b": 1.5}, "label_mode": "auto"},
            LabelError,
            (
                "labels must be class indices, or names when class_names are given: ID 'b' has 1.5; for numbers as targets pass "
                "label_mode='float'"
            ),
        ),
        (
            {"labels": {"a": "1.5", "b": float("nan")}, "label_mode": "float"},
            LabelError,
            "2 samples with a label that is no finite number: ID 'a' (a.npy) has '1.5', ID 'b' (b.npy) has nan; label_mode 'float' needs",
        ),
        ({"labels": {"a": 1.5}, "label_mode": "float"}, LabelError, "labels has no entry for 1 of the 2 IDs: 'b'"),
        ({"n_classes": 3, "label_mode": "float"}, OptionError, "n_classes is about classes, but label_mode 'float' takes labels as"),
        ({"class_names": ["x"], "label_mode": "float"}, OptionError, "class_names is about classes, but label_mode 'float' takes"),
        ({"sampling": "balanced", "label_mode": "float"}, OptionError, "sampling is about classes, but label_mode 'float' takes"),
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


def test_all_that_grows_with_the_samples_is_in_arrays_that_can_be_shared(make_dataset: Callable[..., Manifest]) -> None:
    ids = [f"{'abc'[i % 3]}/{'x' * (i % 50)}{i}" for i in range(600)]
    manifest = make_dataset(ids=ids, labels=["a;b", "c", "a"] * 200, columns={"w": ["1", "0.5"] * 300})
    index = index_of_manifest(manifest, label_mode="multi_hot", sample_weight="w", sampling="w")
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(index, protocol=5, buffer_callback=buffers.append)
    assert len(pickled) < 3000
    shared = pickle.loads(pickled, buffers=[bytes(buffer.raw()) for buffer in buffers])  # noqa: S301  # our own; bytes cannot be written to
    assert (list(shared.ids), list(shared.paths)) == (ids, [f"shards/{id_}.npy" for id_ in ids])
    positions = np.arange(600)
    assert index.codes is not None
    assert np.array_equal(targets(shared.codes, positions), targets(index.codes, positions))
    assert np.array_equal(shared.weights, np.array([1, 0.5] * 300, np.float32))
    assert np.array_equal(ShardReader(shared).read(positions[5:8]), ShardReader(index).read(positions[5:8]))


def test_what_differs_is_named_in_the_order_of_the_rows(make_dataset: Callable[..., Manifest]) -> None:
    manifest = make_dataset(4, columns={"shape": ["4x3", "5x3", "6x3", "5x3"], "dtype": ["float32"] * 4})
    index = index_of_manifest(manifest.where([False, False, True, True]), label_mode=None)
    assert index.varied_shapes == "6x3, 5x3"


def test_dtypes_that_differ_are_refused(make_dataset: Callable[..., Manifest]) -> None:
    manifest = make_dataset(2, columns={"shape": ["4x3", "5x3"], "dtype": ["float32", "uint8"]})
    with pytest.raises(SamplesError, match="the samples differ: shapes 4x3, 5x3; dtypes float32, uint8; a batch needs one dtype"):
        index_of_manifest(manifest, label_mode=None)


def test_a_kept_manifest_is_indexed_like_one_that_was_parsed(
    make_dataset: Callable[..., Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "CACHED_ROWS", 1)
    columns = {"split": ["train", "val"] * 3, "shape": ["4x3"] * 6, "dtype": ["float32"] * 6, "w": list("012345")}
    manifest = make_dataset(6, ids=[f"{'ab'[i // 3]}/{i}" for i in range(6)], columns=columns)
    monkeypatch.setattr(store, "csv_blocks", None)
    kept = load_manifest(manifest.root)
    for split in ("train", "val"):
        ours, theirs = (
            index_of_manifest(rows.split(split), label_mode="int", sample_weight="w", sampling="balanced") for rows in (kept, manifest)
        )
        assert (list(ours.ids), list(ours.paths)) == (list(theirs.ids), list(theirs.paths))
        assert (ours.classes, ours.array) == (theirs.classes, theirs.array)
        for name in ("weights", "cumulative"):
            assert np.array_equal(getattr(ours, name), getattr(theirs, name))


def test_a_column_says_how_much_a_sample_counts(make_dataset: Callable[..., Manifest]) -> None:
    manifest = make_dataset(3, columns={"w": ["1", "0", "2.5e-1"]})
    index = index_of_manifest(manifest, label_mode="int", sample_weight="w")
    assert index.weights is not None
    assert index.weights.dtype == np.float32
    assert index.weights.tolist() == [1, 0, 0.25]
    assert index.cumulative is None
    assert index_of_manifest(manifest, label_mode="int").weights is None


@pytest.mark.parametrize(
    ("labels", "sampling", "shares"),
    [
        (["a", "b", "a", "a"], "balanced", [1 / 6, 1 / 2, 1 / 6, 1 / 6]),
        (["a", "a"], "balanced", [1 / 2, 1 / 2]),
        (["a", "b", "a", "b"], "w", [0, 1 / 4, 1 / 4, 1 / 2]),
        (["", "a;b", "a", "a"], "w", [0, 1 / 4, 1 / 4, 1 / 2]),
    ],
)
@pytest.mark.parametrize("label_mode", [None, "multi_hot"])
def test_how_often_a_sample_is_drawn(
    make_dataset: Callable[..., Manifest], labels: list[str], sampling: str, shares: list[float], label_mode: Any
) -> None:
    n = len(labels)
    # A column of the word's own name does not win over the word.
    manifest = make_dataset(n, labels=labels, columns={"w": ["0", "1", "1", "2"][:n], "balanced": ["7"] * n})
    index = index_of_manifest(manifest, label_mode=label_mode, sampling=sampling)
    assert index.cumulative is not None
    assert index.cumulative.dtype == np.float64
    assert index.cumulative[-1] == 1
    assert np.diff(index.cumulative, prepend=0) == pytest.approx(shares)


def test_classes_are_balanced_within_the_rows_of_the_feed(make_dataset: Callable[..., Manifest]) -> None:
    manifest = make_dataset(4, labels=list("aaab"), columns={"split": ["train", "val", "val", "train"]})
    index = index_of_manifest(manifest.split("train"), label_mode="int", sampling="balanced")
    assert index.cumulative is not None
    assert index.cumulative.tolist() == [0.5, 1]


@pytest.mark.parametrize(
    ("columns", "arguments", "error", "message"),
    [
        (
            {"w": ["1", "x", "nan", "-1", "", "inf", "1e39"]},
            {"sample_weight": "w"},
            LabelError,
            (
                "6 samples with a weight that is no finite number from 0 (column 'w'): ID 's001' (shards/s001.npy) has 'x', "
                "ID 's002' (shards/s002.npy) has 'nan', ID 's003' (shards/s003.npy) has '-1', ID 's004' (shards/s004.npy), "
                "ID 's005' (shards/s005.npy) has 'inf', ID 's006' (shards/s006.npy) has '1e39'; correct the weights, or leave"
            ),
        ),
        (
            {"w": ["1"] * 6 + ["-0.1"]},
            {"sampling": "w"},
            LabelError,
            "1 sample with a weight that is no finite number from 0 (column 'w'): ID 's006' (shards/s006.npy) has '-0.1'",
        ),
        ({"w": ["0"] * 7}, {"sampling": "w"}, LabelError, "all 7 weights are 0 (sampling='w'): there is nothing to draw"),
        (
            {"label": ["a", "", "a", "", "a", "b", "a"]},
            {"sampling": "balanced", "label_mode": None},
            LabelError,
            "2 samples with no label: ID 's001' (shards/s001.npy), ID 's003' (shards/s003.npy); sampling 'balanced' takes one class",
        ),
        (
            {"label": ["a", "a;b", "a", "b;", "a", "b", "a"]},
            {"sampling": "balanced", "label_mode": "multi_hot"},
            LabelError,
            "2 samples with several classes: ID 's001' (shards/s001.npy) has 'a;b', ID 's003' (shards/s003.npy) has 'b;'; sampling",
        ),
        (
            {"w": ["1"] * 7},
            {"sample_weight": "weight"},
            OptionError,
            "sample_weight must be None or a column of the manifest, which are 'id', 'label', 'w'; got 'weight'",
        ),
        (
            {"w": ["1"] * 7},
            {"sampling": "weight"},
            OptionError,
            "sampling must be None, 'balanced' or a column of the manifest, which are 'id', 'label', 'w'; got 'weight'",
        ),
        ({}, {"sample_weight": "balanced"}, OptionError, "sample_weight must be None or a column of the manifest"),
        ({}, {"sample_weight": ["id"]}, OptionError, "sample_weight must be None or a column of the manifest"),
        ({}, {"sampling": True}, OptionError, "sampling must be None, 'balanced' or a column of the manifest"),
        (
            {"w": ["1"] * 7},
            {"sample_weight": "w", "label_mode": None},
            OptionError,
            "sample_weight needs a label_mode, got None: Keras takes",
        ),
    ],
    ids=lambda value: str(value)[:50],
)
def test_bad_weights_of_a_manifest(
    make_dataset: Callable[..., Manifest], columns: dict[str, list[str]], arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match="^" + re.escape(message)):
        index_of_manifest(make_dataset(7, columns=columns), **({"label_mode": "int"} | arguments))


def test_balanced_sampling_needs_labels(make_dataset: Callable[..., Manifest]) -> None:
    path = make_dataset(1).root / "manifest.csv"
    path.write_text("id\ns000\n")
    with pytest.raises(LabelError, match=r"has no column 'label' \(its columns are 'id'\), which sampling 'balanced' needs"):
        index_of_manifest(load_manifest(path), label_mode=None, sampling="balanced")


@pytest.mark.parametrize("label_mode", [None, "int"])
def test_ids_are_drawn_by_class(label_mode: Any) -> None:
    index = of_ids(["a", "b", "a", "a"], sampling="balanced", label_mode=label_mode)
    assert index.cumulative is not None
    assert np.diff(index.cumulative, prepend=0) == pytest.approx([1 / 6, 1 / 2, 1 / 6, 1 / 6])
    assert index.classes == (() if label_mode is None else ("0", "1", "2"))


def test_ids_have_weights() -> None:
    index = of_ids(["a", "b", "a"], sample_weight={"a": 1, "b": np.float16(0.5), "unused": -1})
    assert index.weights is not None
    assert index.weights.dtype == np.float32
    assert index.weights.tolist() == [1, 0.5, 1]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"sample_weight": {"a": 1}}, LabelError, "sample_weight has no entry for 1 of the 2 IDs: 'b'"),
        (
            {"sample_weight": {"a": "1", "b": -1}},
            LabelError,
            "2 samples with a weight that is no finite number from 0 (sample_weight): ID 'a' (a.npy) has '1', ID 'b' (b.npy) has -1",
        ),
        (
            {"sample_weight": {"a": None, "b": 10**400}},
            LabelError,
            "2 samples with a weight that is no finite number from 0 (sample_weight): ID 'a' (a.npy) has None, ID 'b' (b.npy) has 10000",
        ),
        ({"sample_weight": [1, 2]}, OptionError, "sample_weight must be a dict of ID -> number, got list"),
        ({"sample_weight": {"a": 1, "b": 1}, "label_mode": None}, OptionError, "sample_weight needs a label_mode, got None"),
        ({"sampling": "w"}, OptionError, "sampling must be None or 'balanced' for a list of IDs, got 'w'"),
        ({"sampling": ["balanced"]}, OptionError, "sampling must be None or 'balanced' for a list of IDs, got ['balanced']"),
        (
            {"sampling": "balanced", "labels": {"a": "x;y", "b": "x"}, "class_names": ["x", "y"], "label_mode": "multi_hot"},
            LabelError,
            "1 sample with several classes: ID 'a' (a.npy) has 'x;y'; sampling 'balanced' takes one class a sample",
        ),
    ],
    ids=lambda value: str(value)[:50],
)
def test_bad_weights_of_ids(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match="^" + re.escape(message)):
        of_ids(**arguments)


def test_ids_without_labels_cannot_be_balanced() -> None:
    arguments: dict[str, Any] = {"data_dir": "data", "dim": None, "n_channels": None, "n_classes": None, "label_mode": None}
    with pytest.raises(LabelError, match="labels is None, but sampling 'balanced' needs them"):
        index_of_ids(["a"], None, sampling="balanced", **arguments)


def test_labels_of_ids_may_be_numbers() -> None:
    index = of_ids(["b", "a", "b"], {"a": 1.5, "b": np.float64(-2), "unused": "x"}, label_mode="float")
    assert index.codes is not None
    y = targets(index.codes, np.arange(3))
    assert (y.dtype, y.tolist(), index.classes) == ("float32", [-2, 1.5, -2], ())


def y_of(manifest: Manifest, **options: Any) -> tuple[str, tuple[str, ...], Any]:
    """Return the mode that a manifest's labels came to, the classes, and all targets."""
    index = index_of_manifest(manifest, **({"label_mode": "auto"} | options))
    assert index.codes is not None
    return index.codes.label_mode, index.classes, targets(index.codes, np.arange(len(index))).tolist()


def write_specs(manifest: Manifest, specs: dict[str, Any]) -> Manifest:
    (manifest.root / "dataset.json").write_text(json.dumps({"schema_version": 1, "labels": specs}))
    return load_manifest(manifest.root)


NUMBER = {"kind": "number"}


@pytest.mark.parametrize(
    ("labels", "specs", "options", "expected"),
    [
        ("x", None, {}, ("categorical", ("a", "b"), [[0, 1], [1, 0], [0, 1]])),
        ("decimal", None, {}, ("float", (), [3.5, 1, 2])),
        ("decimal", None, {"label_mode": "float"}, ("float", (), [3.5, 1, 2])),
        ("decimal", {"label": {"classes": ["1", "2", "3.5"]}}, {"label_mode": "int"}, ("int", ("1", "2", "3.5"), [2, 0, 1])),
        ("integer", None, {"label_mode": "int"}, ("int", ("5", "7", "35"), [2, 0, 1])),
        ("integer", None, {"label_mode": "float"}, ("float", (), [35, 5, 7])),
        ("integer", {"label": NUMBER}, {}, ("float", (), [35, 5, 7])),
        ("zero", {"label": NUMBER}, {"label_mode": "binary"}, ("binary", ("0.0", "1.0"), [[1], [0], [0]])),
    ],
)
def test_labels_are_fed_as_what_they_are(
    make_dataset: Callable[..., Manifest], labels: str, specs: Any, options: Any, expected: Any
) -> None:
    kinds = {"x": "bab", "decimal": ["3.5", "1", "2"], "integer": ["35", "5", "7"], "zero": ["1.0", "0.0", "0.0"]}
    manifest = make_dataset(3, labels=kinds[labels])
    assert y_of(manifest if specs is None else write_specs(manifest, specs), **options) == expected


COLUMNS = {"age": ["3.5", "1", "2"], "size": ["0.5", "1.5", "2.5"], "rust": list("011"), "scab": list("101"), "breed": list("xyz")}


@pytest.fixture
def many(make_dataset: Callable[..., Manifest]) -> Manifest:
    """Three samples with several label columns, the first of which was called `mildew`."""
    manifest = make_dataset(3, labels=list("001"), columns=COLUMNS)
    specs: dict[str, Any] = {name: NUMBER if name in {"age", "size"} else {"classes": sorted(set(COLUMNS[name]))} for name in COLUMNS}
    return write_specs(manifest, {"label": {"classes": ["0", "1"], "column": "mildew"}} | specs)


@pytest.mark.parametrize(
    ("label", "options", "expected"),
    [
        ("age", {}, ("float", (), [3.5, 1, 2])),
        (["age"], {}, ("float", (), [3.5, 1, 2])),
        ("breed", {"label_mode": "int"}, ("int", ("x", "y", "z"), [0, 1, 2])),
        (["size", "age"], {}, ("float", (), [[0.5, 3.5], [1.5, 1], [2.5, 2]])),
        (["rust", "age"], {"label_mode": "float"}, ("float", (), [[0, 3.5], [1, 1], [1, 2]])),
        (["scab", "rust"], {}, ("multi_hot", ("scab", "rust"), [[1, 0], [0, 1], [1, 1]])),
        (["mildew", "scab"], {}, ("multi_hot", ("mildew", "scab"), [[0, 1], [0, 0], [1, 1]])),
        (["label", "scab"], {}, ("multi_hot", ("mildew", "scab"), [[0, 1], [0, 0], [1, 1]])),
    ],
)
def test_any_label_columns_are_fed(many: Manifest, label: Any, options: Any, expected: Any) -> None:
    assert y_of(many, label=label, **options) == expected


def test_what_columns_hold_does_not_depend_on_the_rows(many: Manifest) -> None:
    manifest = write_specs(many, {})
    assert y_of(manifest.where(breed=["y", "z"]), label="age") == ("float", (), [1, 2])
    assert y_of(manifest.where(breed="z"), label=["rust", "scab"]) == ("multi_hot", ("rust", "scab"), [[1, 1]])


def test_another_column_is_drawn_by_class(many: Manifest) -> None:
    index = index_of_manifest(many, label_mode="int", label="rust", sampling="balanced")
    assert index.cumulative is not None
    assert np.diff(index.cumulative, prepend=0) == pytest.approx([1 / 2, 1 / 4, 1 / 4])


NUMBERS = r"column 'age' holds numbers \(ID 's000' has '3.5', ID 's001' has '1', ID 's002' has '2'\)"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"label": "age", "label_mode": "categorical"},
            LabelError,
            f"label_mode 'categorical' makes classes, but {NUMBERS}; use label_mode=",
        ),
        ({"label": "age", "label_mode": "int"}, LabelError, f"label_mode 'int' makes classes, but {NUMBERS}; use label_mode='float', or"),
        ({"label": "age", "label_mode": "multi_hot"}, LabelError, f"label_mode 'multi_hot' makes classes, but {NUMBERS}"),
        ({"label": "age", "label_mode": "binary"}, LabelError, "label_mode 'binary' needs exactly 2 classes, found 3: '1', '2', '3.5'"),
        ({"label": "age", "class_names": ["1", "2"]}, OptionError, f"class_names names classes, but {NUMBERS}; leave class_names out"),
        ({"label": "age", "label_mode": "binary", "class_names": ["1", "2"]}, OptionError, "class_names names classes, but column 'age'"),
        ({"label": "age", "sampling": "balanced"}, LabelError, f"sampling 'balanced' draws each class equally often, but {NUMBERS}"),
        ({"label": "age", "sampling": "balanced", "label_mode": None}, LabelError, "sampling 'balanced' draws each class equally often"),
        (
            {"label": "rust", "sampling": "balanced", "label_mode": "float"},
            LabelError,
            "sampling 'balanced' draws each class equally often",
        ),
        ({"label": ["rust", "scab"], "sampling": "balanced"}, LabelError, "sampling .* takes one label column, got 'rust', 'scab'"),
        (
            {"label": "breed", "label_mode": "float"},
            LabelError,
            r"3 samples with a label that is no finite number \(column 'breed'\): ID 's000' \(shards/s000.npy\) has 'x', ID 's001'",
        ),
        (
            {"label": ["rust", "breed"]},
            LabelError,
            "several label columns make one y .* but 'rust' holds 2 classes, 'breed' holds 3 classes",
        ),
        (
            {"label": ["rust", "breed", "age"]},
            LabelError,
            (
                "several label columns make one y if all hold numbers, or all hold 0 and 1, but 'rust' holds 2 classes, 'breed' holds 3 "
                "classes, 'age' holds numbers; pass one of them"
            ),
        ),
        (
            {"label": ["rust", "age"], "label_mode": "multi_hot"},
            LabelError,
            r"2 samples with a label that is neither 0 nor 1 \(column 'age'",
        ),
        (
            {"label": ["rust", "scab"], "label_mode": "int"},
            LabelError,
            "label_mode 'int' takes one label column, got 'rust', 'scab'; several",
        ),
        ({"label": ["rust", "scab"], "class_names": ["a"]}, OptionError, "class_names goes with one label column; of several, 'rust'"),
        ({"label": "nowhere"}, LabelError, "has no column 'nowhere' .*; pass label_mode=None for batches without labels"),
        ({"label": ["rust", "no"], "label_mode": None}, LabelError, r"has no column 'no' .*, which label=\['rust', 'no'\] names"),
        *(
            ({"label": label}, OptionError, r"label must be the name of a column, or a list of distinct ones, got")
            for label in ([], ["rust", "rust"], ["label", "mildew"], ["rust", 1], None)
        ),
    ],
)
def test_columns_that_cannot_be_fed(many: Manifest, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        index_of_manifest(many, **({"label_mode": "auto"} | options))
    assert "\n" not in str(caught.value)


def test_targets_are_in_arrays_that_can_be_shared(make_dataset: Callable[..., Manifest]) -> None:
    manifest = make_dataset(600, columns={"a": ["0.5", "1.5"] * 300, "b": ["2.5"] * 600, "c": list("01") * 300, "d": ["1"] * 600})
    for label in ("a", ["a", "b"], ["c", "d"]):
        index = index_of_manifest(manifest, label_mode="auto", label=label)
        buffers: list[pickle.PickleBuffer] = []
        assert len(pickle.dumps(index, protocol=5, buffer_callback=buffers.append)) < 3000
        assert index.codes is not None
        assert sum(buffer.raw().nbytes for buffer in buffers) >= index.codes.values.nbytes
