from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loader.feed.columns import Strings, strings
from loader.feed.feed import Feed
from loader.feed.identity import Identity, differences, identity_of
from loader.feed.index.from_manifest import index_of_manifest
from loader.feed.index.index import Index
from loader.feed.options import FeedOptions
from manifests import Manifest

MakeDataset = Callable[..., Manifest]

CHANGES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "batch_size": ({"batch_size": 4}, ["batch_size was 2, now it is 4"]),
    "seed": ({"seed": -(1 << 80)}, [f"seed was 0, now it is {-(1 << 80)}"]),
    "shuffle": ({"shuffle": True}, ["shuffle was False, now it is True"]),
    "drop_remainder": ({"drop_remainder": True}, ["drop_remainder was False, now it is True"]),
    "process_count": ({"process_count": 2}, ["process_count was 1, now it is 2"]),
    "dtype": ({"dtype": "float64"}, ["dtype was float32, now it is float64"]),
    "pad_to": ({"pad_to": (8, 3)}, ["pad_to was None, now it is [8, 3]"]),
    "pad_value": ({"pad_value": 2}, ["pad_value was 0.0, now it is 2.0"]),
    "what becomes of damaged shards": ({"on_error": "skip"}, []),
    "what the system keeps": ({"keep_cached": False}, []),
    "the same seed of NumPy's": ({"seed": np.int64(0), "batch_size": np.int32(2)}, []),
}


def identity(index: Index, **options: Any) -> Identity:
    return identity_of(Feed(index, FeedOptions(**{"batch_size": 2} | options)))


@pytest.fixture
def index(make_dataset: MakeDataset) -> Index:
    return index_of_manifest(make_dataset(6, labels=list("abcabc")), label_mode="int")


@pytest.mark.parametrize(("options", "expected"), CHANGES.values(), ids=CHANGES.keys())
def test_what_options_change(index: Index, options: dict[str, Any], expected: list[str]) -> None:
    assert differences(identity(index), identity(index, **options)) == expected


def test_what_the_samples_change(make_dataset: MakeDataset, index: Index, tmp_path: Path) -> None:
    def of(root: str, mode: Any = "int", **columns: Any) -> list[str]:
        manifest = make_dataset(6, labels=columns.pop("labels", list("abcabc")), root=tmp_path / root, **columns)
        return differences(identity(index), identity(index_of_manifest(manifest, label_mode=mode)))

    ids, labels = ["the samples' IDs or their order changed"], ["the samples' labels or classes changed"]
    assert of("the same elsewhere") == []
    assert of("order", ids=["s001", "s000", "s002", "s003", "s004", "s005"]) == ids
    assert of("labels", labels=list("abcacb")) == labels
    assert of("classes", labels=list("abdabd")) == labels
    assert of("mode", mode="categorical") == labels
    assert of("none", mode=None) == labels


def test_what_decides_targets_is_part_of_it(make_dataset: MakeDataset) -> None:
    columns = {"age": ["0.5", "1", "2"], "size": ["1.5", "3", "4"], "rust": list("011"), "scab": list("101")}
    manifest = make_dataset(3, columns=columns)

    def of(label: Any, mode: Any = "auto") -> str:
        return str(identity(index_of_manifest(manifest, label_mode=mode, label=label))["labels"])

    labels = ["label", "age", "size", "rust", ["age", "size"], ["size", "age"], ["rust", "scab"], ["scab", "rust"]]
    digests = [*map(of, labels), of("rust", "float"), of("rust", None), of(["rust", "scab"], "float")]
    assert len(set(digests)) == len(digests)
    assert of(["age"]) == of("age") == of("age", "float")


def test_weights_are_part_of_it(index: Index) -> None:
    weights, cumulative = np.ones(6, np.float32), np.arange(1, 7) / 6
    assert differences(identity(index), identity(replace(index, weights=weights))) == ["the samples' weights changed"]
    assert differences(identity(index), identity(replace(index, cumulative=cumulative))) == [
        "the weights by which samples are drawn changed"
    ]
    again = replace(index, weights=weights[::-1][::-1])
    assert identity(replace(index, weights=weights)) == identity(again)


def test_ids_are_told_apart_wherever_one_ends_and_wherever_they_stand(index: Index) -> None:
    def of(ids: Strings) -> str:
        return str(identity(replace(index, ids=ids))["ids"])

    assert len({of(strings(ids)) for ids in (["a", "bc"], ["ab", "c"], ["abc"], ["abc", ""], ["", "abc"], ["a", "bc", ""])}) == 6
    several = strings(["x", "a", "bc"])
    assert of(Strings(several.ends[1:], several.data)) == of(strings(["a", "bc"]))


def test_ids_are_digested_alike_in_blocks_of_any_size(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    one = identity(index)["ids"]
    monkeypatch.setattr("manifests.rows.arrow.ROWS_AT_ONCE", 4)
    assert identity(index)["ids"] == one
