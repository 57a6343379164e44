"""A manifest whose rows are mostly as they were is written from the old one's lines, to the bytes that it would have anyway."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests import InvalidManifestError, cache, linecopy, load_manifest, store
from manifests.cache import stamp_of
from manifests.columns import packed_column
from manifests.linecopy import OldRows, old_rows
from manifests.store import write_table
from manifests.strings import PackedStrings
from manifests.table import Table, table_of_columns

Rows = Mapping[str, Mapping[str, str]]
"""ID -> column -> value."""

SHA256 = "0" * 64


def table_of(rows: Rows, names: Sequence[str] = ("label", "source", "sha256")) -> Table:
    columns = {name: packed_column([rows[id_].get(name, "") for id_ in sorted(rows)]) for name in names}
    return table_of_columns(PackedStrings(sorted(rows)), columns)


def some_rows(count: int = 20) -> dict[str, dict[str, str]]:
    return {f"c/{number:02d}": {"label": "ab"[number % 2], "source": f"{number}.png", "sha256": SHA256} for number in range(count)}


def written(folder: Path, rows: Rows) -> OldRows:
    """Write rows as a manifest, and read them."""
    file = folder / "manifest.csv"
    write_table(table_of(rows), file)
    return read(file)


def read(file: Path) -> OldRows:
    stamp = stamp_of(file)
    rows = old_rows(load_manifest(file).table, file, stamp)
    assert rows is not None
    return rows


@pytest.fixture
def formatted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The IDs of rows that are written and not copied."""
    ids: list[str] = []

    def seen(names: Sequence[str], block: Mapping[str, Sequence[str]]) -> Iterator[str]:
        ids.extend(block["id"])
        return lines_of(names, block)

    lines_of = linecopy.lines_of
    monkeypatch.setattr(linecopy, "lines_of", seen)
    monkeypatch.setattr("manifests.csvfile.lines_of", seen)
    return ids


def check_written(table: Table, before: OldRows | None, folder: Path) -> None:
    """The bytes are those of a manifest that is written from nothing."""
    write_table(table, folder / "new.csv", before)
    got = (folder / "new.csv").read_bytes()
    write_table(table, folder / "plain.csv")
    assert got == (folder / "plain.csv").read_bytes()


def tables(text: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, dict[str, str]]]:
    row = st.fixed_dictionaries({"label": text, "source": text, "sha256": st.sampled_from(["", SHA256])})
    return st.dictionaries(st.sampled_from([f"{a}{b}" for a in "abc" for b in "0123"] + ["d/é", "d/e"]), row, max_size=12)


# A file with a quote is not copied from, so most have none.
PAIRS = st.sampled_from(["aé 7", "aé 7", 'aé ,"\n\ufeff7']).flatmap(lambda letters: st.tuples(*2 * [tables(st.text(letters, max_size=3))]))
NAMES = st.sampled_from([("label", "source", "sha256")] * 3 + [("source", "label"), ()])


def test_bytes_are_those_of_a_manifest_written_from_nothing(tmp_path: Path) -> None:
    """Whatever was added, removed or changed, and whether or not lines can be copied."""
    copied = 0

    @settings(deadline=None)  # each manifest is flushed to the disk
    @given(PAIRS, st.integers(0, 12), NAMES)
    def check(pair: tuple[Rows, Rows], kept: int, names: Sequence[str]) -> None:
        nonlocal copied
        old, new = pair[0], {**pair[1], **dict(list(pair[0].items())[:kept])}
        table, before = table_of(new, names), written(tmp_path, old)
        check_written(table, before, tmp_path)
        with linecopy.copyable_lines(table, store._ordered(list(table.columns)), before) as lines:
            copied += 0 if lines is None else np.count_nonzero(~lines.changed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linecopy, "_READ_BYTES", 7)
        patch.setattr(linecopy, "_ROWS_AT_ONCE", 3)
        patch.setattr(linecopy, "_MOST_CHANGED", 1.0)
        check()
    assert copied > 20


def test_only_what_changed_is_written_anew(tmp_path: Path, formatted: list[str]) -> None:
    rows = some_rows()
    before = written(tmp_path, rows)
    rows["c/03"]["label"] = "another"
    rows["c/04"]["source"] = "other.png"
    del rows["c/10"]
    rows["c/055"] = rows["c/05"]
    rows["a"] = rows["zz"] = rows["c/05"]
    formatted.clear()
    write_table(table_of(rows), tmp_path / "new.csv", before)
    assert formatted == ["a", "c/03", "c/04", "c/055", "zz"]
    formatted.clear()
    write_table(before.table, tmp_path / "new.csv", before)
    assert formatted == []


def as_by_others(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))


def with_a_blank_line(file: Path) -> None:
    head, _, rest = file.read_bytes().partition(b"\n")
    file.write_bytes(head + b"\n\n" + rest)


def without_a_last_line_end(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def with_quotes(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"0.png", b'"0.png"'))


def with_a_mark(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())


def with_columns_in_another_order(file: Path) -> None:
    lines = [line.split(",") for line in file.read_text().splitlines()]
    file.write_text("".join(",".join([id_, *reversed(others)]) + "\n" for id_, *others in lines))


