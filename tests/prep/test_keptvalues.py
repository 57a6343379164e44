"""What IDs had before is found as a dictionary would find it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.columns import packed_column
from manifests.strings import PackedStrings
from prep import keptvalues
from prep.keptvalues import KeptValues

IDS, VALUES = st.sampled_from("abcdefgh"), st.sampled_from(["", "train", "val"])


@given(st.dictionaries(IDS, VALUES), st.dictionaries(IDS, VALUES), st.lists(IDS), st.integers(1, 4))
def test_values_are_those_of_rows_and_else_those_remembered(
    rows: dict[str, str], absent: dict[str, str], ids: list[str], block: int
) -> None:
    kept, expected = KeptValues(PackedStrings(rows), packed_column(rows.values()), absent), absent | rows
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keptvalues, "_BLOCK", block)
        for sought in (ids, PackedStrings(ids)):
            assert kept.of(sought) == [expected.get(id_, "") for id_ in ids]
        assert [kept.get(id_) for id_ in ids] == [expected.get(id_, "") for id_ in ids]
        pairs = list(kept.pairs())
    assert len(pairs) == len(expected)
    assert dict(pairs) == expected
    assert bool(kept) == bool(expected)


def test_nothing_was_there() -> None:
    assert not KeptValues.nothing()
    assert KeptValues.nothing().of(["a"]) == [""]


def test_a_name_that_is_no_text_may_be_remembered() -> None:
    kept = KeptValues(PackedStrings(["a"]), packed_column(["train"]), {"\ud800": "val"})
    assert kept.of(["a", "b"]) == ["train", ""]
    assert dict(kept.pairs()) == {"a": "train", "\ud800": "val"}
