"""Text from outside, made safe to print and the same in every process."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.errors import InvalidManifestError, Problem
from manifests.text import terminal_text, without_addresses


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text-1.png", "plain text-1.png"),
        ("été 日本 🦊", "été 日本 🦊"),
        ("a\nb\t", r"a\nb\t"),
        ("\x1b[31mred\x07\x9b", r"\x1b[31mred\x07\x9b"),
        ("cat\u202egnp.exe\u2066", r"cat\u202egnp.exe\u2066"),
        ("one\u2028two\u2029three", r"one\u2028two\u2029three"),
        ("\u200b\ufeff\xad\U000e0041", r"\u200b\ufeff\xad\U000e0041"),
        ("\udcff.png", r"\udcff.png"),
    ],
)
def test_terminal_text(text: str, expected: str) -> None:
    assert terminal_text(text) == expected


@given(st.text(alphabet=st.characters() | st.characters(categories=["Cs", "Cc", "Cf", "Zl", "Zp"])))
def test_what_is_printed_is_one_line_that_shows_as_it_is(text: str) -> None:
    made = terminal_text(text)
    made.encode()
    assert not {"Cc", "Cf", "Cs", "Zl", "Zp"} & set(map(unicodedata.category, made))
    assert len(made.splitlines()) <= 1
    assert terminal_text(made) == made


def test_only_line_feeds_end_a_line() -> None:
    assert terminal_text("a\x0bb\x85c\u2028d\ne\n", keep="\n").splitlines() == [r"a\x0bb\x85c\u2028d", "e"]


def test_a_problem_of_a_manifest_is_one_line() -> None:
    error = InvalidManifestError("data/dataset.json", [Problem(kind="metadata", message="labels.a\nb\x1b[2J.kind: is odd")])
    assert str(error).splitlines() == ["data/dataset.json: 1 problem", r"  labels.a\nb\x1b[2J.kind: is odd"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("malformed node: <ast.Name object at 0x7f2a10>", "malformed node: <ast.Name object>"),
        ("<function f at 0x1F> and <bound method A.b of <A object at 0x2e>>", "<function f> and <bound method A.b of <A object>>"),
        ("damaged at 0x7f", "damaged at 0x7f"),
    ],
)
def test_without_addresses(text: str, expected: str) -> None:
    assert without_addresses(text) == expected
