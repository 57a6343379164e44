from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader import LabelError, OptionError
from loader.feed.columns import coded
from loader.feed.targets.labels import Mode, check_label_mode, encode_indicators, encode_labels, encode_numbers, targets
from manifests.rows.table import rows_of

CLASSES = ("ant", "bee", "cat")


def encoded(labels: list[str], label_mode: Mode, classes: tuple[str, ...] = CLASSES) -> np.ndarray:
    names = [f"s{i}" for i in range(len(labels))]
    codes = encode_labels(coded(labels), classes, label_mode, ids=names, paths=[f"shards/{name}.npy" for name in names])
    return targets(codes, np.arange(len(labels)))


@pytest.mark.parametrize(
    ("label_mode", "labels", "classes", "expected", "dtype"),
    [
        ("categorical", ["bee", "ant"], CLASSES, [[0, 1, 0], [1, 0, 0]], "float32"),
        ("categorical", ["bee"], ("bee",), [[1]], "float32"),
        ("int", ["bee", "ant", "cat"], CLASSES, [1, 0, 2], "int32"),
        ("binary", ["yes", "no"], ("no", "yes"), [[1], [0]], "float32"),
        (
            "multi_hot",
            ["ant;cat", "", "bee", "cat;bee;ant", "ant;ant"],
            CLASSES,
            [[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1], [1, 0, 0]],
            "float32",
        ),
        ("multi_hot", ["", ""], CLASSES, [[0, 0, 0], [0, 0, 0]], "float32"),
    ],
)
def test_what_y_looks_like(label_mode: Mode, labels: list[str], classes: tuple[str, ...], expected: list[object], dtype: str) -> None:
    y = encoded(labels, label_mode, classes)
    assert y.dtype == dtype
    assert y.tolist() == expected


NAMES = ["s0", "s1", "s2"]
PATHS = ["s0.npy", "s1.npy", "s2.npy"]


def arrow_column(kind: str, values: list[str]) -> Any:
    """A column of an Arrow table: a dictionary for `label`, strings for `id`."""
    return rows_of({kind: values})[kind]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"age": ["3.5", "-1", "2e1"]}, [[20, 3.5]]),
        ({"age": ["3", "1", "2"], "price": ["0.25", "1", "-1"]}, [[[2, -1], [3, 0.25]]]),
    ],
)
@pytest.mark.parametrize("kind", ["label", "id"])
def test_numbers_are_fed_as_they_are(columns: dict[str, list[str]], expected: list[object], kind: str) -> None:
    codes = encode_numbers({name: arrow_column(kind, values) for name, values in columns.items()}, ids=NAMES, paths=PATHS)
    y = targets(codes, np.array([2, 0]))
    assert (y.dtype, codes.label_mode) == ("float32", "float")
    assert [y.tolist()] == expected


def test_columns_of_0_and_1_are_classes() -> None:
    columns = {"rust": ["0", "1", "1"], "scab": ["True", "False", "True"], "rot": ["0.0", "1.0", "1.0"]}
    codes = encode_indicators({name: coded(values) for name, values in columns.items()}, ids=NAMES, paths=PATHS)
    y = targets(codes, np.array([1, 0]))
    assert (y.dtype, y.tolist(), codes.label_mode, codes.n_classes) == ("float32", [[1, 0, 1], [0, 1, 0]], "multi_hot", 3)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            ["1.5", "", "2"],
            (
                "1 sample with no label in column 'age': ID 's1' (s1.npy); label them, leave them out with "
                "manifest.where(lambda frame: frame['age'] != ''), or pass label_mode=None"
            ),
        ),
        (
            ["1.5", "cat", "nan"],
            (
                "2 samples with a label that is no finite number (column 'age'): ID 's1' (s1.npy) has 'cat', ID 's2' (s2.npy) has 'nan'; "
                "label_mode 'float' needs a number for each sample"
            ),
        ),
        (["1e39", "1_0", "-inf"], "3 samples with a label that is no finite number (column 'age'): ID 's0' (s0.npy) has '1e39'"),
    ],
)
@pytest.mark.parametrize("kind", ["label", "id"])
def test_a_label_that_is_no_number_names_the_sample(labels: list[str], message: str, kind: str) -> None:
    with pytest.raises(LabelError, match="^" + re.escape(message)):
        encode_numbers({"price": arrow_column(kind, ["1"] * 3), "age": arrow_column(kind, labels)}, ids=NAMES, paths=PATHS)


def test_a_label_that_is_neither_0_nor_1_names_the_sample() -> None:
    columns = {"rust": coded(["0", "1", "1"]), "scab": coded(["2", "1", ""])}
    message = "2 samples with a label that is neither 0 nor 1 (column 'scab'): ID 's0' (s0.npy) has '2', ID 's2' (s2.npy); label_mode"
    with pytest.raises(LabelError, match="^" + re.escape(message)):
        encode_indicators(columns, ids=NAMES, paths=PATHS)


@given(st.lists(st.sets(st.sampled_from(CLASSES)), min_size=1, max_size=20), st.data())
def test_any_selection_of_multi_hot_rows_is_that_of_the_whole(named: list[set[str]], data: st.DataObject) -> None:
    labels = [";".join(sorted(names)) for names in named]
    whole = encoded(labels, "multi_hot")
    assert [{CLASSES[i] for i in np.flatnonzero(row)} for row in whole] == named
    positions = np.array(data.draw(st.lists(st.integers(0, len(labels) - 1))), dtype=np.int64)
    codes = encode_labels(coded(labels), CLASSES, "multi_hot", ids=labels, paths=labels)
    assert np.array_equal(targets(codes, positions), whole[positions])


@pytest.mark.parametrize(
    ("label_mode", "labels", "message"),
    [
        (
            "categorical",
            ["ant", "dog"],
            "1 sample with a label that is not among the 3 classes: ID 's1' (shards/s1.npy) has 'dog'; expected 'ant', 'bee', 'cat'",
        ),
        (
            "multi_hot",
            ["ant;dog"],
            "1 sample with a label that is not among the 3 classes: ID 's0' (shards/s0.npy) has 'ant;dog'; expected 'ant', 'bee', 'cat'",
        ),
        (
            "int",
            ["", "ant", "dog", ""],
            "2 samples without a label: ID 's0' (shards/s0.npy), ID 's3' (shards/s3.npy); label them, leave them out with",
        ),
        (
            "int",
            ["ant;bee"],
            "1 sample with several classes: ID 's0' (shards/s0.npy) has 'ant;bee'; label_mode 'int' takes one a sample, use 'multi_hot'",
        ),
        ("binary", ["ant"], r"label_mode 'binary' needs exactly 2 classes, found 3: 'ant', 'bee', 'cat'"),
    ],
)
def test_a_bad_label_names_the_sample_and_what_to_do(label_mode: Mode, labels: list[str], message: str) -> None:
    with pytest.raises(LabelError, match="^" + re.escape(message)):
        encoded(labels, label_mode)


def test_long_lists_are_cut_and_counted() -> None:
    with pytest.raises(LabelError) as caught:
        encoded(["x"] * 25, "int", tuple(f"class{i}" for i in range(12)))
    message = str(caught.value)
    assert "ID 's9'" in message
    assert "ID 's10'" not in message
    assert "... and 15 more" in message
    assert "'class9', ... and 2 more" in message


def test_an_unknown_mode_is_refused() -> None:
    modes = "'auto', 'categorical', 'int', 'binary', 'multi_hot', 'float', None"
    with pytest.raises(OptionError, match=f"label_mode must be one of {modes}, got 'onehot'"):
        check_label_mode("onehot")
