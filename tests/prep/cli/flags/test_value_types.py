"""Values on the command line: sizes, scales and splits, or a sentence about what was expected."""

from __future__ import annotations

from typing import Any

import click
import pytest

from prep.cli.flags.value_types import ScaleParam, SizeParam, SplitsParam


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (SizeParam(), "32x48", (32, 48)),
        (SizeParam(), "32X48", (32, 48)),
        (SizeParam(), "1x1", (1, 1)),
        (SizeParam(), (32, 48), (32, 48)),
        (ScaleParam(), "unit", "unit"),
        (ScaleParam(), "0.5", 0.5),
        (ScaleParam(), "1/255", 1 / 255),
        (ScaleParam(), "2", 2.0),
        (ScaleParam(), "-1e-3", -0.001),
        (ScaleParam(), 0.25, 0.25),
        (SplitsParam(), "train=0.8,val=0.2", "train=0.8,val=0.2"),
        (SplitsParam(), "a=1/3,b=2/3", "a=1/3,b=2/3"),
    ],
)
def test_a_value_is_read(kind: click.ParamType, value: Any, expected: Any) -> None:
    found = kind.convert(value, None, None)
    assert found == expected
    assert type(found) is type(expected)
    assert kind.convert(found, None, None) == found  # click converts defaults again


@pytest.mark.parametrize(
    ("kind", "value", "why"),
    [
        *((SizeParam(), value, "is not a size; expected HEIGHTxWIDTH in pixels, such as 32x32")
          for value in ("", "32", "x", "32x", "x32", "0x32", "32x0", "-1x2", "32x32x3", "3.5x3", "32 x 32", "32,32", "1_0x10", "²x²")),
        *((ScaleParam(), value, "is not a scale; expected a factor such as 1/255 or 0.5, or unit")
          for value in ("", "units", "1/0", "nan", "inf", "1e400", "0x10", "1/2/3", "half")),
        (SplitsParam(), "train=0.8", "splits add up to 0.8; expected 1"),
        (SplitsParam(), "train", "splits must look like"),
        (SplitsParam(), "train=x", "must be a number"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_wrong_usage(kind: click.ParamType, value: str, why: str) -> None:
    with pytest.raises(click.BadParameter, match=why) as caught:
        kind.convert(value, None, None)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("kind", "name"), [(SizeParam(), "HxW"), (ScaleParam(), "FACTOR|unit"), (SplitsParam(), "NAME=SHARE,...")])
def test_help_shows_the_form(kind: click.ParamType, name: str) -> None:
    assert kind.name == name
