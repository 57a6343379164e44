"""CSV as RFC 4180 has it: every value comes back as it was, every malformed row is named by its line."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from manifests.errors import InvalidManifestError
from manifests.format import strict_csv
from manifests.format.strict_csv import header_problems, read_csv, write_csv

# Each example overwrites the file of the one before.
in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

texts = st.text(alphabet=st.one_of(st.sampled_from(',"\r\n\t \x00\ufeff;aé日'), st.characters(exclude_categories=["Cs"])), max_size=8)


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    names = draw(st.lists(texts.filter(bool), min_size=1, max_size=4, unique=True))
    rows = draw(st.lists(st.tuples(*[texts for _ in names]), max_size=6))
    return pd.DataFrame(rows, columns=names, dtype=str)


def check_round_trip(frame: pd.DataFrame, path: Path) -> None:
    """Check that a frame comes back as it was, to our reader and to Python's own."""
    write_csv(frame, path)
    table = read_csv(path)
    values = [list(row) for row in frame.itertuples(index=False, name=None)]
    assert list(table.frame.columns) == list(frame.columns)
    assert [list(row) for row in table.frame.itertuples(index=False, name=None)] == values
    assert table.lines.dtype == np.int64
    assert table.lines.shape == (len(frame),)
    with open(path, encoding="utf-8", newline="") as file:
        assert list(csv.reader(file, strict=True)) == [list(frame.columns), *values]


def read_bytes(content: bytes, path: Path) -> strict_csv.CsvTable:
    path.write_bytes(content)
    return read_csv(path)


def problems_of(content: bytes, path: Path) -> list[tuple[str, int | None]]:
    """Return (kind, row) of each problem that reading these bytes finds."""
    with pytest.raises(InvalidManifestError) as caught:
        read_bytes(content, path)
    assert str(caught.value).startswith(f"{path}: ")
    return [(problem.kind, problem.row) for problem in caught.value.problems]


@in_one_folder
@given(frames())
@example(pd.DataFrame({"id": ["007", "NA", "1e5", "null", "None", "nan", "", " ", "  a  ", "True", "1_000"]}, dtype=str))
@example(pd.DataFrame({"\ufeffid": ["\ufeff"]}, dtype=str))
@example(pd.DataFrame({"id": ["", "", "a"]}, dtype=str))
def test_any_text_survives_a_round_trip(tmp_path: Path, frame: pd.DataFrame) -> None:
    check_round_trip(frame, tmp_path / "a.csv")


@in_one_folder
@given(frames())
def test_equal_frames_give_equal_bytes(tmp_path: Path, frame: pd.DataFrame) -> None:
    write_csv(frame, tmp_path / "a.csv")
    write_csv(read_csv(tmp_path / "a.csv").frame, tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 4, 5, 6, 7])
