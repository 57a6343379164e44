"""`dataset.json`: a round trip, and every wrong value named by its key."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manifests.errors import InvalidManifestError
from manifests.format.metadata import ArraySpec, LabelSpec, Metadata, is_dtype_name, read_metadata, write_metadata
from manifests.format.schema import SCHEMA_VERSION

GOLDEN = Path(__file__).parent.parent.parent / "golden" / "manifests"

LABELS = {
    "rust": LabelSpec(classes=("a",), column="first"),
    "label": LabelSpec(kind="class", classes=("1.5", "2.5")),
    "age": LabelSpec(kind="number"),
}

FULL = Metadata(
    array=ArraySpec(shape=(32, None, 3), dtype="uint8"),
    labels={"label": LabelSpec(classes=("indoor", "cat", "dog", "NA", "écureuil")), "size": LabelSpec(classes=())},
    recipe={"source": "image-folder", "size": [32, 32], "scale": None},
    splits={"names": ["train", "val"], "seed": 0, "fractions": {"train": 0.9, "val": 0.1}},
    statistics={"mean": [0.5, 0.25, 0.125]},
)

CHANNELS: dict[str, list[Any]] = {"mean": [0.5], "variance": [1], "std": [1], "min": [0], "max": [None], "finite": [3], "non_finite": [0]}

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
json_objects = st.dictionaries(words, st.recursive(st.none() | st.booleans() | st.integers() | words, st.lists, max_leaves=4), max_size=3)
array_specs = st.builds(
    ArraySpec,
    shape=st.none() | st.lists(st.none() | st.integers(0, 30_000), max_size=4).map(tuple),
    dtype=st.none() | st.sampled_from(["uint8", "float32", "complex128", "bool"]),
)
metadata = st.builds(
    Metadata,
    array=st.none() | array_specs,
    arrays=st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True), array_specs, max_size=3),
    labels=st.dictionaries(words, st.builds(LabelSpec, classes=st.lists(words, unique=True).map(tuple)), max_size=3),
    recipe=json_objects,
    splits=json_objects.map(lambda value: {**value, "names": ["b", "a"]}),
    statistics=json_objects,
)


def check_round_trip(value: Metadata, path: Path) -> None:
    write_metadata(value, path)
    assert read_metadata(path) == value
    first = path.read_bytes()
    write_metadata(read_metadata(path), path)
    assert path.read_bytes() == first


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(metadata)
def test_metadata_survive_a_round_trip(tmp_path: Path, value: Metadata) -> None:
    check_round_trip(value, tmp_path / "dataset.json")


@pytest.mark.parametrize("value", [Metadata(), FULL, Metadata(labels=LABELS), Metadata(array=ArraySpec(shape=(0, None), dtype=None))])
def test_the_least_and_the_most(tmp_path: Path, value: Metadata) -> None:
    check_round_trip(value, tmp_path / "dataset.json")


def test_the_bytes_are_those_of_the_golden_file(tmp_path: Path) -> None:
    write_metadata(FULL, tmp_path / "dataset.json")
    assert (tmp_path / "dataset.json").read_bytes() == (GOLDEN / "dataset.json").read_bytes()


def test_what_is_said_of_labels_is_written_and_nothing_else(tmp_path: Path) -> None:
    write_metadata(Metadata(labels=LABELS), tmp_path / "dataset.json")
    assert json.loads((tmp_path / "dataset.json").read_text())["labels"] == {
        "rust": {"column": "first", "classes": ["a"]},
        "label": {"kind": "class", "classes": ["1.5", "2.5"]},
        "age": {"kind": "number"},
    }


def test_nothing_is_written_of_arrays_that_there_are_not(tmp_path: Path) -> None:
    write_metadata(Metadata(array=ArraySpec(shape=(1,), dtype="bool")), tmp_path / "dataset.json")
    assert json.loads((tmp_path / "dataset.json").read_text()).keys() == {"schema_version", "array", "labels"}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ([], "arrays: expected an object, found []"),
        ({"../x": {"shape": [1], "dtype": "bool"}}, "arrays: expected lower-case letters, digits and '_', at most 64"),
        ({"mask": 3}, "arrays.mask: expected an object, found 3"),
        ({"mask": {"shape": "3"}}, "arrays.mask.shape: expected a list of lengths or nulls, found '3'"),
        ({"mask": {"dtype": "object"}}, "arrays.mask.dtype: expected the NumPy name of a numeric dtype, found 'object'"),
    ],
)
def test_what_is_wrong_with_further_arrays_is_named_by_its_key(tmp_path: Path, arrays: Any, message: str) -> None:
    [found] = problems_of({"schema_version": 1, "arrays": arrays}, tmp_path / "dataset.json")
    assert found.startswith(message)


def test_the_golden_file_is_read() -> None:
    assert read_metadata(GOLDEN / "dataset.json") == FULL


def problems_of(raw: Any, path: Path) -> list[str]:
    """Return the messages of the problems that a file of this content has."""
    path.write_bytes(raw if isinstance(raw, bytes) else json.dumps(raw).encode())
    with pytest.raises(InvalidManifestError) as caught:
        read_metadata(path)
    assert str(path) in str(caught.value)
    return [problem.message for problem in caught.value.problems]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"{'a': 1}", b"\xff\xfe\xfa", b"[" * 100_000, b'{"schema_version": ' + b"9" * 5000 + b"}"],
    ids=["empty", "cut", "Python", "no text", "deep", "digits"],
)
def test_what_is_no_json_is_one_problem(tmp_path: Path, content: bytes) -> None:
    [message] = problems_of(content, tmp_path / "dataset.json")
    assert message.startswith("is not JSON: ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": None}, "schema_version: expected a positive integer, found None"),
        ({"schema_version": 0}, "schema_version: expected a positive integer, found 0"),
        ({"schema_version": "1"}, "schema_version: expected a positive integer, found '1'"),
        ({"schema_version": True}, "schema_version: expected a positive integer, found True"),
        ({"schema_version": 1.0}, "schema_version: expected a positive integer, found 1.0"),
        ({"array": []}, "array: expected an object, found []"),
        ({"array": {"shape": "32x32", "dtype": None}}, "array.shape: expected a list of lengths or nulls, found '32x32'"),
        ({"array": {"shape": [-1], "dtype": None}}, "array.shape: expected a list of lengths or nulls, found [-1]"),
        ({"array": {"shape": [1.0], "dtype": None}}, "array.shape: expected a list of lengths or nulls, found [1.0]"),
        ({"array": {"shape": [True], "dtype": None}}, "array.shape: expected a list of lengths or nulls, found [True]"),
        ({"array": {"shape": None, "dtype": "object"}}, "array.dtype: expected the NumPy name of a numeric dtype, found 'object'"),
        ({"array": {"shape": None, "dtype": 8}}, "array.dtype: expected the NumPy name of a numeric dtype, found 8"),
        ({"labels": None}, "labels: expected an object, found None"),
        ({"labels": {"label": None}}, "labels.label.classes: expected a list of names, found None"),
        ({"labels": {"label": {}}}, "labels.label.classes: expected a list of names, found None"),
        ({"labels": {"label": {"kind": "float"}}}, "labels.label.kind: expected one of 'class', 'number', found 'float'"),
        ({"labels": {"label": {"kind": []}}}, "labels.label.kind: expected one of 'class', 'number', found []"),
        ({"labels": {"label": {"kind": "class"}}}, "labels.label.classes: expected a list of names, found None"),
        ({"labels": {"label": {"kind": "number", "column": 1}}}, "labels.label.column: expected the name of a column, found 1"),
        ({"labels": {"label": {"classes": "cat"}}}, "labels.label.classes: expected a list of names, found 'cat'"),
        ({"labels": {"label": {"classes": [1]}}}, "labels.label.classes: expected a list of names, found [1]"),
        ({"labels": {"label": {"classes": [""]}}}, "labels.label.classes: expected a list of names, found ['']"),
        ({"labels": {"label": {"classes": ["a", "a"]}}}, "labels.label.classes: names a class twice"),
        ({"recipe": []}, "recipe: expected an object, found []"),
        ({"splits": "train"}, "splits: expected an object, found 'train'"),
        ({"splits": {"names": "train"}}, "splits.names: expected a list of names, found 'train'"),
        ({"splits": {"names": [1]}}, "splits.names: expected a list of names, found [1]"),
        ({"splits": {"absent": 5}}, "splits.absent: expected an object of text, found 5"),
        ({"splits": {"absent_folds": {"a": 0}}}, "splits.absent_folds: expected an object of text, found {'a': 0}"),
        ({"splits": {"fractions": ["train"]}}, "splits.fractions: expected shares by split, found ['train']"),
        ({"splits": {"seed": True}}, "splits.seed: expected an integer, found True"),
        ({"splits": {"folders": "train"}}, "splits.folders: expected a list of names, found 'train'"),
        ({"splits": {"group_by": []}}, "splits.group_by: expected text, found []"),
        ({"recipe": {"digest": []}}, "recipe.digest: expected text, found []"),
        ({"recipe": {"format": {}}}, "recipe.format: expected text, found {}"),
        ({"recipe": {"options": "x" * 1000}}, f"recipe.options: expected an object, found '{'x' * 99}..."),
        ({"array": {"shape": [999_999_999_999] * 2}}, "array.shape: is one that no array can have: [999999999999, 999999999999]"),
        ({"statistics": {"axis": 0}}, "statistics.axis: expected -1 or null, found 0"),
        ({"statistics": {"rows": -1}}, "statistics.rows: expected a count, found -1"),
        ({"statistics": {"over": 3}}, "statistics.over: expected text, found 3"),
        (
            {"statistics": {"classes": {"label": 3}}},
            "statistics.classes: expected counts by label column, split and class, found {'label': 3}",
        ),
        ({"statistics": {"over": "all", "channels": []}}, "statistics.channels: expected an object, found []"),
        ({"statistics": {"channels": CHANNELS}}, "statistics.over: is missing; expected the split that the statistics are of, or 'all'"),
        (
            {"statistics": {"over": "all", "channels": CHANNELS | {"mean": ["x"]}}},
            "statistics.channels.mean: expected a list of numbers or nulls, one a channel, found ['x']",
        ),
        (
            {"statistics": {"over": "all", "channels": CHANNELS | {"std": [10**400]}}},
            f"statistics.channels.std: expected a list of numbers or nulls, one a channel, found [1{'0' * 98}...",
        ),
        (
            {"statistics": {"over": "all", "channels": CHANNELS | {"finite": None}}},
            "statistics.channels.finite: expected a list of counts, one a channel, found None",
        ),
        (
            {"statistics": {"over": "all", "channels": CHANNELS | {"mean": [0, 1]}}},
            "statistics.channels: expected as many numbers of each kind, found 1, 2",
        ),
        (
            {"statistics": {"over": "all", "axis": None, "channels": {name: values * 3 for name, values in CHANNELS.items()}}},
            "statistics.axis: is null, which means one channel, but there are numbers of 3",
        ),
        ({"recipe": {"a": [{"b\ud800": 1}]}}, r"recipe.a[0].b\ud800: holds text that cannot be encoded as UTF-8"),
        ({"labels": {"label": {"classes": ["\udcff"]}}}, "labels.label.classes[0]: holds text that cannot be encoded as UTF-8"),
        ({"statistics": 3}, "statistics: expected an object, found 3"),
    ],
)
def test_each_wrong_value_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    assert problems_of({"schema_version": 1, **change}, tmp_path / "dataset.json") == [message]


@pytest.mark.parametrize("raw", [[], "text", 3, None, True])
def test_another_kind_of_json_is_no_dataset(tmp_path: Path, raw: Any) -> None:
    assert problems_of(raw, tmp_path / "dataset.json") == [f"dataset.json: expected an object, found {type(raw).__name__}"]


def test_all_problems_at_once(tmp_path: Path) -> None:
    raw = {
        "schema_version": "one",
        "array": {"shape": 3, "dtype": 3},
        "labels": {"a": 3, "b": 3},
        "recipe": 3,
        "splits": 3,
        "statistics": 3,
    }
    keys = [message.partition(":")[0] for message in problems_of(raw, tmp_path / "dataset.json")]
    assert sorted(keys) == [
        *("array.dtype", "array.shape", "labels.a.classes", "labels.b.classes"),
        *("recipe", "schema_version", "splits", "statistics"),
    ]


def test_of_a_newer_version_nothing_else_is_judged(tmp_path: Path) -> None:
    [message] = problems_of({"schema_version": SCHEMA_VERSION + 1, "labels": "of a new kind"}, tmp_path / "dataset.json")
    assert message == f"schema_version: is {SCHEMA_VERSION + 1}, this release reads up to {SCHEMA_VERSION}; update shardfeed"


@pytest.mark.parametrize("raw", [{}, {"array": None}, {"of_a_later_minor": 1}, {"array": {}}])
def test_what_is_absent_or_unknown_is_no_problem(tmp_path: Path, raw: dict[str, Any]) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps({"schema_version": 1, **raw}))
    expected = ArraySpec(shape=None, dtype=None) if raw.get("array") == {} else None
    assert read_metadata(tmp_path / "dataset.json") == Metadata(array=expected)


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_bytes(b'\xef\xbb\xbf{"schema_version": 1}')
    assert read_metadata(tmp_path / "dataset.json") == Metadata()


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_metadata(tmp_path / "dataset.json")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "dataset.json"
    path.write_bytes(b"old")
    with pytest.raises(TypeError):
        write_metadata(Metadata(recipe={"a": object()}), path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["dataset.json"]


@pytest.mark.parametrize(
    ("shape", "dtype", "fixed", "text"),
    [
        ((32, 32, 3), "uint8", True, "(32, 32, 3) uint8"),
        ((), "float32", True, "() float32"),
        ((None, 3), "uint8", False, "(?, 3) uint8"),
        ((3,), None, False, "(3) any dtype"),
        (None, "uint8", False, "any shape uint8"),
        (None, None, False, "any shape any dtype"),
    ],
)
def test_an_array_spec(shape: tuple[int | None, ...] | None, dtype: str | None, fixed: bool, text: str) -> None:
    spec = ArraySpec(shape=shape, dtype=dtype)
    assert spec.is_fixed is fixed
    assert str(spec) == text


@pytest.mark.parametrize(
    "scalar", [np.bool_, np.uint8, np.int16, np.int64, np.float16, np.float32, np.float64, np.complex64, np.longdouble]
)
def test_the_name_of_each_numeric_dtype_is_one(scalar: type[np.generic]) -> None:
    assert is_dtype_name(np.dtype(scalar).name)


@pytest.mark.parametrize(
    "name",
    [
        *("", "f4", "<f4", "float", "int", "object", "str", "bytes", "void", "datetime64", "timedelta64[s]", "float32 ", "Float32"),
        *("i4,(", "a", "a5", "\ud800", "float32,", None, 8, ["float32"], np.dtype("f4")),
    ],
)
def test_anything_else_is_no_dtype_name(name: object) -> None:
    assert not is_dtype_name(name)
