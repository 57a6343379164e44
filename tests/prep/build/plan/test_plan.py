"""The plan: what a build does with each raw item, decided before anything is written."""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests import Manifest, load_manifest
from manifests.rows.table import strings
from prep.build.plan.plan import ADD, KEEP, REBUILD, Plan, Prospect, make_plan
from prep.build.state.fingerprints import fingerprint, print_texts
from prep.sources.items import items_table
from prep.sources.listing import Failure

NEW, OLD = "new-recipe", "old-recipe"


def raw_identity(path: Path, *, checksum: bool) -> str:
    """Return what tells a raw file from its changed self: size and time of change, or its content.

    Raises:
        OSError: the file cannot be read.
    """
    if checksum:
        with open(path, "rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    status = os.stat(path)
    return f"stat:{status.st_size}:{status.st_mtime_ns}"


def items(*ids: str) -> pa.Table:
    return items_table(sorted(ids), [f"{id_}.png" for id_ in sorted(ids)])


def planned(
    identities: dict[str, str],
    old: Manifest | None,
    recipe: str = NEW,
    old_recipe: str | None = NEW,
    *,
    other: dict[str, str] | None = None,
    by_content: bool = False,
) -> Plan:
    """Plan for items of these identities; `other` are the identities of the other kind, where they are known."""
    ids = sorted(identities)
    wanted = np.array([fingerprint(identities[id_], recipe) for id_ in ids], dtype="S32")
    known = np.array([fingerprint(other[id_], recipe) if other and id_ in other else "" for id_ in ids], dtype="S32")
    return make_plan(items(*identities), Prospect(wanted=wanted, other=known, by_content=by_content), recipe, old, old_recipe)


def summary(plan: Plan, old: Manifest | None) -> dict[str, Any]:
    row_ids = [] if old is None else old.ids
    rebuild, ids = plan.some(REBUILD), strings(plan.items["id"])
    return {
        "add": strings(plan.some(ADD)["id"]),
        "rebuild": dict(zip(strings(rebuild["id"]), strings(rebuild["reason"]), strict=True)),
        "move": {ids[at]: row_ids[row] for at, row in plan.moved_from.items()},
        "keep": strings(plan.some(KEEP)["id"]),
        "gone": [row_ids[row] for row in plan.gone_rows.tolist()],
    }


def fingerprints(plan: Plan) -> dict[str, str]:
    return dict(zip(strings(plan.items["id"]), strings(print_texts(plan.items["fingerprint"])), strict=True))


def expected(**lists: Any) -> dict[str, Any]:
    return {"add": [], "rebuild": {}, "move": {}, "keep": [], "gone": [], **lists}


def write_dataset(root: Path, rows: dict[str, tuple[str, str]], *, missing: str = "") -> Manifest:
    """Write rows, ID -> (source, identity), with an empty shard each but for one."""
    table = [{"id": id_, "label": "x", "source": source, "fingerprint": fingerprint(by, NEW)} for id_, (source, by) in sorted(rows.items())]
    (root / "shards").mkdir(parents=True, exist_ok=True)
    for path in (root / "shards").iterdir():
        path.unlink()
    pd.DataFrame(table, columns=["id", "label", "source", "fingerprint"]).to_csv(root / "manifest.csv", index=False)
    for id_ in rows:
        if id_ != missing:
            (root / f"shards/{id_}.npy").touch()
    return load_manifest(root)


@pytest.fixture
def dataset(tmp_path: Path) -> Manifest:
    """a and b were built from identity 1 by the new recipe, c likewise but its shard is lost."""
    return write_dataset(tmp_path, {id_: (f"{id_}.png", "1") for id_ in "abc"}, missing="c")


@pytest.mark.parametrize(
    ("identities", "recipe", "old_recipe", "lists"),
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
def test_each_id_has_one_fate(dataset: Manifest, identities: dict[str, str], recipe: str, old_recipe: str, lists: dict[str, Any]) -> None:
    plan = planned(identities, dataset, recipe, old_recipe)
    assert summary(plan, dataset) == expected(**lists)
    assert fingerprints(plan) == {id_: fingerprint(identity, recipe) for id_, identity in identities.items()}


def test_without_a_dataset_everything_is_added() -> None:
    assert summary(planned({"a": "1", "b": "2"}, None, old_recipe=None), None) == expected(add=["a", "b"])


def test_a_row_told_by_the_other_kind_of_identity_is_kept(dataset: Manifest) -> None:
    plan = planned({"a": "content", "b": "content"}, dataset, other={"a": "1", "b": "2"})
    assert summary(plan, dataset) == expected(keep=["a"], rebuild={"b": "source changed"}, gone=["c"])
    assert fingerprints(plan)["a"] == fingerprint("content", NEW)


@pytest.mark.parametrize(
    ("by_content", "identities", "lists"),
    [
        (True, {"b": "1", "z": "1"}, {"keep": ["b"], "move": {"z": "a"}, "gone": ["a", "c"]}),
        (True, {"b": "1", "z": "2"}, {"keep": ["b"], "add": ["z"], "gone": ["a", "c"]}),
        (True, {"y": "1", "z": "1"}, {"move": {"y": "a", "z": "a"}, "gone": ["a", "b", "c"]}),
        (True, {"a": "1", "b": "1", "z": "1"}, {"keep": ["a", "b"], "add": ["z"], "gone": ["c"]}),  # the shard of c is lost
        (False, {"b": "1", "z": "1"}, {"keep": ["b"], "add": ["z"], "gone": ["a", "c"]}),  # equal size and time prove nothing
    ],
)
def test_only_equal_content_is_a_move(dataset: Manifest, by_content: bool, identities: dict[str, str], lists: dict[str, Any]) -> None:
    assert summary(planned(identities, dataset, by_content=by_content), dataset) == expected(**lists)


@pytest.mark.parametrize(
    ("rows", "identities", "lists"),
    [
        ({"a-0000": "1", "a-0001": "1"}, {"a": "1"}, {"keep": ["a"]}),
        ({"a-0000": "1"}, {"a": "1"}, {"keep": ["a"]}),
        ({"a-0000": "1", "a-0002": "1"}, {"a": "1"}, {"rebuild": {"a": "shard missing"}}),
        ({"a-0001": "1"}, {"a": "2"}, {"rebuild": {"a": "source changed"}}),
        ({"a-0000": "1", "a-0001": "2"}, {"a": "1"}, {"rebuild": {"a": "source changed"}}),
        ({"a-0000": "1", "a-0001": "1"}, {"b": "1"}, {"add": ["b"], "gone": ["a-0000", "a-0001"]}),
    ],
)
def test_a_record_is_kept_if_all_of_its_rows_are_there(
    tmp_path: Path, rows: dict[str, str], identities: dict[str, str], lists: dict[str, Any]
) -> None:
    old = write_dataset(tmp_path, {id_: ("a.png", by) for id_, by in rows.items()})
    plan = planned(identities, old, by_content=True)
    assert summary(plan, old) == expected(**lists)
    assert (plan.owners >= 0).all() == ("a" in identities)


def test_a_number_behind_a_name_need_not_be_that_of_a_sample(tmp_path: Path) -> None:
    old = write_dataset(tmp_path, {"a": ("a.png", "1"), "a-0000": ("a-0000.png", "1"), "b-0000": ("b-0000.png", "1")})
    assert summary(planned({"a": "1", "b": "1"}, old), old) == expected(keep=["a"], add=["b"], gone=["a-0000", "b-0000"])
    assert summary(planned({"a-0000": "1", "a": "1"}, old), old)["keep"] == ["a", "a-0000"]


IDS = st.sampled_from(["a", "b", "c", "d", "a-0000", "é"])
STATES = st.dictionaries(IDS, st.sampled_from("123"))


@settings(max_examples=60)
@given(STATES, STATES, st.booleans(), st.sampled_from([NEW, OLD]))
def test_no_record_and_no_row_goes_missing(
    tmp_path_factory: pytest.TempPathFactory, before: dict[str, str], now: dict[str, str], by_content: bool, old_recipe: str
) -> None:
    root = tmp_path_factory.getbasetemp() / "planned"
    old = write_dataset_of(root, before)
    plan = planned(now, old, old_recipe=old_recipe, by_content=by_content)
    what = summary(plan, old)
    fates = [*what["add"], *what["rebuild"], *what["move"], *what["keep"]]
    assert sorted(fates) == sorted(now)
    assert sorted(what["gone"]) == sorted({*before}.difference(now))
    assert strings(plan.to_build["id"]) == sorted({*now} - {*what["keep"]})
    for id_, row in what["move"].items():
        assert by_content
        assert now[id_] == before[row]
    for id_ in what["keep"]:
        assert now[id_] == before[id_]
    # Done as planned, there is nothing to do.
    done = write_dataset_of(root, now)
    assert summary(planned(now, done, by_content=by_content), done) == expected(keep=sorted(now))


def write_dataset_of(root: Path, identities: dict[str, str]) -> Manifest | None:
    if not identities:
        return None
    rows = list(identities.items())
    random.Random(0).shuffle(rows)  # noqa: S311  # rows written by hand are in any order
    return write_dataset(root, {id_: (f"{id_}.png", by) for id_, by in rows})


def test_an_id_that_failed_is_not_gone(tmp_path: Path) -> None:
    old = write_dataset(tmp_path, {id_: (f"{id_}.png", "1") for id_ in ("a", "b", "c-0000")})
    plan = planned({}, old)
    failures = [Failure(id=id_, source=f"{id_}.png", stage="read", error="damaged") for id_ in ("a", "c")]
    assert [old.ids[row] for row in plan.gone(old.table, failures)] == ["b"]
    assert [old.ids[row] for row in plan.gone(old.table, [])] == ["a", "b", "c-0000"]


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
