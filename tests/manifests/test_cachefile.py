"""A table in a file: it comes back as it was, or is refused, whatever became of the file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manifests import cachefile
from manifests.cachefile import CacheFileError, read_cache, write_cache
from manifests.table import Table, TableBuilder, table_of_frame

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=3) | st.sampled_from(["007", "NA", "", "a\r\nb", '"', "shards/x.npy"])
STAMP = {"size": 1, "sha256": None}

Change = Callable[[dict[str, Any]], object]


def read(path: Path) -> tuple[Table, Any]:
    with open(path, "rb") as file:
        return read_cache(file)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A file of four rows with columns of every kind."""
    builder = TableBuilder(["id", "label", "source", "path"])
    builder._columns["source"]._few = 1
    builder.add({"id": list("abcd"), "label": list("xyxy"), "source": ["", "a", "bbbbbb", "c"], "path": ["p/1", "p/2", "q/3", "4"]})
    write_cache(builder.table(), STAMP, tmp_path / "cache")
    return tmp_path / "cache"


@in_one_folder
@given(st.lists(st.tuples(VALUES, VALUES, VALUES, VALUES), max_size=6), st.booleans())
def test_a_table_comes_back(tmp_path: Path, rows: list[tuple[str, ...]], has_default_paths: bool) -> None:
    frame = pd.DataFrame(rows, columns=["id", "label", "path", "\ufeffmy, column"], dtype=str)
    if has_default_paths:
        frame["path"] = pd.Series([f"shards/{id_}.npy" for id_ in frame["id"]], dtype=str)
    table = table_of_frame(frame)
    write_cache(table, STAMP, tmp_path / "cache")
    found, stamp = read(tmp_path / "cache")
    assert stamp == STAMP
    assert found.path_kind == table.path_kind
    pd.testing.assert_frame_equal(found.to_frame(), frame)
    for folder in ("", "shards"):
        ours, theirs = found.files(folder), table.files(folder)
        assert [list(ours.ids), list(ours.paths)] == [list(theirs.ids), list(theirs.paths)]
        assert ours.folders.distinct.take(ours.folders.codes) == theirs.folders.distinct.take(theirs.folders.codes)


def test_the_arrays_stay_in_the_file(written: Path) -> None:
    column, _ = read(written)[0].columns["label"], None
    assert not column.codes.flags.owndata
    assert not column.codes.flags.writeable
    written.unlink()
    assert column.codes.tolist() == [0, 1, 0, 1]


def test_a_file_that_ends_early_is_refused(written: Path) -> None:
    content = written.read_bytes()
    for length in [*range(0, 60, 7), len(content) // 2, len(content) - 64]:
        written.write_bytes(content[:length])
        with pytest.raises(CacheFileError):
            read(written)


@pytest.mark.parametrize("seed", range(20))
def test_a_bit_that_fell_over_in_the_header_is_noticed(written: Path, seed: int) -> None:
    content = bytearray(written.read_bytes())
    position, bit = np.random.default_rng(seed).integers([48 + int.from_bytes(content[8:16], "little"), 8])
    content[position] ^= 1 << bit
    written.write_bytes(content)
    with pytest.raises(CacheFileError):
        read(written)


def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: Path) -> None:
    monkeypatch.setattr(cachefile, "_VERSION", 2)
    with pytest.raises(CacheFileError, match="is of version 1"):
        read(written)


def rewrite_header(path: Path, change: Change) -> None:
    """Change a file's header and let its digest be right again, as somebody would who means harm."""
    content = path.read_bytes()
    length = int.from_bytes(content[8:16], "little")
    header = json.loads(content[48 : 48 + length])
    change(header)
    encoded = json.dumps(header).encode()
    encoded += b" " * (length - len(encoded))
    start = -(-(48 + length) // 64) * 64
    with open(path, "wb") as file:
        file.write(content[:8] + len(encoded).to_bytes(8, "little") + hashlib.sha256(encoded).digest() + encoded)
        file.seek(-(-(48 + len(encoded)) // 64) * 64)
        file.write(content[start:])


def of_array(number: int, **changes: object) -> Change:
    return lambda header: header["arrays"][number].update(changes)


def array_of(header: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return what the header says of the array to which these names lead."""
    item: Any = header
    for name in names:
        item = item[name]
    return header["arrays"][item]


@pytest.mark.parametrize(
    "change",
    [
        *[of_array(number, at=1 << 40) for number in range(11)],  # the twelfth is empty
        *[of_array(number, length=1 << 40) for number in range(12)],
        *[of_array(number, length=-1) for number in range(12)],
        *[of_array(number, at=-64) for number in range(12)],
        of_array(0, at=1),
        of_array(0, at="0"),
        of_array(0, length=None),
        *[of_array(number, dtype=dtype) for number in (0, 1) for dtype in ("O", "|O8", "<f8", "<M8[s]", "V8", "i4,(", "|S0", ">u4", 7)],
        lambda header: header.update(rows=5),
        lambda header: header.update(rows="4"),
        lambda header: header.update(path_kind="none"),
        lambda header: header.update(path_kind="default"),
        lambda header: header.update(path_kind="others"),
        lambda header: header.update(path_kind=["own"]),
        lambda header: header.update(path_folders=None),
        lambda header: header.update(id_folders=None),
        lambda header: header.update(id_folders=header["columns"]["id"]),
        lambda header: header["columns"].pop("id"),
        lambda header: header["columns"].pop("path"),
        lambda header: header["columns"].update(id=header["columns"]["label"]),
        lambda header: header["columns"].update(label={"kind": "default-path"}),
        lambda header: header["columns"].update(path={"kind": "default-path"}),
        lambda header: header["columns"]["label"].update(kind="pickle"),
        lambda header: header["columns"]["label"].update(codes=99),
        lambda header: header["columns"]["label"].update(codes=header["columns"]["id"]["arrays"]["items"]),
        lambda header: header["columns"]["label"].update(values=dict(header["columns"]["label"])),
        lambda header: header["columns"]["label"].update(values=header["columns"]["id"] | {"arrays": {}}),
        lambda header: array_of(header, "columns", "label", "values", "arrays", "items").update(length=1),  # a code without a value
        lambda header: array_of(header, "columns", "source", "arrays", "data").update(length=3),  # a string behind the data
        lambda header: array_of(header, "columns", "source", "arrays", "lengths").update(length=3),
        lambda header: header.pop("columns"),
        lambda header: header.pop("stamp"),
        lambda header: header.update(columns=[]),
        lambda header: header.update(arrays={}),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(written: Path, change: Change) -> None:
    rewrite_header(written, lambda _: None)
    assert len(read(written)[0]) == 4
    rewrite_header(written, change)
    with pytest.raises(CacheFileError):
        read(written)


@pytest.mark.parametrize("text", [b"[]", b"null", b"{", b'{"version": 1}', b"[" * 100_000, b"\xff"])
def test_a_header_that_is_none_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "cache"
    path.write_bytes(b"shardfd\n" + len(text).to_bytes(8, "little") + hashlib.sha256(text).digest() + text)
    with pytest.raises(CacheFileError):
        read(path)


def test_a_header_of_any_claimed_length_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"shardfd\n" + b"\xff" * 100)
    with pytest.raises(CacheFileError, match="holds no table"):
        read(tmp_path / "cache")
