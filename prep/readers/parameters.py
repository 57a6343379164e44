"""Typed parameters of readers and transforms, each of which reads a value or says what it expected; and the options of a reader."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from fractions import Fraction
from typing import Any, Self

from manifests.format.metadata import is_dtype_name
from prep.errors import UsageError
from prep.readers.limits import MAX_PIXELS

MAX_AXES = 32
"""The axes that an array of NumPy 1 may have."""


_MOST_CHARACTERS = 100
_MOST_EXPONENT = 400
"""Beyond what any float has; the digits of `1e999999999` would fill the memory."""

_EXPONENT = re.compile(r"[eE]([+-]?[0-9_]+)")


@dataclass(frozen=True)
class Kind:
    """What a value may be.

    Attributes:
        expected: in words, for messages and documentation.
        read: from a raw value to the one that is used; raises a ValueError when it cannot be.
        words: the few that it may be; empty if it is none of a few words.
        is_text: whether what is written on the command line is the value itself; else it is read as TOML.
    """

    expected: str
    read: Callable[[Any], Any]
    words: tuple[str, ...] = ()
    is_text: bool = False


def param(kind: Kind, doc: str, default: Any = MISSING) -> Any:
    """Declare a parameter of a reader or a transform: a dataclass field that knows its kind and what it means."""
    return field(default=default, metadata={"kind": kind, "doc": doc})


def choice(*names: str) -> Kind:
    """Return the kind of one of a few words."""
    expected = " or ".join(map(repr, names))
    return Kind(expected, lambda value: _checked(value, isinstance(value, str) and value in names), words=names, is_text=True)


def _checked(value: Any, is_right: bool) -> Any:  # noqa: FBT001  # what every kind ends with
    if not is_right:
        raise ValueError
    return value


def is_int(value: object, least: int) -> bool:
    """Return whether a value is an integer, no truth value, and not below another."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_number(value: object) -> bool:
    """Return whether a value is a finite number, no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _lengths(value: Any, axes: int | None, least: int) -> tuple[int, ...]:
    is_list = isinstance(value, list | tuple) and 0 < len(value) <= MAX_AXES and axes in {None, len(value)}
    _checked(value, is_list and all(is_int(length, least) for length in value) and math.prod(value) <= MAX_PIXELS)
    return tuple(value)


def exact_number(text: str) -> Fraction:
    """Read `0.1` as a tenth, and `1/3` as a third.

    Raises:
        ValueError: it is no such number, or none of a size that anybody means.
        ZeroDivisionError: a quotient by 0.
    """
    if len(text) > _MOST_CHARACTERS or any(abs(int(exponent)) > _MOST_EXPONENT for exponent in _EXPONENT.findall(text)):
        raise ValueError(f"not a number of a usual size: {text[:_MOST_CHARACTERS]!r}")
    return Fraction(text)


def _factor(value: Any) -> float | str:
    """Read `unit`, a number, or a quotient as text, such as `1/255`."""
    if value == "unit":
        return "unit"
    if isinstance(value, str):
        try:
            value = float(exact_number(value))
        except (ZeroDivisionError, OverflowError) as error:
            raise ValueError from error
    return float(_checked(value, is_number(value) and value != 0))


def _number(value: Any) -> float:
    """Read a number; 0.0 and 0 are one, so that recipes that mean the same are the same."""
    _checked(value, is_number(value))
    return int(value) if value == int(value) else float(value)


def _axes(value: Any) -> tuple[int, ...]:
    is_list = isinstance(value, list | tuple) and 0 < len(value) <= MAX_AXES and all(is_int(axis, 0) for axis in value)
    _checked(value, is_list and sorted(value) == list(range(len(value))))
    return tuple(value)


def _offsets(value: Any) -> str | tuple[int, ...]:
    if isinstance(value, str):
        return str(_checked(value, value in {"center", "start", "end"}))
    is_list = isinstance(value, list | tuple) and 0 < len(value) <= MAX_AXES
    _checked(value, is_list and all(is_int(offset, 0) for offset in value))
    return tuple(value)


IMAGE_SIZE = Kind(
    f"[height, width], two positive integers of at most {MAX_PIXELS:,} pixels together", lambda value: _lengths(value, 2, least=1)
)
LENGTHS = Kind(
    f"a list of positive integers, one for each of the first axes, such as [32, 32], of at most {MAX_PIXELS:,} together",
    lambda value: _lengths(value, None, least=1),
)
OFFSETS = Kind("'center', 'start', 'end' or a list of offsets from the start, such as [0, 10]", _offsets)
NUMBER = Kind("a finite number", _number)
FACTOR = Kind("a finite number other than 0, a quotient such as '1/255', or 'unit'", _factor)
DTYPE = Kind("the NumPy name of a numeric dtype, such as 'uint8' or 'float32'", lambda value: _checked(value, is_dtype_name(value)))
FLOAT_DTYPE = Kind(
    "the NumPy name of a float dtype, such as 'float32'",
    lambda value: _checked(value, is_dtype_name(value) and value.startswith(("float", "complex"))),
)
AXES = Kind("each axis from 0 once, in the order wanted, such as [2, 0, 1]", _axes)
TEXT = Kind("text", lambda value: _checked(value, isinstance(value, str) and bool(value) and "\0" not in value), is_text=True)


@dataclass(frozen=True, kw_only=True)
class ReaderOptions:
    """Options of one reader, checked when they are made.

    A subclass declares each as `name: T | None = param(kind, help, None)`; None stands for an option that was left out.

    Example:
        >>> @dataclass(frozen=True, kw_only=True)
        ... class LineOptions(ReaderOptions):
        ...     separator: str | None = param(TEXT, "character between two numbers", None)

    Raises:
        UsageError: a value is not of its kind.
    """

    def __post_init__(self) -> None:
        for name, (kind, _) in self.kinds().items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, checked(name, kind, value))

    @classmethod
    def kinds(cls) -> Mapping[str, tuple[Kind, str]]:
        """Return the options: name -> what a value may be, and what it means."""
        return {field.name: (field.metadata["kind"], field.metadata["doc"]) for field in fields(cls)}

    def canonical(self) -> dict[str, Any]:
        """Return all that decides what is read, as plain values, for the recipe and its digest."""
        return {name: getattr(self, name) for name in self.kinds()}

    @classmethod
    def from_canonical(cls, recipe: Mapping[str, Any]) -> Self:
        """Return the options that a stored recipe was settled with.

        Raises:
            UsageError: a value is not of its kind.
        """
        return cls(**{name: recipe.get(name) for name in cls.kinds()})


def checked(name: str, kind: Kind, value: Any) -> Any:
    """Return a value as its kind reads it.

    Raises:
        UsageError: it is not of that kind.
    """
    try:
        return kind.read(value)
    except (ValueError, TypeError, ZeroDivisionError, OverflowError) as error:
        raise UsageError(f"{name} must be {kind.expected}, got {value!r}") from error
