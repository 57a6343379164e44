"""How values are written in the manifest's columns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.format.schema import (
    COLUMN_NAMES,
    COLUMNS,
    array_name_problem,
    array_names,
    format_shape,
    is_array_column,
    is_contract_column,
    is_possible_shape,
    ordered_columns,
    parse_shape,
    split_label,
)

SHAPES = [((), "scalar"), ((0,), "0"), ((1,), "1"), ((32, 32, 3), "32x32x3"), ((0, 5), "0x5"), ((10**15,), "1000000000000000")]


@pytest.mark.parametrize(("shape", "text"), SHAPES)
def test_a_shape_and_its_text(shape: tuple[int, ...], text: str) -> None:
    assert format_shape(shape) == text
    assert parse_shape(text) == shape


@given(st.lists(st.integers(min_value=0)).map(tuple).filter(is_possible_shape))
def test_a_shape_survives_a_round_trip(shape: tuple[int, ...]) -> None:
    assert parse_shape(format_shape(shape)) == shape


BAD_SHAPES = [
    "",
    "x",
    "3x",
    "x3",
    "3xx3",
    "-1",
    "+1",
    "03",
    "3x03",
    "3 x 3",
    "3X3",
    "3,3",
    "(3, 3)",
    "3.0",
    "٣",
    "3\n",
    "Scalar",
    "9" * 5000,
    "999999999999x999999999999",
    "0x999999999999x999999999999",
    str(2**63),
    "x".join("1" * 65),
]


@pytest.mark.parametrize("text", BAD_SHAPES)
def test_any_other_text_is_no_shape(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected a shape (like 32x32x3|that an array can have), found .{0,110}$"):
        parse_shape(text)


@pytest.mark.parametrize(
    ("label", "names"),
    [
        ("", ()),
        ("cat", ("cat",)),
        ("cat;dog", ("cat", "dog")),
        ("dog;cat", ("dog", "cat")),
        ("cat;", ("cat",)),
        (";", ()),
        ("cat;;dog", ("cat", "dog")),
        ("cat;cat", ("cat",)),
        (" cat ; dog", (" cat ", " dog")),
    ],
)
def test_the_classes_a_label_names(label: str, names: tuple[str, ...]) -> None:
    assert split_label(label) == names


def test_the_columns_of_the_contract() -> None:
    of_rows, of_shards = ("id", "label", "split", "group", "fold"), ("path", "row", "shape", "dtype", "sha256")
    assert (*of_rows, *of_shards, "source", "member", "fingerprint") == COLUMN_NAMES
    assert [column.name for column in COLUMNS if column.required] == ["id"]


def test_every_column_is_described() -> None:
    assert all(column.description for column in COLUMNS)


@pytest.mark.parametrize("name", ["mask", "m", "depth_2", "a" * 64])
def test_the_names_of_further_arrays(name: str) -> None:
    assert array_name_problem(name) is None


@pytest.mark.parametrize("name", ["", "Mask", "2d", "_m", "a.b", "a/b", "..", "mäsk", "a\n", "a" * 65, 3, None])
def test_any_other_name_is_none_of_a_further_array(name: object) -> None:
    assert str(array_name_problem(name)).endswith(f"such as mask, found {name!r}")


def test_the_arrays_that_columns_tell_of() -> None:
    columns = ["id", "mask.path", "mask.shape", "grid.row", "Big.path", "path", "depth.path", ".path"]
    assert array_names(columns) == ("depth", "mask")
    assert [name for name in columns if is_array_column(name)] == ["mask.path", "mask.shape", "grid.row", "depth.path"]
    assert is_contract_column("sha256")
    assert not is_contract_column("Big.path")


def test_the_order_of_columns() -> None:
    columns = ["own", "mask.sha256", "mask.path", "grid.row", "fingerprint", "depth.path", "mask.extra", "mask.shape", "id"]
    assert ordered_columns(columns) == [
        *("id", "fingerprint", "depth.path", "mask.path", "mask.shape", "mask.sha256"),
        *("own", "grid.row", "mask.extra"),
    ]
