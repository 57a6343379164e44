"""The plan: what a build does with each ID, decided before anything is written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests import load_manifest
from prep.plan import Plan, fingerprint, make_plan, raw_identity
from prep.records import Failure, Record

NEW, OLD = "new-recipe", "old-recipe"


def records(*ids: str) -> list[Record]:
    return [Record(id=id_, source=f"{id_}.png") for id_ in ids]


def summary(plan: Plan) -> dict[str, Any]:
    return {
        "add": [record.id for record in plan.add],
        "rebuild": {record.id: reason for record, reason in plan.rebuild},
        "keep": [record.id for record in plan.keep],
        "gone": list(plan.gone),
    }


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """a and b were built from identity 1 by the new recipe, c likewise but its shard is lost."""
    rows = [{"id": id_, "label": "x", "fingerprint": fingerprint("1", NEW)} for id_ in "abc"]
    pd.DataFrame(rows).to_csv(tmp_path / "manifest.csv", index=False)
    (tmp_path / "shards").mkdir()
    for id_ in "ab":
        (tmp_path / f"shards/{id_}.npy").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("identities", "recipe", "old_recipe", "expected"),
    [
        ({"a": "1", "b": "1", "c": "1"}, NEW, NEW, {"keep": ["a", "b"], "rebuild": {"c": "shard missing"}}),
        ({"a": "2", "b": "1"}, NEW, NEW, {"keep": ["b"], "rebuild": {"a": "source changed"}, "gone": ["c"]}),
        ({"a": "1", "b": "1"}, OLD, NEW, {"rebuild": {"a": "recipe changed", "b": "recipe changed"}, "gone": ["c"]}),
        ({"a": "2", "c": "2"}, OLD, NEW, {"rebuild": {"a": "recipe changed", "c": "recipe changed"}, "gone": ["b"]}),
        ({"a": "1", "d": "1", "e": "1"}, NEW, NEW, {"add": ["d", "e"], "keep": ["a"], "gone": ["b", "c"]}),
        ({}, NEW, NEW, {"gone": ["a", "b", "c"]}),
        ({"A": "1"}, NEW, NEW, {"add": ["A"], "gone": ["a", "b", "c"]}),
    ],
)
def test_each_id_has_one_fate(dataset: Path, identities: dict[str, str], recipe: str, old_recipe: str, expected: dict[str, Any]) -> None:
    plan = make_plan(records(*identities), identities, recipe, load_manifest(dataset), old_recipe)
    assert summary(plan) == {"add": [], "rebuild": {}, "keep": [], "gone": [], **expected}
    assert plan.fingerprints == {id_: fingerprint(identity, recipe) for id_, identity in identities.items()}


def test_without_a_dataset_everything_is_added() -> None:
    plan = make_plan(records("a", "b"), {"a": "1", "b": "2"}, NEW, None, None)
    assert summary(plan) == {"add": ["a", "b"], "rebuild": {}, "keep": [], "gone": []}


@settings(deadline=None)
@given(st.sets(st.sampled_from("abcdef")), st.sets(st.sampled_from("abc")))
def test_no_record_and_no_row_goes_missing(tmp_path_factory: pytest.TempPathFactory, found: set[str], changed: set[str]) -> None:
    root = tmp_path_factory.getbasetemp() / "planned"
    (root / "shards").mkdir(parents=True, exist_ok=True)
    pd.DataFrame([{"id": id_, "label": "x", "fingerprint": fingerprint("1", NEW)} for id_ in "abc"]).to_csv(
        root / "manifest.csv", index=False
    )
    identities = {id_: "2" if id_ in changed else "1" for id_ in sorted(found)}
    plan = make_plan(records(*identities), identities, NEW, load_manifest(root), NEW)
    fates = [*plan.add, *(record for record, _ in plan.rebuild), *plan.keep]
    assert sorted(record.id for record in fates) == sorted(found)
    assert sorted([*found, *plan.gone]) == sorted({*found, *"abc"})
    assert [record.id for record in plan.to_build] == sorted({record.id for record in fates} - {record.id for record in plan.keep})


def test_an_id_that_failed_is_not_gone() -> None:
    plan = Plan(add=[], rebuild=[], keep=[], gone=["a", "b"], fingerprints={})
    failure = Failure(id="a", source="a.png", stage="read", error="damaged")
    assert plan.gone_without([failure]) == ["b"]
    assert plan.gone_without([]) == ["a", "b"]


# What a raw file is known by


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    path.write_bytes(b"content")
    os.utime(path, ns=(0, 10**18))
    return path


def touched(path: Path) -> None:
    os.utime(path, ns=(0, 10**18 + 1))


def rewritten_at_the_same_time(path: Path) -> None:
    path.write_bytes(b"CONTENT")
    os.utime(path, ns=(0, 10**18))


def grown_at_the_same_time(path: Path) -> None:
    path.write_bytes(b"content and more")
    os.utime(path, ns=(0, 10**18))


def moved_and_back(path: Path) -> None:
    path.rename(path.with_suffix(".bak")).rename(path)


@pytest.mark.parametrize(
    ("change", "by_stat", "by_content"),
    [
        (touched, True, False),
        (rewritten_at_the_same_time, False, True),
        (grown_at_the_same_time, True, True),
        (moved_and_back, False, False),
    ],
)
def test_what_counts_as_a_changed_file(path: Path, change: Any, by_stat: bool, by_content: bool) -> None:  # a table's columns
    before = [raw_identity(path, checksum=checksum) for checksum in (False, True)]
    change(path)
    after = [raw_identity(path, checksum=checksum) for checksum in (False, True)]
    assert [one != other for one, other in zip(before, after, strict=True)] == [by_stat, by_content]


@pytest.mark.parametrize("checksum", [False, True])
def test_a_file_that_is_not_there_has_no_identity(tmp_path: Path, checksum: bool) -> None:  # a table's column
    with pytest.raises(FileNotFoundError):
        raw_identity(tmp_path / "none", checksum=checksum)


def test_a_fingerprint_is_of_identity_and_recipe() -> None:
    assert fingerprint("stat:1:2", "abc") == "5bbabb021b1533009e7d0b18ece2e2fb"
    assert len({fingerprint("1", NEW), fingerprint("2", NEW), fingerprint("1", OLD), fingerprint(NEW, "1")}) == 4
