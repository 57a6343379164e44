"""The record of a changeover comes back as it was written, however many IDs it has."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from manifests.rows.table import string_column
from manifests.storage.commit_record import Changeover, Replaced, read_record, write_record


@pytest.mark.parametrize("ids", [[], ["a"], ["a", "b/c", "é", 'd"e'], [f"{number:03d}" for number in range(10)]])
def test_a_record_comes_back(ids: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manifests.rows.arrow.ROWS_AT_ONCE", 3)
    path = tmp_path / "commit.json"
    names = string_column(ids)
    change = Changeover(manifest="12", added=names, removed=names, failures="kept")
    write_record(change, path)
    assert read_record(path) == change
    assert path.read_bytes().isascii()
    assert json.loads(path.read_text()) == {"version": 1, "manifest": "12", "failures": "kept", "added": ids, "removed": ids}


@pytest.mark.parametrize("kind", [list, iter, pa.array, lambda ids: pa.array(ids).dictionary_encode(), lambda ids: pa.chunked_array([ids])])
def test_ids_may_be_strings_or_an_arrow_column(kind: Callable[[list[str]], Any]) -> None:
    ids = ["a", "b/c", "é"]
    assert string_column(kind(ids)) == pa.chunked_array([ids], type=pa.large_string())


def test_a_record_of_further_arrays_comes_back(tmp_path: Path) -> None:
    path, some, none = tmp_path / "commit.json", string_column(["a", "b/c"]), string_column([])
    arrays = {"mask": Replaced(added=some, removed=none), "depth": Replaced(added=none, removed=some)}
    change = Changeover(manifest="12", added=some, removed=none, failures="new", arrays=arrays)
    write_record(change, path)
    assert read_record(path) == change
    assert list(change.by_folder()) == ["shards", "arrays/depth", "arrays/mask"]
    assert json.loads(path.read_text())["arrays"] == {
        "depth": {"added": [], "removed": ["a", "b/c"]},
        "mask": {"added": ["a", "b/c"], "removed": []},
    }