def test_chunks_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    frame = pd.DataFrame({"id": [f"i{n}" for n in range(rows)], "label": [f"a\n{n}" for n in range(rows)]}, dtype=str)
    write_csv(frame, tmp_path / "whole.csv")
    whole = read_csv(tmp_path / "whole.csv")
    monkeypatch.setattr(strict_csv, "_CHUNK_ROWS", 3)
    check_round_trip(frame, tmp_path / "chunks.csv")
    chunks = read_csv(tmp_path / "chunks.csv")
    assert (tmp_path / "chunks.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert list(chunks.lines) == list(whole.lines) == [2 + 2 * n for n in range(rows)]
    assert list(chunks.frame.index) == list(range(rows))


def test_the_bytes(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": ["a", "b,c", ""], "x y": ['say "hi"', " two\r\nlines ", "é"]}, dtype=str)
    write_csv(frame, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes() == 'id,x y\na,"say ""hi"""\n"b,c"," two\r\nlines "\n,é\n'.encode()


@pytest.mark.parametrize(
    ("content", "rows", "lines"),
    [
        (b"id,label\na,1\nb,2\n", [["a", "1"], ["b", "2"]], [2, 3]),
        (b"id,label\na,1\nb,2", [["a", "1"], ["b", "2"]], [2, 3]),  # no end of the last line
        (b"id,label\r\na,1\r\nb,2\r\n", [["a", "1"], ["b", "2"]], [2, 3]),
        (b"id,label\ra,1\rb,2\r", [["a", "1"], ["b", "2"]], [2, 3]),
        (b"\xef\xbb\xbfid,label\na,1\n", [["a", "1"]], [2]),
        (b"\n\nid,label\n\na,1\n\n\nb,2\n\n", [["a", "1"], ["b", "2"]], [5, 8]),
        (b'"id","label"\n"a\n\nb","1"\n"c","2"\n', [["a\n\nb", "1"], ["c", "2"]], [2, 5]),
        (b'id,label\n"a ""x""",\n', [['a "x"', ""]], [2]),
        (b"id,label\n a , 1\n", [[" a ", " 1"]], [2]),
        (b"id,label\n,\n", [["", ""]], [2]),
        (b"id,label\n", [], []),
        (b"id,label", [], []),
    ],
)
def test_what_is_read(tmp_path: Path, content: bytes, rows: list[list[str]], lines: list[int]) -> None:
    table = read_bytes(content, tmp_path / "a.csv")
    assert list(table.frame.columns) == ["id", "label"]
    assert table.frame.to_numpy().tolist() == rows
    assert list(table.lines) == lines
    assert table.lines.dtype == np.int64


def test_a_long_field_is_read(tmp_path: Path) -> None:
    check_round_trip(pd.DataFrame({"id": ["a" * 200_000]}, dtype=str), tmp_path / "a.csv")


def test_another_delimiter(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(b"id\tlabel\na,b\t1\n")
    assert read_csv(tmp_path / "a.tsv", delimiter="\t").frame.to_numpy().tolist() == [["a,b", "1"]]


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        (b"", [("no-header", None)]),
        (b"\n\n", [("no-header", None)]),
        (b"\xef\xbb\xbf", [("no-header", None)]),
        (b"id,,\n", [("header", 1), ("header", 1)]),
        (b"\n\nid,\n", [("header", 3)]),
        (b"id,label,id,label,id\na\n", [("header", 1), ("header", 1)]),
        (b"id,label\na\nb,2\nc,3,4\n", [("width", 2), ("width", 4)]),
        (b'id,label\n"a\nb",1\n\nc\n"d\n",2\ne,3,4\n', [("width", 5), ("width", 8)]),
        (b'id,label\na,1\n\nb,"2\nc,3\n', [("csv", 4)]),
        (b'id,label\na\nb,"2" x\nc\n', [("width", 2), ("csv", 3)]),
        (b'"id,label\n', [("csv", 1)]),
        ("id,label\né,1\nb,2\nü,3\n".encode("latin-1"), [("encoding", 2), ("encoding", 4)]),
        (b"id,label\na,\xed\xa0\x80\n", [("encoding", 2)]),  # a surrogate
        ("id,label\na,1".encode("utf-16"), [("encoding", 1)]),
    ],
)
def test_every_malformed_row_is_named(tmp_path: Path, content: bytes, problems: list[tuple[str, int | None]]) -> None:
    assert problems_of(content, tmp_path / "a.csv") == problems


def test_malformed_rows_are_named_across_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict_csv, "_CHUNK_ROWS", 2)
    content = b"id,label\n" + b"a,1\nb\n" * 5
    assert problems_of(content, tmp_path / "a.csv") == [("width", row) for row in (3, 5, 7, 9, 11)]


def test_messages_say_what_was_found_and_expected(tmp_path: Path) -> None:
    with pytest.raises(InvalidManifestError, match="row 2: has 3 fields, the header 2"):
        read_bytes(b"id,label\na,b,c\n", tmp_path / "a.csv")
    with pytest.raises(InvalidManifestError, match="row 2: is not UTF-8 text \\(byte 0xe9\\); save the file as UTF-8"):
        read_bytes(b"id\n\xe9\n", tmp_path / "a.csv")
    with pytest.raises(InvalidManifestError, match="row 1, column 'id': appears more than once"):
        read_bytes(b"id,id\n", tmp_path / "a.csv")


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_csv(tmp_path / "a.csv")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"old\n")
    with pytest.raises(UnicodeEncodeError):
        write_csv(pd.DataFrame({"id": ["a", "\ud800"]}, dtype=object), path)
    assert path.read_bytes() == b"old\n"
    assert os.listdir(tmp_path) == ["a.csv"]


def test_a_header_is_checked_in_one_pass() -> None:
    class Name(str):
        """Counts how often names are compared."""

        __slots__ = ()
        compared = 0
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            type(self).compared += 1
            return str(self) == other

    assert header_problems([Name(f"c{number}") for number in range(2_000)], 1) == []
    assert Name.compared < 4_000
