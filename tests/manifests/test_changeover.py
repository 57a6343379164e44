"""The record of a changeover comes back as it was written, however many IDs it has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from manifests import changeover
from manifests.changeover import Changeover, read_record, write_record
from manifests.strings import Names, PackedStrings


@pytest.mark.parametrize("ids", [[], ["a"], ["a", "b/c", "é", 'd"e'], [f"{number:03d}" for number in range(10)]])
@pytest.mark.parametrize("pack", [list, PackedStrings])
def test_a_record_comes_back(
    ids: list[str], pack: type[list[str] | PackedStrings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changeover, "BLOCK", 3)
    path = tmp_path / "commit.json"
    names: Names = pack(ids)
    write_record(Changeover(manifest="12", added=names, removed=names, failures="kept"), path)
    assert read_record(path) == Changeover(manifest="12", added=ids, removed=ids, failures="kept")
    assert path.read_bytes().isascii()
    assert json.loads(path.read_text()) == {"version": 1, "manifest": "12", "failures": "kept", "added": ids, "removed": ids}
