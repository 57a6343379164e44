"""A row is of the record whose raw file and ID it has, be it one of several samples or not."""

from __future__ import annotations

import pytest

from manifests.rows.table import rows_of
from prep.build.plan.row_owners import of_failed_files, owners_of
from prep.sources.listing import Failure


def owners(rows: dict[str, str], records: dict[str, str]) -> dict[str, str]:
    """Return ID of a row -> ID of its record; both are given with their raw files."""
    table, items = (rows_of({"id": sorted(each), "source": [each[id_] for id_ in sorted(each)]}) for each in (rows, records))
    return {id_: sorted(records)[at] for id_, at in zip(sorted(rows), owners_of(table, items).tolist(), strict=True) if at >= 0}


def samples(id_: str, count: int = 3) -> dict[str, str]:
    return {f"{id_}-{number:04d}": f"{id_}.png" for number in range(count)}


@pytest.mark.parametrize(
    ("rows", "records", "expected"),
    [
        ({"a": "a.png", "b": "b.png"}, {"a": "a.png", "c": "c.png"}, {"a": "a"}),
        ({"a": "a.png"}, {"a": "a.jpg"}, {"a": "a"}),
        (samples("a"), {"a": "a.png"}, dict.fromkeys(samples("a"), "a")),
        (samples("a"), {"a": "a.jpg"}, {}),
        # What is called as a sample, and is none of it.
        ({"a": "a.png", "a-0000": "a-0000.png"}, {"a": "a.png"}, {"a": "a"}),
        ({"a": "a.png", "a-0000": "a.png"}, {"a": "a.png"}, {"a": "a"}),
        ({"a": "a.png", "a-0000": "a-0000.jpg"}, {"a": "a.png", "a-0000": "a-0000.png"}, {"a": "a", "a-0000": "a-0000"}),
        ({"a-0000": "a-0000.png"}, {"a": "a.png", "a-0000": "a-0000.png"}, {"a-0000": "a-0000"}),
        # Two of which the one is called as a sample of the other, before and after it has samples itself.
        (samples("a"), {"a": "a.png", "a-0001": "a-0001.png"}, dict.fromkeys(samples("a"), "a")),
        (
            {**samples("a"), **samples("a-0001")},
            {"a": "a.png", "a-0001": "a-0001.png"},
            {**dict.fromkeys(samples("a"), "a"), **dict.fromkeys(samples("a-0001"), "a-0001")},
        ),
        ({}, {"a": "a.png"}, {}),
        (samples("a"), {}, {}),
    ],
)
def test_whose_a_row_is(rows: dict[str, str], records: dict[str, str], expected: dict[str, str]) -> None:
    assert owners(rows, records) == expected


def test_two_items_of_one_file_are_told_apart() -> None:
    """Of which the one is called as a sample of the other."""
    items = rows_of({"id": ["f/a", "f/a-0001"], "source": ["f.h5"] * 2, "member": ["a", "a-0001"]})
    ids = [f"f/a-{number:04d}" for number in range(3)]
    rows = rows_of({"id": [*ids, "f/a-0001-0000"], "source": ["f.h5"] * 4, "member": ["a", "a", "a", "a-0001"]})
    assert owners_of(rows.take([0, 1, 2]), items).tolist() == [0, 0, 0]
    assert owners_of(rows.sort_by("id"), items).tolist() == [0, 0, 1, 0]


def test_rows_of_a_file_that_failed_as_a_whole() -> None:
    rows = rows_of({"id": ["f/a", "g/a", "h"], "source": ["f.h5", "g.h5", "h.h5"]})
    failures = [Failure(id=id_, source=source, stage="read", error="") for id_, source in (("", "f.h5"), ("h", "h.h5"), ("", "x.h5"))]
    assert of_failed_files(rows, failures).tolist() == [True, False, False]
    assert of_failed_files(rows.select(["id"]), failures).tolist() == [False] * 3
