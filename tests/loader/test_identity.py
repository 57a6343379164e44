from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loader.feed import Feed
from loader.identity import Identity, differences, identity_of
from loader.index import Index, index_of_manifest
from loader.options import FeedOptions
from manifests import Manifest
from manifests.strings import PackedStrings

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


def test_weights_are_part_of_it(index: Index) -> None:
    weights, cumulative = np.ones(6, np.float32), np.arange(1, 7) / 6
    assert differences(identity(index), identity(replace(index, weights=weights))) == ["the samples' weights changed"]
    assert differences(identity(index), identity(replace(index, cumulative=cumulative))) == [
        "the weights by which samples are drawn changed"
    ]
    again = replace(index, weights=weights[::-1][::-1])
    assert identity(replace(index, weights=weights)) == identity(again)


def test_ids_are_told_apart_wherever_one_ends_and_however_they_are_held(index: Index) -> None:
    def of(*ids: str) -> str:
        return str(identity(replace(index, ids=PackedStrings(ids)))["ids"])

    assert len({of("a", "bc"), of("ab", "c"), of("abc"), of("abc", ""), of("", "abc"), of("a", "bc", "")}) == 6
    # Of one length they are held as a matrix, else end to end.
    assert of("ab", "cd") != of("ab", "cd", "e" * 40)


def test_ids_are_digested_alike_in_blocks_of_any_size(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    one = identity(index)["ids"]
    monkeypatch.setattr("loader.identity._BLOCK", 4)
    assert identity(index)["ids"] == one
