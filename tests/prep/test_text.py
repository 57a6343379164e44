"""Text from raw data, made fit for a terminal and a CSV file."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prep.text import counted, is_text, printable, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text-1.png", "plain text-1.png"),
        ("", ""),
        ("été 日本 🦊", "été 日本 🦊"),
        ("a\nb", r"a\nb"),
        ("a\tb\r", r"a\tb\r"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("\x00\x7f\x85", r"\x00\x7f\x85"),
        ("\udcff.png", r"\udcff.png"),
        ("back\\slash", "back\\slash"),
        ('it\'s "quoted"', 'it\'s "quoted"'),
    ],
)
def test_printable(text: str, expected: str) -> None:
    assert printable(text) == expected


@given(st.text(alphabet=st.characters() | st.characters(categories=["Cs", "Cc"])))
def test_printable_text_is_one_line_of_utf_8_without_control_characters(text: str) -> None:
    made = printable(text)
    made.encode()
    assert not {"Cc", "Cs"} & set(map(unicodedata.category, made))
    assert printable(made) == made


@pytest.mark.parametrize(("text", "expected"), [("", True), ("été", True), ("🦊\n", True), ("\udcff", False), ("a\ud800b", False)])
def test_is_text(text: str, expected: bool) -> None:  # a table's column
    assert is_text(text) is expected


@pytest.mark.parametrize(
    ("names", "limit", "expected"),
    [
        ([], 5, ""),
        (["a"], 5, "'a'"),
        (["a", "b"], 2, "'a', 'b'"),
        (["a", "b", "c"], 2, "'a', 'b' and 1 more"),
        (["x"] * 2005, 5, "'x', 'x', 'x', 'x', 'x' and 2,000 more"),
        (["a\nb"], 5, r"'a\nb'"),
    ],
)
def test_shown(names: list[str], limit: int, expected: str) -> None:
    assert shown(names, limit) == expected


@pytest.mark.parametrize(
    ("count", "words", "expected"),
    [
        (0, ("file",), "0 files"),
        (1, ("file",), "1 file"),
        (1797, ("file",), "1,797 files"),
        (1, ("class", "classes"), "1 class"),
        (2, ("class", "classes"), "2 classes"),
    ],
)
def test_counted(count: int, words: tuple[str, ...], expected: str) -> None:
    assert counted(count, *words) == expected
