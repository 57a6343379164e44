"""Rows keep the split, fold and group that they had, and `dataset.json` remembers those of raw items that fail."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from manifests.format.metadata import Metadata
from manifests.manifest import Manifest
from manifests.rows.table import rows_of
from prep.errors import SourceError
from prep.progress.report import StderrReporter
from prep.sources.items import items_table
from prep.sources.listing import Failure
from prep.splits.columns import assign_split_columns, remembered
from prep.splits.spec import SplitSpec, parse_splits

if TYPE_CHECKING:
    import pyarrow as pa

HALVES = parse_splits("train=1/2,test=1/2", 0)


def dataset(columns: dict[str, list[str]], spec: SplitSpec = HALVES, **splits: Any) -> Manifest:
    return Manifest(rows_of(columns), Path("data"), Metadata(splits=spec.as_dict() | splits))


def assigned(ids: list[str], spec: SplitSpec, old: Manifest | None, **columns: list[str]) -> pa.Table:
    """Return the rows of items of these IDs, each of which has one row."""
    items = items_table(ids, [f"{id_}.npy" for id_ in ids], columns=columns)
    rows = rows_of({"id": ids, **columns})
    return assign_split_columns(rows, spec, old, StderrReporter(bar=False), items, np.arange(len(ids)), stratify=False)


@pytest.mark.parametrize("first", ["train", "test"])
def test_an_id_has_the_split_of_its_row_or_else_the_one_remembered(first: str) -> None:
    other = "test" if first == "train" else "train"
    old = dataset({"id": ["a", "b"], "split": [first, ""]}, absent={"a": other, "b": "holdout", "c": first, "\ud800": first, "d": 3})
    assert assigned(["a", "b", "c", "d"], HALVES, old)["split"].to_pylist()[::2] == [first, first]


def test_nothing_is_kept_of_other_shares() -> None:
    old = dataset({"id": ["a", "b"], "split": ["test", "test"]}, absent={"c": "test"})
    assert assigned(["a", "b", "c"], parse_splits("train=1", 0), old)["split"].to_pylist() == ["train"] * 3


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_group_goes_where_its_members_without_a_row_were(split: str) -> None:
    old = dataset({"id": ["a"], "split": [split], "group": ["p"]}, absent={"b": split}, absent_groups={"b": "q", "c": "q"})
    rows = assigned(["d", "e"], HALVES, old, group=["p", "q"])
    assert rows["split"].to_pylist() == [split, split]


def test_groups_of_what_is_held_out_are_none_of_those_for_folds() -> None:
    spec = SplitSpec(fractions=HALVES.fractions, group_by="site", folds=2)
    old = dataset({"id": list("abc"), "split": ["train", "test", "test"], "group": ["p", "q", "r"]}, spec)
    with pytest.raises(SourceError, match="2 folds need at least as many groups or IDs that stand alone; there are 1: 'gp'"):
        assigned(list("abc"), spec, old, site=["p", "q", "r"])


def test_what_failed_is_remembered_and_what_is_gone_forgotten_where_gone_rows_go() -> None:
    spec = SplitSpec(fractions=HALVES.fractions, folds=2)
    columns = {
        "id": ["a", "b", "c-0000", "d-0000"],
        "source": ["a.npy", "b.npy", "c.npy", "other.npy"],
        "split": ["train"] * 4,
        "fold": ["0", "1", "1", "0"],
    }
    old = dataset(columns, spec, absent={"x": "test", "y-0001": "train", "z": "train"}, absent_folds={"y-0001": "1"})
    failures = [Failure(id=id_, source=f"{id_}.npy", stage="read", error="") for id_ in ("a", "c", "d", "x", "y")]
    rows = rows_of({"id": ["b", "d-0000"], "split": ["train"] * 2})
    found = remembered(spec, rows, old, failures)
    assert found == spec.as_dict() | {
        "absent": {"a": "train", "c-0000": "train", "x": "test", "y-0001": "train"},
        "absent_folds": {"a": "0", "c-0000": "1", "y-0001": "1"},
    }
    items = items_table(["a", "y"], ["a.npy", "y.npy"])
    assert remembered(spec, rows, old, [], items) == spec.as_dict() | {"absent": {"x": "test", "z": "train"}}


@pytest.mark.parametrize(("stage", "expected"), [("read", {"f/a": "train", "x/a": "test"}), ("find", {})])
def test_the_items_of_a_file_that_failed_as_a_whole_are_remembered(stage: str, expected: dict[str, str]) -> None:
    """And any ID without a row, as nobody knows of which file it is; but no ID that has a row."""
    columns = {"id": ["f/a", "f/b", "g/a"], "source": ["f.h5", "f.h5", "g.h5"], "split": ["train", "test", "test"]}
    rows = rows_of({"id": ["f/b", "g/a"], "split": ["test", "test"]})
    failures = [Failure(id="", source="f.h5", stage=stage, error="")]
    assert remembered(HALVES, rows, dataset(columns, absent={"x/a": "test"}), failures).get("absent", {}) == expected
