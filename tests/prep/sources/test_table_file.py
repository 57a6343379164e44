"""Tables of labels keep every value as the text that the user wrote, from whatever kind of file."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from manifests.rows.table import are_rows, strings
from prep.errors import SourceError
from prep.sources.table_file import read_table


def check_table(path: Path, expected: dict[str, list[str]], lines: list[int] | None = None) -> None:
    table = read_table(path)
    assert {name: strings(table.rows[name]) for name in table.rows.column_names} == expected
    assert table.lines.tolist() == (lines or list(range(2, len(table.rows) + 2)))


def check_refused(path: Path, why: str) -> None:
    with pytest.raises(SourceError, match=why) as caught:
        read_table(path)
    assert str(path) in str(caught.value)


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


VALUES = ["007", "NA", "null", "1e5", "nan", "", "TRUE", " spaced ", "été", "1.0"]


@pytest.mark.parametrize(("ending", "separator"), [(".csv", ","), (".CSV", ","), (".tsv", "\t"), (".txt", ",")])
def test_text_is_not_interpreted(tmp_path: Path, ending: str, separator: str) -> None:
    text = "".join(f"x{separator}{value}\n" for value in VALUES)
    check_table(written(tmp_path / f"t{ending}", f"id{separator}label\n{text}"), {"id": ["x"] * len(VALUES), "label": VALUES})


def test_rows_are_numbered_as_the_files_lines(tmp_path: Path) -> None:
    check_table(written(tmp_path / "t.csv", 'id,label\n"a\nb",x\n\nc,y\n'), {"id": ["a\nb", "c"], "label": ["x", "y"]}, [2, 5])


def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_names(tmp_path: Path) -> None:
    check_table(written(tmp_path / "t.csv", b"\xef\xbb\xbfid,label\r\na,x\r\n"), {"id": ["a"], "label": ["x"]})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "no-header|is empty"),
        (b"id,label\n", "has no rows"),
        (b"id,id\na,b\n", "more than once"),
        (b",id\n0,a\n", r"field 1 of the header has no name; give it one, or leave it out .*index=False"),
        (b"id,label\na\n", "has 1 fields, the header 2"),
        (b'id,label\n"a,b\n', "cannot be parsed as CSV"),
        (b"id,label\n\xff,b\n", "row 2: is not UTF-8"),
    ],
)
def test_a_malformed_csv_is_refused(tmp_path: Path, text: bytes, why: str) -> None:
    check_refused(written(tmp_path / "t.csv", text), why)


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".json"])
def test_a_table_that_is_not_there_is_refused(tmp_path: Path, ending: str) -> None:
    check_refused(tmp_path / f"t{ending}", "(?i)cannot be read: No such file")


# Parquet


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        (pa.array(["007", "NA", None]), ["007", "NA", ""]),
        (pa.array([1, 10, None]), ["1", "10", ""]),
        (pa.array([2**63], pa.uint64()), [str(2**63)]),
        (pa.array([0.5, -0.25]), ["0.5", "-0.25"]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.nulls(2), ["", ""]),
        (pa.array(["cat", "dog", "cat"]).dictionary_encode(), ["cat", "dog", "cat"]),
        (pa.array(["été"], pa.large_string()), ["été"]),
        (pa.chunked_array([["a"], ["b"]]), ["a", "b"]),
    ],
    ids=str,
)
@pytest.mark.parametrize("ending", [".parquet", ".PQ"])
def test_parquet_values_become_text(tmp_path: Path, ending: str, column: Any, texts: list[str]) -> None:
    parquet.write_table(pa.table({"value": column}), tmp_path / f"t{ending}")
    check_table(tmp_path / f"t{ending}", {"value": texts})


def test_a_frame_of_pandas_is_read_back(tmp_path: Path) -> None:
    pd.DataFrame({"id": ["a", "b"], "label": [3, 4]}).to_parquet(tmp_path / "t.parquet")
    check_table(tmp_path / "t.parquet", {"id": ["a", "b"], "label": ["3", "4"]})


@pytest.mark.parametrize("values", [[[1], [2]], [{"bytes": "x"}, {"bytes": "y"}]])
def test_nested_parquet_columns_are_refused(tmp_path: Path, values: list[Any]) -> None:
    parquet.write_table(pa.table({"id": ["a", "b"], "label": values}), tmp_path / "t.parquet")
    check_refused(tmp_path / "t.parquet", "a column holds lists or records; expected plain values")


@pytest.mark.parametrize("content", [b"", b"text", b"PAR1" + bytes(50) + b"PAR1"])
def test_what_is_no_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    check_refused(written(tmp_path / "t.parquet", content), "cannot be read")


def test_parquet_that_is_no_text_is_refused_in_one_line(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"a": [b"\xff"]}), tmp_path / "t.parquet")
    with pytest.raises(SourceError, match="cannot be read as Parquet") as caught:
        read_table(tmp_path / "t.parquet")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "why"), [(["a", "a"], "column 'a': appears more than once"), (["a", ""], "field 2 of the header has no name")]
)
def test_parquet_columns_have_names_of_their_own(tmp_path: Path, names: list[str], why: str) -> None:
    parquet.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=names), tmp_path / "t.parquet")
    check_refused(tmp_path / "t.parquet", why)


def test_folders_above_a_parquet_file_are_no_columns(tmp_path: Path) -> None:
    (tmp_path / "label=cat").mkdir()
    parquet.write_table(pa.table({"id": ["a"]}), tmp_path / "label=cat/t.parquet")
    check_table(tmp_path / "label=cat/t.parquet", {"id": ["a"]})


def test_parquet_without_rows_is_refused(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"id": pa.array([], pa.string())}), tmp_path / "t.parquet")
    check_refused(tmp_path / "t.parquet", "has no rows")


# JSON


def test_a_dictionary_of_labels_keeps_numbers_as_they_are_written(tmp_path: Path) -> None:
    text = '{"id-1": 0, "id-2": 1.50, "007": "cat", "e": 1e5, "big": 123456789012345678901234567890, "été": "\\u00e9"}'
    expected = {
        "id": ["id-1", "id-2", "007", "e", "big", "été"],
        "label": ["0", "1.50", "cat", "1e5", "123456789012345678901234567890", "é"],
    }
    check_table(written(tmp_path / "labels.json", text), expected)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "cannot be read as JSON"),
        ("{", "cannot be read as JSON"),
        ('{"a": 1, "b": 2, "a": 3, "b": 1}', "names an ID twice: 'a', 'b'"),
        ('{"a": {"label": 1}}', "expected one JSON object from ID to label"),
        ('{"a": [1, 2]}', "expected one JSON object"),
        ('{"a": null}', "expected one JSON object"),
        ('{"a": true}', "expected one JSON object"),
        ('{"a": NaN}', "expected one JSON object"),
        ('["a"]', "expected one JSON object"),
        ('"a"', "expected one JSON object"),
        ("{}", "has no rows"),
        ('{"a": "\\ud800"}', "UTF-8 cannot encode: '.ud800'"),
        ('{"\\udcff": 1}', "UTF-8 cannot encode: '.udcff'"),
        ('{"a":' * 100_000, "cannot be read as JSON"),
        (b'{"a": "\xff"}', "cannot be read as JSON"),
    ],
    ids=range(15),
)
def test_json_of_another_form_is_refused(tmp_path: Path, text: str | bytes, why: str) -> None:
    check_refused(written(tmp_path / "labels.json", text), why)


def test_one_repeated_id_among_many_is_told_at_once(tmp_path: Path) -> None:
    labels = ", ".join(f'"id-{i}": 0' for i in range(200_000))  # comparing each with each would take minutes
    check_refused(written(tmp_path / "labels.json", f'{{{labels}, "id-7": 1}}'), "names an ID twice: 'id-7'$")


@given(st.binary(max_size=40), st.sampled_from([".csv", ".tsv", ".json", ".parquet"]))
def test_any_bytes_are_a_table_or_a_source_error(tmp_path_factory: pytest.TempPathFactory, content: bytes, ending: str) -> None:
    path = written(tmp_path_factory.getbasetemp() / f"any{ending}", content)
    with contextlib.suppress(SourceError):  # and no other error
        table = read_table(path)
        assert are_rows(table.rows)
        assert len(table.lines) == len(table.rows) > 0


@pytest.mark.parametrize("text", ["id;label\na;b\n", "id\tlabel\na\tb\n"])
def test_a_table_with_other_separators_is_told_apart(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(SourceError, match="one field; save the table with commas"):
        read_table(path)
