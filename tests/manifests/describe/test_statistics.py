"""Statistics belong to rows, and are refused for any others."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests import ManifestError, UnknownNameError, verify
from manifests.describe import statistics
from manifests.describe.statistics import rows_digest, rows_of_statistics
from manifests.format.metadata import Metadata
from manifests.manifest import Manifest
from manifests.rows.table import rows_of

IDS, SHA256S = ["a", "b", "c"], ["1" * 64, "2" * 64, "3" * 64]
CHANNELS = {"mean": [1.0, 2.0], "variance": [0.25, 0.0]}


def digest_of(ids: list[str], sha256s: list[str]) -> str:
    return rows_digest(rows_of({"id": ids, "sha256": sha256s}), np.ones(len(ids), dtype=np.bool_))


def manifest_of(statistics: dict[str, Any], splits: tuple[str, ...] | None = ("train", "val", "train"), **columns: list[str]) -> Manifest:
    frame = pd.DataFrame({"id": IDS, "sha256": SHA256S} | ({} if splits is None else {"split": list(splits)}) | columns, dtype=str)
    return Manifest(frame, Path("data"), Metadata(statistics=statistics))


def train_statistics(**changes: Any) -> dict[str, Any]:
    digest = digest_of(["a", "c"], [SHA256S[0], SHA256S[2]])
    return {"version": 1, "over": "train", "rows": 2, "digest": digest, "axis": -1, "channels": CHANNELS} | changes


def test_the_digest_is_of_sorted_lines() -> None:
    expected = hashlib.sha256(f"a,{'1' * 64}\nb,{'2' * 64}\n".encode()).hexdigest()
    assert digest_of(["b", "a"], ["2" * 64, "1" * 64]) == expected
    assert digest_of(["a", "b"], ["1" * 64, "2" * 64]) == expected


@given(st.lists(st.text(alphabet="ab+-,.!é", max_size=3), unique=True, max_size=9), st.integers(1, 4))
def test_the_digest_does_not_depend_on_order_or_blocks(ids: list[str], block: int) -> None:
    sha256s = [f"{number:064x}" for number in range(len(ids))]
    lines = sorted(f"{id_},{sha256}\n" for id_, sha256 in zip(ids, sha256s, strict=True))
    expected = hashlib.sha256("".join(lines).encode()).hexdigest()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "_BLOCK_ROWS", block)
        assert digest_of(ids, sha256s) == expected
        pairs = sorted(zip(ids, sha256s, strict=True))
        assert digest_of([id_ for id_, _ in pairs], [sha256 for _, sha256 in pairs]) == expected


@pytest.mark.parametrize(
    ("splits", "over", "mask"),
    [
        (["", ""], "all", [True, True]),
        (["train", "val"], "train", [True, False]),
        (["train", ""], "train", [True, False]),
        ([], "all", []),
    ],
)
def test_statistics_are_of_the_training_rows(splits: list[str], over: str, mask: list[bool]) -> None:
    found = rows_of_statistics(rows_of({"split": splits})["split"])
    assert found is not None
    assert (found[0], found[1].tolist()) == (over, mask)


def test_splits_without_train_have_none() -> None:
    assert rows_of_statistics(rows_of({"split": ["val", "test"]})["split"]) is None


def test_keras_gets_float32_of_the_channels() -> None:
    normalization = manifest_of(train_statistics()).normalization()
    assert normalization["axis"] == -1
    for name, expected in CHANNELS.items():
        value = dict(normalization)[name]
        assert isinstance(value, np.ndarray)
        assert (value.dtype, value.shape) == (np.float32, (2,))
        np.testing.assert_array_equal(value, expected)


def test_one_channel_of_all_values_is_a_scalar() -> None:
    statistics = train_statistics(axis=None, channels={"mean": [1.5], "variance": [2.0]})
    normalization = manifest_of(statistics).normalization()
    assert (normalization["axis"], normalization["mean"].shape, float(normalization["variance"])) == (None, (), 2.0)


def test_every_selection_has_those_of_the_training_rows() -> None:
    manifest = manifest_of(train_statistics())
    for part in (manifest.split("val"), manifest.split("train"), manifest.where(id="b"), manifest.split("train").where(id="a")):
        np.testing.assert_array_equal(part.normalization()["mean"], [1, 2])


@pytest.mark.parametrize(
    ("statistics", "splits", "says"),
    [
        ({}, ("train", "val", "train"), "has no statistics of the values"),
        (train_statistics(channels=None), ("train", "val", "train"), "has no statistics of the values"),
        (train_statistics(), ("train", "train", "train"), "other IDs or content"),
        (train_statistics(), ("train", "train", "val"), "other IDs or content"),
        (train_statistics(), None, "but would be of all rows"),
        (train_statistics(), ("val", "val", "test"), "no row is in the split 'train'"),
        (train_statistics(over="all"), ("train", "val", "train"), "are of all rows, but would be of the rows of split 'train'"),
        (train_statistics(digest=3), ("train", "val", "train"), "other IDs or content"),
        (train_statistics(channels={"mean": [None], "variance": [None]}), ("train", "val", "train"), "no finite value"),
        (train_statistics(channels={"mean": [1.0], "variance": [-1.0]}), ("train", "val", "train"), "no finite value"),
        (train_statistics(channels={"mean": [1.0], "variance": [1.0, 2.0]}), ("train", "val", "train"), "no finite value"),
    ],
)
def test_others_are_refused(statistics: dict[str, Any], splits: tuple[str, ...] | None, says: str) -> None:
    with pytest.raises(ManifestError, match=says) as caught:
        manifest_of(statistics, splits).normalization()
    assert str(caught.value).startswith("data: ")
    assert any(words in str(caught.value) for words in ("build the dataset again", "mend the data"))


def test_changed_content_is_refused() -> None:
    with pytest.raises(ManifestError, match="other IDs or content"):
        manifest_of(train_statistics(), sha256=[SHA256S[0], SHA256S[1], "4" * 64]).normalization()
    manifest_of(train_statistics(), sha256=[SHA256S[0], "4" * 64, SHA256S[2]]).normalization()  # not a training row


def test_verify_tells_of_others(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    manifest = manifest_of(train_statistics(), ("train", "train", "train"))
    manifest.root = tmp_path
    findings = [finding for finding in verify(manifest) if finding.kind == "statistics"]
    assert [(finding.path, finding.id, finding.is_problem) for finding in findings] == [("dataset.json", None, True)]
    manifest = manifest_of(train_statistics())
    manifest.root = tmp_path
    assert not [finding for finding in verify(manifest) if finding.kind == "statistics"]


def moments_of(*args: Any, **columns: list[str]) -> dict[str, Any]:
    moments = manifest_of({}, **columns).split("val").normalization(*args)
    return {name: np.asarray(value).tolist() for name, value in moments.items()}


def test_targets_are_normalised_by_the_training_rows() -> None:
    columns = {"label": ["1", "99", "4"], "age": ["0.5", "1.5", "2.5"]}
    assert moments_of("label", **columns) == {"mean": 2.5, "variance": 2.25}
    assert moments_of(["age", "label"], **columns) == {"mean": [1.5, 2.5], "variance": [1.0, 2.25]}
    assert manifest_of({}, None, **columns).normalization("age")["mean"] == 1.5
    mean = manifest_of({}, **columns).normalization("label")["mean"]
    assert (mean.dtype, mean.shape) == (np.float32, ())
    assert moments_of("label", label=["1", "", ""]) == {"mean": 1.0, "variance": 0.0}  # a label that is missing does not count


@pytest.mark.parametrize(
    ("splits", "labels", "message"),
    [
        (("train",) * 3, ["1.5", "2", "cat"], "data: column 'label' of ID 'c' is 'cat', which is no number; only numbers have a mean"),
        (("val", "val", "val"), ["1.5", "2", "3"], "data: no row is in the split 'train', over which mean and variance are"),
        (("train", "val", "val"), ["", "2", "3"], "data: column 'label' has no number in the rows of split 'train', or too great ones"),
        (("train",) * 3, ["1e300", "2", "3"], "data: column 'label' has no number in the rows of split 'train', or too great ones"),
    ],
)
def test_labels_without_mean_and_variance_are_refused(splits: tuple[str, ...], labels: list[str], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        manifest_of({}, splits, label=labels).normalization("label")


def test_only_columns_that_there_are_have_a_mean() -> None:
    with pytest.raises(UnknownNameError, match="no column 'age'; the columns are 'id'"):
        manifest_of({}).normalization("age")
