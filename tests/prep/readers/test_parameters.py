from __future__ import annotations

from fractions import Fraction

import pytest

from prep.readers.parameters import exact_number


@pytest.mark.parametrize(
    ("text", "value"), [("0.1", Fraction(1, 10)), ("1/3", Fraction(1, 3)), ("2e-3", Fraction(1, 500)), ("-4", Fraction(-4))]
)
def test_it_is_exact(text: str, value: Fraction) -> None:
    assert exact_number(text) == value


@pytest.mark.parametrize("text", ["", "x", "1e999999999", "1E-999999999", "1/1e999999999", "9" * 101, "nan", "1 2", "0x10"])
def test_what_is_none_is_refused_at_once(text: str) -> None:
    with pytest.raises(ValueError, match=r"Invalid literal|usual size"):
        exact_number(text)


def test_a_quotient_by_nothing() -> None:
    with pytest.raises(ZeroDivisionError):
        exact_number("1/0")
