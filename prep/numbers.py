"""Parsing numbers as people write them, without rounding."""

from __future__ import annotations

import re
from fractions import Fraction

_MOST_CHARACTERS = 100
_MOST_EXPONENT = 400
"""Beyond what any float has; the digits of `1e999999999` would fill the memory."""

_EXPONENT = re.compile(r"[eE]([+-]?[0-9_]+)")


def exact_number(text: str) -> Fraction:
    """Read `0.1` as a tenth, and `1/3` as a third.

    Raises:
        ValueError: it is no such number, or none of a size that anybody means.
        ZeroDivisionError: a quotient by 0.
    """
    if len(text) > _MOST_CHARACTERS or any(abs(int(exponent)) > _MOST_EXPONENT for exponent in _EXPONENT.findall(text)):
        raise ValueError(f"not a number of a usual size: {text[:_MOST_CHARACTERS]!r}")
    return Fraction(text)