@pytest.mark.parametrize(
    "change", [as_by_others, with_a_blank_line, without_a_last_line_end, with_quotes, with_a_mark, with_columns_in_another_order]
)
def test_a_file_that_is_not_as_we_write_it_is_not_copied_from(tmp_path: Path, change: Any, formatted: list[str]) -> None:
    rows = some_rows()
    file = written(tmp_path, rows).file
    change(file)
    before = read(file)
    formatted.clear()
    check_written(table_of(rows), before, tmp_path)
    assert len(formatted) == 2 * len(rows)


def test_where_most_has_changed_all_is_written_anew(tmp_path: Path, formatted: list[str]) -> None:
    rows = some_rows(20)
    before = written(tmp_path, rows)
    for id_ in list(rows)[:11]:
        rows[id_]["label"] = "new"
    formatted.clear()
    check_written(table_of(rows), before, tmp_path)
    assert len(formatted) == 40


@pytest.mark.parametrize("is_recent", [True, False])
def test_a_file_that_was_changed_since_is_not_copied_from(
    tmp_path: Path, is_recent: bool, formatted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither one of the same size, nor one in the same place whose time was set back."""
    monkeypatch.setattr(cache, "_GRANULARITY", 10**12 if is_recent else 0)
    rows = some_rows()
    before = written(tmp_path, rows)
    assert (before.stamp.sha256 is None) == (not is_recent)
    status = os.stat(before.file)
    with open(before.file, "r+b") as file:
        file.write(before.file.read_bytes().replace(b"3.png", b"4.png"))
    os.utime(before.file, ns=(status.st_atime_ns, status.st_mtime_ns))
    formatted.clear()
    check_written(table_of(rows), before, tmp_path)
    assert len(formatted) == 2 * len(rows)


@pytest.mark.parametrize("what", ["gone", "cut short", "changed"])
def test_a_file_that_changes_while_it_is_copied_is_not_copied_from(tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_GRANULARITY", 10**12)
    rows = some_rows()
    before = written(tmp_path, rows)
    rows["c/03"]["label"] = "another"
    table = table_of(rows)
    runs = linecopy._runs
    fell_back: list[bool] = []

    def changing(old: Any) -> Iterator[tuple[int, int]]:
        if what == "cut short":
            os.truncate(before.file, 100)
        elif what == "changed":
            with open(before.file, "r+b") as file:
                file.write(before.file.read_bytes().replace(b"9.png", b"8.png"))
        else:
            before.file.unlink()
        yield from runs(old)

    def write(*arguments: Any) -> None:
        fell_back.append(True)
        write_blocks(*arguments)

    write_blocks = store.write_blocks
    monkeypatch.setattr(linecopy, "_runs", changing)
    monkeypatch.setattr(store, "write_blocks", write)
    write_table(table, tmp_path / "new.csv", before)
    assert fell_back == [True]
    write_table(table, tmp_path / "plain.csv")
    assert (tmp_path / "new.csv").read_bytes() == (tmp_path / "plain.csv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".tmp-")) == []


def test_without_the_old_file_all_is_written_anew(tmp_path: Path) -> None:
    rows = some_rows()
    before = written(tmp_path, rows)
    before.file.unlink()
    check_written(table_of(rows), before, tmp_path)
    assert stamp_of(before.file) is None
    assert old_rows(before.table, before.file, None) is None


def test_an_id_that_stands_twice_is_refused(tmp_path: Path) -> None:
    before = written(tmp_path, some_rows())
    ids = sorted([*some_rows(), "c/03"])
    columns = {name: packed_column([some_rows()[id_][name] for id_ in ids]) for name in ("label", "source", "sha256")}
    with pytest.raises(InvalidManifestError, match="'c/03' stands already"):
        write_table(table_of_columns(PackedStrings(ids), columns), tmp_path / "new.csv", before)


def test_a_pipe_is_neither_waited_for_nor_copied_from(tmp_path: Path) -> None:
    rows = some_rows()
    before = written(tmp_path, rows)
    before.file.unlink()
    os.mkfifo(before.file)
    assert stamp_of(before.file) is None
    check_written(table_of(rows), before, tmp_path)


@pytest.mark.parametrize(
    ("id_", "row", "kind"),
    [
        ("c/03", {"sha256": "none"}, "bad-sha256"),
        ("C/03", {}, "colliding-id"),
        ("c/../x", {}, "unsafe-id"),
        ("c/03.npy/x", {}, "path-under-file"),
        ("c/" + "x" * 252, {}, "unsafe-path"),
    ],
)
def test_rows_that_break_the_contract_are_refused(tmp_path: Path, id_: str, row: dict[str, str], kind: str) -> None:
    rows = some_rows()
    before = written(tmp_path, rows)
    rows[id_] = {**rows["c/03"], **row}
    found = []
    for rows_before in (None, before):
        with pytest.raises(InvalidManifestError) as caught:
            write_table(table_of(rows), tmp_path / "new.csv", rows_before)
        found.append(caught.value.problems)
    assert found[1] == found[0]
    assert found[0][0].kind == kind
    assert not (tmp_path / "new.csv").exists()
