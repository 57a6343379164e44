"""Names of a whole column are judged as each of them would be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.format import names as rules
from manifests.rows import arrow
from manifests.rows.buffers import string_array
from manifests.rows.names import collisions, name_problems, shard_clashes

PARTS = st.one_of(st.sampled_from(["a", "A", "a.npy", "A.NPY", "é", "e\u0301", "\u212a", "k", "x" * 300, "..", ""]), st.text(max_size=4))
NAMES = st.lists(st.lists(PARTS, min_size=1, max_size=3).map("/".join), max_size=9)


def column(names: list[str], size: int = 4) -> arrow.pa.ChunkedArray:
    blocks = [string_array(names[start : start + size]) for start in range(0, len(names), size)]
    return arrow.pa.chunked_array(blocks, type=arrow.pa.large_string())


@given(NAMES)
def test_names_are_judged_as_each_of_them(names: list[str]) -> None:
    assert name_problems(column(names)) == {at: problem for at, name in enumerate(names) if (problem := rules.name_problem(name))}
    assert list(collisions(column(names))) == list(rules.collisions(names))


@given(NAMES)
def test_shards_in_the_way_of_others_are_found(names: list[str]) -> None:
    assert list(shard_clashes(column(names))) == list(rules.file_and_folder_clashes([rules.default_path(name) for name in names]))


@pytest.mark.parametrize("block", [1, 1_000])
def test_what_is_wrong_far_down_is_found(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(arrow, "ROWS_AT_ONCE", block)
    names = [*map(str, range(5_000)), "..", "B", "b", "0", "9.npy/x"]
    assert name_problems(column(names, 3_000)) == {5_000: "has the component '..', which could leave the dataset folder"}
    assert list(collisions(column(names, 3_000))) == [(5_002, 5_001), (5_003, 0)]
    assert list(shard_clashes(column(names, 3_000))) == [(5_004, 9)]
