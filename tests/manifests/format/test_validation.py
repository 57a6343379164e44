"""Every problem of a manifest's rows, each with its row, in the order of the rows."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.format.metadata import LabelSpec, Metadata
from manifests.format.validation import encoding_problems, validate, value_checks
from manifests.rows.checks import is_sound, labels_are_known
from manifests.rows.table import rows_of

SHA = "0123456789abcdef" * 4

Found = tuple[str, int | None, str | None]


def check(columns: dict[str, list[str]], metadata: Metadata | None = None) -> list[Found]:
    """Return (kind, row, column) of each problem; the rows stand in lines 2, 4, 6, ..."""
    lines = 2 + 2 * np.arange(len(next(iter(columns.values()), [])), dtype=np.int64)
    found = [(problem.kind, problem.row, problem.column) for problem in validate(columns, lines, metadata or Metadata())]
    if "id" in columns and not has_surrogates(columns):
        assert not found or not is_sound(rows_of(columns), metadata or Metadata(), value_checks(columns))
    return found


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"mask.path": ["../a.npy", ""]}, [("unsafe-path", 2, "mask.path")]),
        ({"mask.path": ["m.npy", "m.npy"]}, [("shared-path", 4, "mask.path")]),
        ({"mask.path": ["m.npy", "M.npy"]}, [("shared-path", 4, "mask.path")]),
        ({"mask.path": ["m.npy", "m.npy"], "mask.row": ["0", "0"]}, [("shared-path", 4, "mask.path")]),
        ({"mask.path": ["shards/b.npy", ""]}, [("shared-path", 2, "mask.path")]),
        ({"mask.path": ["shards/a.npy", ""]}, [("shared-path", 2, "mask.path")]),
        ({"mask.path": ["m.npy", ""], "depth.path": ["", "m.npy"]}, [("shared-path", 2, "mask.path")]),
        ({"mask.path": ["m.npy/x.npy", "m.npy"]}, [("path-under-file", 2, "mask.path")]),
        ({"mask.path": ["m.npy", ""], "mask.shape": ["3x", ""]}, [("bad-shape", 2, "mask.shape")]),
        ({"mask.path": ["m.npy", ""], "mask.dtype": ["", "object"]}, [("bad-dtype", 4, "mask.dtype")]),
        ({"mask.path": ["m.npy", ""], "mask.sha256": ["0", ""]}, [("bad-sha256", 2, "mask.sha256")]),
        ({"mask.path": ["m.npy", ""], "mask.row": ["-1", ""]}, [("bad-row", 2, "mask.row")]),
    ],
)
def test_the_columns_of_further_arrays_are_checked(columns: dict[str, list[str]], found: list[Found]) -> None:
    assert check({"id": ["a", "b"], **columns}) == found


def has_surrogates(columns: dict[str, list[str]]) -> bool:
    return any("\ud800" <= character <= "\udfff" for values in columns.values() for character in "".join(values))


@pytest.mark.parametrize(
    "columns",
    [
        {"id": []},
        {"id": ["a"]},
        {"id": ["007", "NA", "1e5", "null"], "label": ["", "a", "a;b", "3"]},
        {"id": ["a", "b"], "path": ["", "x/b.npy"], "shape": ["", "scalar"], "dtype": ["", "float32"], "sha256": ["", SHA]},
        {"id": ["a", "b"], "path": ["pack.npy", "pack.npy"], "row": ["0", "1"]},
        {"id": ["a", "b"], "row": ["", "999999999999999999"]},
        {"id": ["a"], "anything else": ["../\n\x00"]},
        {"id": ["a" * 251]},
        {"id": ["a" * 255], "path": ["a.npy"]},
        {"id": ["a", "b"], "mask.path": ["arrays/mask/a.npy", ""], "mask.shape": ["3", ""], "mask.dtype": ["bool", ""]},
        {"id": ["a", "b"], "mask.path": ["m/a.npy", "m/b.npy"], "mask.sha256": [SHA, SHA], "depth.path": ["d/a.npy", ""]},
        {"id": ["a", "b"], "path": ["a.npy", "b.npy"], "mask.path": ["m.npy", "m.npy"], "mask.row": ["0", "1"]},
        {"id": ["a"], "grid.row": ["A"], "Mask.path": ["../x"], "mask.shape": ["no"]},
    ],
)
def test_a_sound_manifest_has_no_problems(columns: dict[str, list[str]]) -> None:
    assert check(columns) == []
    assert "id" not in columns or is_sound(rows_of(columns), Metadata(), value_checks(columns)) or is_left_to_a_second_look(columns)


def is_left_to_a_second_look(columns: dict[str, list[str]]) -> bool:
    """Return whether rows are of a kind that is hardly ever met, or small: which then need not be seen to be sound at once."""
    paths = columns.get("path", [])
    return (
        max(map(len, columns["id"]), default=0) > 251
        or any(value for name in ("row", "mask.row") for value in columns.get(name, []))
        or (any(paths) and not all(path.endswith(".npy") for path in paths))
    )


NAMES = st.text("aAéÉ/.\\ -\n\x7f", max_size=4) | st.sampled_from(["a.npy/b", "A.NPY/b", "a.npy", "x" * 260, "c:d", "é" * 126])
PATHS = NAMES | st.sampled_from(["", "p/1.npy", "P/1.npy", "q/2.npy", "p/1.npy/x.npy", "shards/a.npy", "../x.npy", "/x.npy"])


@given(st.lists(st.tuples(NAMES, PATHS, st.sampled_from(["", "cat", "cow", "cat;dog"]), st.sampled_from(["", SHA, SHA + "0"])), max_size=4))
def test_what_is_seen_to_be_sound_has_no_problem(rows: list[tuple[str, ...]]) -> None:
    columns = {name: [row[number] for row in rows] for number, name in enumerate(("id", "path", "label", "sha256"))}
    check(columns, CLASSES)
    check({name: columns[name] for name in ("id", "label")}, CLASSES)


@pytest.mark.parametrize(
    ("columns", "problems"),
    [
        ({"ID": ["a"], "label": ["b"]}, [("no-id-column", None, "id")]),
        ({"id": ["a", "..", ""]}, [("unsafe-id", 4, "id"), ("unsafe-id", 6, "id")]),
        ({"id": ["a", "b", "a", "a"]}, [("duplicate-id", 6, "id"), ("duplicate-id", 8, "id")]),
        ({"id": ["a", "A"]}, [("colliding-id", 4, "id")]),
        ({"id": ["é", "e\u0301"]}, [("colliding-id", 4, "id")]),
        ({"id": ["a" * 252]}, [("unsafe-path", 2, "id")]),  # with .npy one byte too long
        ({"id": ["a", "b"], "path": ["", "../b.npy"]}, [("unsafe-path", 4, "path")]),
        ({"id": ["a", "b"], "path": ["/etc/passwd", "C:\\b"]}, [("unsafe-path", 2, "path"), ("unsafe-path", 4, "path")]),
        ({"id": [".."], "path": ["../x"]}, [("unsafe-id", 2, "id"), ("unsafe-path", 2, "path")]),
        ({"id": ["a", "b"], "path": ["x.npy", "x.npy"]}, [("shared-path", 4, "path")]),
        ({"id": ["a", "b"], "path": ["x.npy", "X.NPY"]}, [("shared-path", 4, "path")]),
        ({"id": ["a", "b"], "path": ["", "shards/a.npy"]}, [("shared-path", 4, "path")]),
        ({"id": ["a", "b"], "path": ["x.npy", "x.npy"], "row": ["1", "1"]}, [("shared-path", 4, "path")]),
        ({"id": ["a.npy/b", "a"]}, [("path-under-file", 2, "path")]),
        ({"id": ["a", "b"], "path": ["x", "x/b.npy"]}, [("path-under-file", 4, "path")]),
        ({"id": ["a"] * 2, "path": ["x.npy"] * 2}, [("duplicate-id", 4, "id")]),  # not a shared path as well
        ({"id": list("abcde"), "row": ["-1", "1.0", "01", "x", "1" * 19]}, [("bad-row", row, "row") for row in (2, 4, 6, 8, 10)]),
        ({"id": list("abcd"), "shape": ["3x", "(3, 3)", "3x3", "3x"]}, [("bad-shape", row, "shape") for row in (2, 4, 8)]),
        ({"id": list("abc"), "dtype": ["f4", "object", "i4,("]}, [("bad-dtype", row, "dtype") for row in (2, 4, 6)]),
        ({"id": list("abc"), "sha256": [SHA.upper(), SHA[1:], SHA + "0"]}, [("bad-sha256", row, "sha256") for row in (2, 4, 6)]),
    ],
)
def test_each_kind_of_problem(columns: dict[str, list[str]], problems: list[Found]) -> None:
    assert check(columns) == problems


CLASSES = Metadata(labels={"label": LabelSpec(classes=("cat", "dog")), "size": LabelSpec(classes=("big",)), "gone": LabelSpec(classes=())})


def test_labels_must_be_among_the_classes_of_dataset_json() -> None:
    columns = {"id": list("abcdef"), "label": ["cat", "", "dog;cat", "cow", "cat;cow", "cat;"], "size": ["big"] * 5 + ["small"]}
    assert check(columns, CLASSES) == [("bad-label", 8, "label"), ("bad-label", 10, "label"), ("bad-size", 12, "size")]


def test_labels_that_are_numbers_are_left_to_who_feeds_them() -> None:
    metadata = Metadata(labels={"label": LabelSpec(kind="number")})
    columns = {"id": ["a", "b"], "label": ["0.5", "2"]}
    assert check(columns, metadata) == []
    assert labels_are_known(rows_of(columns), list(columns), metadata)


def test_several_problems_at_once_are_in_the_order_of_the_rows() -> None:
    found = check(
        {"id": ["b", "a", "b", "/"], "shape": ["x", "", "", "x"], "dtype": ["", "f4", "", ""], "label": ["cow", "", "", ""]}, CLASSES
    )
    assert found == [
        ("bad-shape", 2, "shape"),
        ("bad-label", 2, "label"),
        ("bad-dtype", 4, "dtype"),
        ("duplicate-id", 6, "id"),
        ("unsafe-id", 8, "id"),
        ("bad-shape", 8, "shape"),
    ]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"name": ["a"], "y": ["b"]}, "column 'id': is missing; the columns are 'name', 'y'"),
        ({"id": ["a\x00"]}, r"row 2, column 'id': ID 'a\x00' has a control character"),
        ({"id": ["a", "a"]}, "row 4, column 'id': ID 'a' already appears in row 2"),
        ({"id": ["a", "A"]}, "row 4, column 'id': ID 'A' and 'a' in row 2 are one name on a case-insensitive disk"),
        ({"id": ["a", "b"], "path": ["x", "x"]}, "row 4, column 'path': path 'x' of ID 'b' is also that of 'a' in row 2"),
        ({"id": ["a", "a.npy/b"]}, "path 'shards/a.npy/b.npy' needs a folder where 'shards/a.npy' of row 2 is a file"),
        ({"id": ["a"], "shape": ["3 3"]}, "row 2, column 'shape': expected a shape like 32x32x3, found '3 3'"),
        ({"id": ["a"], "dtype": ["f4"]}, "row 2, column 'dtype': expected the NumPy name of a numeric dtype, found 'f4'"),
        ({"id": ["a"], "row": ["-1"]}, "row 2, column 'row': expected a row number from 0, found '-1'"),
        ({"id": ["a"], "sha256": ["0"]}, "row 2, column 'sha256': expected 64 hex digits, found '0'"),
        ({"id": ["a"], "label": ["cow"]}, "label 'cow' is not among the 2 classes of dataset.json: 'cat', 'dog'"),
    ],
)
def test_a_message_says_what_was_found_and_what_was_expected(columns: dict[str, list[str]], message: str) -> None:
    [problem] = validate(columns, 2 + 2 * np.arange(len(next(iter(columns.values())))), CLASSES)
    assert message in str(problem)


@pytest.mark.parametrize(("count", "end"), [(10, "'9'"), (11, "'9', ...")])
def test_of_many_classes_ten_are_shown(count: int, end: str) -> None:
    metadata = Metadata(labels={"label": LabelSpec(classes=tuple(map(str, range(count))))})
    [problem] = validate({"id": ["a"], "label": ["x"]}, np.array([2]), metadata)
    assert problem.message.endswith(end)


def test_values_that_utf_8_cannot_write() -> None:
    columns = {"id": ["a", "b"], "label": ["\udce9t\udce9", "é"], "source": ["", "\ud800"]}
    found = [(problem.kind, problem.row, problem.column) for problem in encoding_problems(columns, np.array([2, 3]))]
    assert found == [("encoding", 2, "label"), ("encoding", 3, "source")]


def test_a_path_that_none_can_be_costs_nothing() -> None:
    """Its folders, written out, would take memory by the square of its length."""
    tracemalloc.start()
    try:
        assert check({"id": ["a", "b"], "path": ["x/" * 50_000, "y"]}) == [("unsafe-path", 2, "path")]
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


def test_a_problem_quotes_no_more_of_a_name_than_one_can_read() -> None:
    columns = {"id": ["x" * 100_000]}
    [problem] = validate(columns, np.array([2]), Metadata())
    assert problem.message == f"ID '{'x' * 300}'... has 100,000 characters; a path has at most 4,096 bytes"
