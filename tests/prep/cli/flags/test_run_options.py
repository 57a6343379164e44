from __future__ import annotations

import click
import pytest

from prep.cli.flags.run_options import ToleranceParam


@pytest.mark.parametrize(
    ("text", "found", "most"),
    [
        ("0", 100, 0),
        ("3", 100, 3),
        ("3", 1, 3),
        ("0%", 100, 0),
        ("5%", 100, 5),
        ("5%", 99, 4),
        ("0.1%", 1000, 1),  # exact: a tenth of a percent as a float would be more or less than one
        ("0.1%", 999, 0),
        ("33.3%", 10, 3),
        ("100%", 7, 7),
        (" 2% ", 50, 1),
    ],
)
def test_so_many_may_fail(text: str, found: int, most: int) -> None:
    tolerance = ToleranceParam().convert(text, None, None)
    assert tolerance.allows(most, found)
    assert not tolerance.allows(most + 1, found)
    assert ToleranceParam().convert(tolerance, None, None) is tolerance
    assert str(tolerance) == text.strip()


@pytest.mark.parametrize("text", ["", "%", "-1", "-1%", "1.5", "101%", "x", "1/2", "1/2%", "nan", "inf%", "5 %%", "1e400%"])
def test_what_is_no_number_of_items_and_no_share_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"expected for example 10 or 0\.5%"):
        ToleranceParam().convert(text, None, None)
