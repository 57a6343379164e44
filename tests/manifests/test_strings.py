"""Many strings in few arrays: whatever is packed comes back."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from manifests import strings as strings_module
from manifests.strings import PackedStrings

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
# Lists whose strings are of about one length are held in another way.
STRINGS = st.lists(TEXT) | st.integers(1, 5).flatmap(lambda width: st.lists(st.text("aé\0", min_size=width, max_size=width + 1)))


def check_strings(packed: PackedStrings, strings: list[str], data: st.DataObject) -> None:
    assert len(packed) == len(strings)
    assert list(packed) == strings
    wanted = data.draw(st.lists(st.integers(0, len(strings) - 1)) if strings else st.just([]))
    positions = np.array(wanted, dtype=np.int64)
    assert packed.take(positions) == [strings[i] for i in wanted]
    assert packed.take_bytes(positions) == [strings[i].encode() for i in wanted]
    assert list(packed.select(positions)) == [strings[i] for i in wanted]


@given(STRINGS, st.data())
def test_packed_strings_come_back(strings: list[str], data: st.DataObject) -> None:
    check_strings(PackedStrings(strings), strings, data)


@given(STRINGS, st.data())
def test_packed_strings_come_back_from_their_arrays(strings: list[str], data: st.DataObject) -> None:
    packed = PackedStrings.of_arrays(PackedStrings(strings).arrays())
    check_strings(packed, strings, data)


@given(STRINGS, TEXT, TEXT)
@example(["ab", "cd"], "shards/", ".npy")
@example(["ab", "cd"], "", ".npy")
@example(["ab", "cd"], "shards/", "\0")
@example(["ab", "cd", "ef", "g"], "shards/", ".npy")
@example(["ab", "a\0"], "shards/", ".npy")
def test_a_text_before_and_behind(strings: list[str], prefix: str, suffix: str) -> None:
    packed = PackedStrings(strings).affixed(prefix, suffix)
    expected = [f"{prefix}{string}{suffix}" for string in strings]
    assert list(packed) == list(packed.written_out()) == expected
    assert list(packed.affixed("<", ">").written_out()) == [f"<{string}>" for string in expected]
    assert list(packed.select(np.arange(len(strings))[::-1])) == expected[::-1]


@pytest.mark.parametrize("strings", [["ab", "cd"], ["a", "", "abcdefgh"], ["ab", "cd", "ef", "g"]])
def test_all_that_grows_with_the_strings_is_in_arrays_that_can_be_shared(strings: list[str]) -> None:
    packed = PackedStrings(strings * 1000)
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(packed, protocol=5, buffer_callback=buffers.append)
    assert len(pickled) < 1000
    shared = [bytes(buffer.raw()) for buffer in buffers]  # which cannot be written to
    assert list(pickle.loads(pickled, buffers=shared)) == strings * 1000  # noqa: S301  # our own


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"items": np.zeros(3, np.uint8)},
        {"starts": np.zeros(1, np.int64), "lengths": np.ones(1, np.uint8), "data": np.zeros(0, np.uint8)},
        {"starts": np.full(1, -1), "lengths": np.ones(1, np.uint8), "data": np.zeros(1, np.uint8)},
        {"starts": np.zeros(2, np.int64), "lengths": np.ones(1, np.uint8), "data": np.zeros(1, np.uint8)},
        {"starts": np.zeros(1, np.int32), "lengths": np.ones(1, np.uint8), "data": np.zeros(1, np.uint8)},
        {"starts": np.zeros(1, np.int64), "lengths": np.ones(1, np.int8), "data": np.zeros(1, np.uint8)},
        {"starts": np.zeros(1, np.int64), "lengths": np.ones(1, np.uint8), "data": np.zeros(1, np.uint16)},
        {"starts": np.zeros(1, np.int64), "lengths": np.full(1, 2**64 - 1, np.uint64), "data": np.zeros(1, np.uint8)},
        {"starts": np.full(1, 2**63 - 1), "lengths": np.ones(1, np.uint8), "data": np.zeros(1, np.uint8)},
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="strings"):
        PackedStrings.of_arrays(arrays)


def test_there_is_nothing_behind_the_last() -> None:
    with pytest.raises(IndexError):
        PackedStrings(["a"])[1]


@given(st.lists(st.tuples(STRINGS, st.sampled_from(["", "x/"])), min_size=1, max_size=4))
def test_strings_are_joined(parts: list[tuple[list[str], str]]) -> None:
    joined = PackedStrings.joined([PackedStrings(strings).affixed(prefix, "") for strings, prefix in parts])
    assert list(joined) == [prefix + string for strings, prefix in parts for string in strings]


@given(STRINGS)
def test_the_order_is_that_of_python(strings: list[str]) -> None:
    packed = PackedStrings(strings)
    assert list(packed.select(packed.order())) == sorted(strings)


@given(STRINGS, st.integers(1, 3))
def test_strings_are_sorted_where_they_are(strings: list[str], block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strings_module, "_CHUNK", block)
        assert PackedStrings(strings).are_sorted() == (strings == sorted(strings))
        assert PackedStrings(sorted(strings)).are_sorted()
