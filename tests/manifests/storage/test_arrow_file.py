"""Rows in a file: they come back as they were, or are refused, whatever became of the file."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manifests.rows.table import frame_of, rows_of, rows_of_frame
from manifests.storage import arrow_file
from manifests.storage.arrow_file import CacheFileError, read_cache, write_cache

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=3) | st.sampled_from(["007", "NA", "", "a\r\nb", '"', "shards/x.npy"])
STAMP = {"size": 1, "sha256": None}


def read(path: Path) -> tuple[pa.Table, Any]:
    """Return all rows of a cache that are intact, and its stamp."""
    with open(path, "rb") as file:
        rows, is_intact, stamp = read_cache(file)
    if not all(map(is_intact, rows.column_names)):
        raise CacheFileError("a column is damaged")
    return rows, stamp


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


def test_every_bit_that_fell_over_is_noticed(written: Path) -> None:
    content = written.read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        written.write_bytes(damaged)
        with pytest.raises(CacheFileError):
            read(written)


def test_damage_to_one_column_is_told_of_that_column_alone(written: Path) -> None:
    content = written.read_bytes()
    assert content.count(b"bbbbbb") == 1
    written.write_bytes(content.replace(b"bbbbbb", b"bbbbcb"))
    with open(written, "rb") as file:
        rows, is_intact, _ = read_cache(file)
    assert {name: is_intact(name) for name in rows.column_names} == {"id": True, "label": True, "source": False}


def test_nobody_else_may_write_to_the_file(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        write_cache(rows_of({"id": ["a"]}), STAMP, tmp_path / "cache")
    finally:
        os.umask(before)
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o644


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch, written: Path) -> None:
    monkeypatch.setattr(arrow_file, "_VERSION", arrow_file._VERSION + 1)
    with pytest.raises(CacheFileError, match="of another version"):
        read(written)


@pytest.mark.parametrize(
    "about", [b"[]", b"null", b"{", b'{"version": 3}', b"[" * 100_000, b"\xff", b'{"version": 3, "stamp": 7, "columns": 7}']
)
def test_what_a_file_says_of_itself_may_be_anything(written: Path, about: bytes) -> None:
    with open(written, "ab") as file:
        file.write(about + arrow_file._END.pack(len(about), zlib.crc32(about), arrow_file._MAGIC))
    with pytest.raises(CacheFileError):
        read(written)


@pytest.mark.parametrize("content", [b"", b"shardfd\n" + b"\xff" * 100, b"ARROW1\0\0" + b"\xff" * 100 + b"ARROW1"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cache").write_bytes(content)
    with pytest.raises(CacheFileError):
        read(tmp_path / "cache")
