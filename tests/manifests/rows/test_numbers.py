"""Labels that are numbers: what they are told apart by, and their values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.rows.numbers import are_measurements, numbers_of, summary_of
from manifests.rows.table import rows_of


@pytest.mark.parametrize(
    ("labels", "measured"),
    [
        (["0.37", "1"], True),
        (["1e-5"], True),
        (["-0.5", "", "3"], True),
        (["1.0", "2.0"], True),
        (["nan", "0.5"], True),
        (["1", "2"], False),
        (["-1", "+1"], False),
        (["0.5", "cat"], False),
        (["cat"], False),
        (["1_0", "0_1"], False),
        (["0.5;0.7"], False),
        (["", ""], False),
        ([], False),
    ],
)
def test_measurements_are_numbers_that_are_not_all_integers(labels: list[str], measured: bool) -> None:
    assert are_measurements(labels) is measured


def test_numbers_are_what_python_reads_but_for_underscores() -> None:
    texts = ["1", " 2.5 ", "1e-3", "", "x", "1,5", "nan", "inf", "٣", "1_2"]
    expected = [1, 2.5, 0.001, np.nan, np.nan, np.nan, np.nan, np.inf, 3, np.nan]
    for name in ("label", "id"):
        assert np.array_equal(numbers_of(rows_of({name: texts})[name]), expected, equal_nan=True)
        assert np.array_equal(numbers_of(rows_of({name: ["1e3", "-.5", "inf"]})[name]), [1e3, -0.5, np.inf])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_the_summary_is_numpys_of_what_is_finite(values: list[float]) -> None:
    summary = summary_of(np.array([*values, np.nan, np.inf]))
    assert summary == pytest.approx(
        {"count": len(values), "mean": np.mean(values), "std": np.std(values), "min": min(values), "max": max(values)}
    )


def test_the_summary_of_no_number_has_none() -> None:
    count, *others = summary_of(np.array([np.nan])).values()
    assert count == 0
    assert np.isnan(others).all()
