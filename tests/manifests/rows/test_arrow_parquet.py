"""A manifest may be a Parquet file."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from manifests import InvalidManifestError, load_manifest, write_manifest


def test_a_parquet_manifest_is_that_of_its_csv(pets: Path, tmp_path: Path) -> None:
    expected = load_manifest(pets)
    write_manifest(expected.frame, tmp_path / "manifest.parquet")
    found = load_manifest(tmp_path)
    pd.testing.assert_frame_equal(found.frame, expected.frame)
    assert found.table.schema == expected.table.schema
    pd.testing.assert_frame_equal(load_manifest(tmp_path / "manifest.parquet").frame, expected.frame)
    write_manifest(expected.frame.iloc[:2], tmp_path)
    assert len(load_manifest(tmp_path)) == 2  # the CSV file comes first


def test_numbers_are_text_and_missing_values_are_empty(tmp_path: Path) -> None:
    table = pa.table({"id": [7, 8], "label": ["a", None], "age": [0.5, None], "kind": pa.array(["x", None]).dictionary_encode()})
    parquet.write_table(table, tmp_path / "some.parquet")
    assert load_manifest(tmp_path / "some.parquet").frame.to_dict("list") == {
        "id": ["7", "8"],
        "label": ["a", ""],
        "age": ["0.5", ""],
        "kind": ["x", ""],
    }


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"id": ["a", "a"]}, "row 2, column 'id': ID 'a' "),
        ({"name": ["a"]}, "column 'id': is missing; the columns are 'name'"),
        ({"id": ["a"], "box": [[1, 2]]}, "column 'box': has values of type list<.*>; expected text or numbers"),
        ({"id": ["a"], "": ["b"]}, "field 2 of the header has no name"),
    ],
)
def test_each_problem_is_named(tmp_path: Path, table: dict[str, list[object]], message: str) -> None:
    parquet.write_table(pa.table(table), tmp_path / "manifest.parquet")
    with pytest.raises(InvalidManifestError, match=message):
        load_manifest(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\xff" * 100 + b"PAR1", b"id,label\n"])
def test_a_file_that_is_no_parquet_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.parquet").write_bytes(content)
    with pytest.raises(InvalidManifestError, match="cannot be read as Parquet") as caught:
        load_manifest(tmp_path)
    assert len(str(caught.value).splitlines()) <= 2


ANY = {
    "plain strings": pa.table({"id": ["b", "a"], "label": ["x", "y"]}),
    "missing values": pa.table({"id": pa.array(["b", "a"], pa.large_string()), "label": pa.array([None, "y"], pa.large_string())}),
    "a dictionary with a missing value": pa.table({"id": ["b", "a"], "label": pa.array([None, "y"]).dictionary_encode()}),
    "a dictionary of which a value is missing": pa.table(
        {"id": ["b", "a"], "label": pa.DictionaryArray.from_arrays(pa.array([1, 0], pa.int32()), pa.array(["y", None]))}
    ),
    "numbers": pa.table({"id": [2, 1], "label": [0.5, None]}),
}


@pytest.mark.parametrize("name", ["manifest.csv", "manifest.parquet"])
@pytest.mark.parametrize("table", ANY.values(), ids=ANY)
def test_any_table_of_text_and_numbers_is_written_and_no_row_is_lost(tmp_path: Path, table: pa.Table, name: str) -> None:
    write_manifest(table, tmp_path / name)
    expected = sorted([["" if value is None else str(value) for value in row.values()] for row in table.to_pylist()])
    assert load_manifest(tmp_path / name).frame.to_numpy().tolist() == expected


def test_a_table_that_holds_anything_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidManifestError, match="column 'box': has values of type list"):
        write_manifest(pa.table({"id": ["a"], "box": [[1]]}), tmp_path)
    assert list(tmp_path.iterdir()) == []
