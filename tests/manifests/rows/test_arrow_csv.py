"""What pyarrow reads is what the strict reader reads, or it is left to that one; and what is written is the same, byte for byte."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manifests.errors import InvalidManifestError
from manifests.format.strict_csv import csv_blocks, write_blocks
from manifests.rows.arrow_csv import UnsureError, read_rows, write_rows
from manifests.rows.table import rows_of

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

PIECES = st.sampled_from(
    ["a", "b", ",", '"', "\n", "\r\n", "\r", '""', "é", "\ufeff", " ", "\0", "a,b\n", '"a",b\n', '"a""b","c d"\n', '"x\ny",z\n', ",\n"]
)
VALUES = st.lists(st.sampled_from(["a", ",", '"', "\n", "\r", "é", "\ufeff", " "]), max_size=3).map("".join)


def read_strictly(path: Path, delimiter: str = ",") -> dict[str, list[str]] | None:
    columns: dict[str, list[str]] = {}
    try:
        with open(path, "rb", buffering=0) as file:
            for block in csv_blocks(file, path, delimiter=delimiter):
                for name, values in block.columns.items():
                    columns.setdefault(name, []).extend(values)
    except InvalidManifestError:
        return None
    return columns


def read_fast(content: bytes, delimiter: str = ",") -> pa.Table:
    class Raw(io.BytesIO):  # as a file that is not buffered
        pass

    return read_rows(Raw(content), delimiter=delimiter)  # type: ignore[arg-type]  # it reads as such a file does


@in_one_folder
@given(st.sampled_from(["id", "id,x"]), st.sampled_from([",", "\t"]), st.booleans(), st.lists(PIECES, max_size=12), st.booleans())
def test_a_file_is_read_as_the_strict_reader_does_or_left_to_it(
    tmp_path: Path, header: str, delimiter: str, has_mark: bool, pieces: list[str], is_broken: bool
) -> None:
    text = ("\ufeff" if has_mark else "") + f"{header}\n" + "".join(pieces)
    content = text.replace(",", delimiter).encode() + (b"\xff" if is_broken else b"")
    (tmp_path / "m.csv").write_bytes(content)
    try:
        found = read_fast(content, delimiter).to_pydict()
    except UnsureError:
        return
    assert found == read_strictly(tmp_path / "m.csv", delimiter)


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("header", ["id,label", '"id","label"', '\ufeff"id",label'])
def test_sound_files_are_not_left_to_it(header: str, ending: str) -> None:
    rows = ['007,"a, b"', '"x ""y""",', "", '"",é']
    assert read_fast((header + ending + ending.join(rows)).encode()).to_pydict() == {
        "id": ["007", 'x "y"', ""],
        "label": ["a, b", "", "é"],
    }


@pytest.mark.parametrize("cut", range(1, 12))
def test_quotes_are_followed_over_the_ends_of_what_is_read_at_once(monkeypatch: pytest.MonkeyPatch, cut: int) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or cut, cut))

    rows = "".join(f'"{number} ""q""",b\n' for number in range(20))
    monkeypatch.setattr("manifests.rows.arrow_csv._BLOCK_BYTES", 1 << 10)
    assert read_rows(Slow(("id,x\n" + rows).encode())).to_pydict()["id"] == [f'{number} "q"' for number in range(20)]  # type: ignore[arg-type]  # as above
    with pytest.raises(UnsureError):
        read_rows(Slow(("id,x\n" + rows + '"a"b,c\n').encode()))  # type: ignore[arg-type]  # as above


@in_one_folder
@given(st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=5), st.booleans())
def test_what_is_written_is_what_is_written_row_by_row(tmp_path: Path, rows: list[tuple[str, ...]], is_narrow: bool) -> None:
    names = ["my column"] if is_narrow else ["id", "label", "my column"]
    columns = {name: [row[number] for row in rows] for number, name in enumerate(names)}
    target = io.BytesIO()
    write_rows(rows_of(columns), target)
    write_blocks(names, [columns], tmp_path / "m.csv")
    assert target.getvalue() == (tmp_path / "m.csv").read_bytes()
