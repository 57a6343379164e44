"""Rows in a file: they come back as they were, or are refused, whatever became of the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import ipc

from manifests.rows.table import frame_of, rows_of, rows_of_frame
from manifests.storage import arrow_file
from manifests.storage.arrow_file import CacheFileError, read_cache, write_cache

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=3) | st.sampled_from(["007", "NA", "", "a\r\nb", '"', "shards/x.npy"])
STAMP = {"size": 1, "sha256": None}


def read(path: Path) -> tuple[pa.Table, Any]:
    with open(path, "rb") as file:
        return read_cache(file)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A file of four rows with columns of both kinds."""
    rows = rows_of({"id": list("abcd"), "label": list("xyxy"), "source": ["", "a", "bbbbbb", "c"]})
    assert {str(rows[name].type)[:5] for name in rows.column_names} == {"large", "dicti"}
    write_cache(rows, STAMP, tmp_path / "cache")
    return tmp_path / "cache"


@in_one_folder
@given(st.lists(st.tuples(VALUES, VALUES, VALUES, VALUES), max_size=6))
def test_rows_come_back(tmp_path: Path, rows: list[tuple[str, ...]]) -> None:
    frame = pd.DataFrame(rows, columns=["id", "label", "path", "\ufeffmy, column"], dtype=str)
    write_cache(rows_of_frame(frame), STAMP, tmp_path / "cache")
    found, stamp = read(tmp_path / "cache")
    assert stamp == STAMP
    assert found.schema == rows_of_frame(frame).schema
    pd.testing.assert_frame_equal(frame_of(found), frame)


def test_the_values_stay_in_the_file(written: Path) -> None:
    before = pa.total_allocated_bytes()
    rows, _ = read(written)
    assert pa.total_allocated_bytes() == before
    written.unlink()
    assert rows["label"].to_pylist() == list("xyxy")


def test_a_file_that_ends_early_is_refused(written: Path) -> None:
    content = written.read_bytes()
    for length in range(0, len(content), 37):
        written.write_bytes(content[:length])
        with pytest.raises(CacheFileError):
            read(written)


@pytest.mark.parametrize("seed", range(200))
def test_a_bit_that_fell_over_is_noticed_or_leads_nowhere_else(written: Path, seed: int) -> None:
    content = bytearray(written.read_bytes())
    position, bit = np.random.default_rng(seed).integers([len(content), 8])
    content[position] ^= 1 << bit
    written.write_bytes(content)
    try:
        rows, _ = read(written)
    except CacheFileError:
        return
    rows.validate()
    for name in rows.column_names:
        assert len(rows[name].cast(pa.large_binary()).to_pylist()) == len(rows)


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch, written: Path) -> None:
    monkeypatch.setattr(arrow_file, "_VERSION", 3)
    with pytest.raises(CacheFileError, match="of another version"):
        read(written)


def of(kind: str, *numbers: int) -> bytes:
    return np.array(numbers, dtype=kind).tobytes()


@pytest.mark.parametrize(
    ("found", "claimed"),
    [
        (of("<i8", 0, 1, 3, 6, 10), of("<i8", 0, 1, 3, 6, 1 << 40)),
        (of("<i8", 0, 1, 3, 6, 10), of("<i8", 0, 1 << 40, 3, 6, 10)),
        (of("<i8", 0, 1, 3, 6, 10), of("<i8", -4, 1, 3, 6, 10)),
        (of("<i8", 0, 1, 3, 6, 10), of("<i8", 0, 5, 3, 6, 10)),
        (of("<i4", 0, 1, 0, 1), of("<i4", 0, 2, 0, 1)),
        (of("<i4", 0, 1, 0, 1), of("<i4", 0, -1, 0, 1)),
        (of("<i4", 0, 2, 6), of("<i4", 0, 2, 1 << 30)),
        (of("<i4", 0, 2, 6), of("<i4", 0, -2, 6)),
    ],
)
def test_columns_that_point_elsewhere_are_refused(tmp_path: Path, found: bytes, claimed: bytes) -> None:
    path = tmp_path / "cache"
    write_cache(rows_of({"id": ["a", "bb", "ccc", "dddd"], "label": ["xx", "yyyy"] * 2}), STAMP, path)
    content = path.read_bytes()
    assert content.count(found) == 1
    path.write_bytes(content.replace(found, claimed))
    with pytest.raises(CacheFileError):
        read(path)


@pytest.mark.parametrize(
    "columns",
    [
        {"id": pa.array(["a"], pa.large_string()), "label": pa.array([1])},
        {"id": pa.array(["a", None], pa.large_string())},
        {"id": pa.array(["a"], pa.large_string()), "label": pa.array([["a"]])},
        {"id": pa.array(["a"], pa.large_string()), "label": pa.array(["a"], pa.dictionary(pa.int8(), pa.string()))},
    ],
)
def test_columns_of_other_types_are_refused(tmp_path: Path, columns: dict[str, pa.Array]) -> None:
    write_cache(pa.table(columns), STAMP, tmp_path / "cache")
    with pytest.raises(CacheFileError):
        read(tmp_path / "cache")


@pytest.mark.parametrize("text", [b"[]", b"null", b"{", b'{"version": 2}', b"[" * 100_000, b"\xff", b'{"version": 2, "stamp": 7}'])
def test_what_a_file_says_of_itself_may_be_anything(tmp_path: Path, text: bytes) -> None:
    table = pa.table({"id": pa.array(["a"], pa.large_string())}).replace_schema_metadata({b"shardfeed": text})
    with open(tmp_path / "cache", "wb") as file, ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(CacheFileError):
        read(tmp_path / "cache")


@pytest.mark.parametrize("content", [b"", b"shardfd\n" + b"\xff" * 100, b"ARROW1\0\0" + b"\xff" * 100 + b"ARROW1"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cache").write_bytes(content)
    with pytest.raises(CacheFileError):
        read(tmp_path / "cache")
