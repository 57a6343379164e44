from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader import LabelError, OptionError
from loader.labels import LabelMode, encode_labels, targets

CLASSES = ("ant", "bee", "cat")


def encoded(labels: list[str], label_mode: LabelMode, classes: tuple[str, ...] = CLASSES) -> np.ndarray:
    names = [f"s{i}" for i in range(len(labels))]
    codes = encode_labels(labels, classes, label_mode, ids=names, paths=[f"shards/{name}.npy" for name in names])
    assert codes is not None
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
def test_what_y_looks_like(label_mode: LabelMode, labels: list[str], classes: tuple[str, ...], expected: list[object], dtype: str) -> None:
    y = encoded(labels, label_mode, classes)
    assert y.dtype == dtype
    assert y.tolist() == expected


def test_no_label_mode_looks_at_no_label() -> None:
    assert encode_labels([], (), None, ids=["a"], paths=["a.npy"]) is None


@given(st.lists(st.sets(st.sampled_from(CLASSES)), min_size=1, max_size=20), st.data())
def test_any_selection_of_multi_hot_rows_is_that_of_the_whole(named: list[set[str]], data: st.DataObject) -> None:
    labels = [";".join(sorted(names)) for names in named]
    whole = encoded(labels, "multi_hot")
    assert [{CLASSES[i] for i in np.flatnonzero(row)} for row in whole] == named
    positions = np.array(data.draw(st.lists(st.integers(0, len(labels) - 1))), dtype=np.int64)
    codes = encode_labels(labels, CLASSES, "multi_hot", ids=labels, paths=labels)
    assert codes is not None
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
def test_a_bad_label_names_the_sample_and_what_to_do(label_mode: LabelMode, labels: list[str], message: str) -> None:
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
    with pytest.raises(OptionError, match="label_mode must be one of 'categorical', 'int', 'binary', 'multi_hot', None, got 'onehot'"):
        encoded(["ant"], "onehot")  # type: ignore[arg-type]
