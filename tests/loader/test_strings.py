from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.strings import PackedStrings

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(TEXT), st.data())
def test_packed_strings_come_back(strings: list[str], data: st.DataObject) -> None:
    packed = PackedStrings(strings)
    assert len(packed) == len(strings)
    assert list(packed) == strings
    wanted = data.draw(st.lists(st.integers(0, len(strings) - 1)) if strings else st.just([]))
    positions = np.array(wanted, dtype=np.int64)
    assert packed.take(positions) == [strings[i] for i in wanted]
    assert packed.take_bytes(positions) == [strings[i].encode() for i in wanted]


def test_there_is_nothing_behind_the_last() -> None:
    with pytest.raises(IndexError):
        PackedStrings(["a"])[1]
