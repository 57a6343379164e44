"""The rows of a manifest by columns: the same as pandas has them, and where their shards are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests import table as table_module
from manifests.columns import packed_column
from manifests.strings import PackedStrings
from manifests.table import TableBuilder, table_of_columns, table_of_frame

VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=3) | st.sampled_from(["007", "NA", "", "a/b", "\r\n", '"', ","])


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    names = ["id", *draw(st.lists(st.sampled_from(["label", "path", "split", "my column"]), unique=True))]
    rows = draw(st.lists(st.tuples(*[VALUES for _ in names]), max_size=6))
    return pd.DataFrame(rows, columns=names, dtype=str)


@given(frames(), st.data())
def test_a_frame_comes_back(frame: pd.DataFrame, data: st.DataObject) -> None:
    table = table_of_frame(frame)
    assert len(table) == len(frame)
    pd.testing.assert_frame_equal(table.to_frame(), frame)
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(frame), max_size=len(frame))), dtype=bool)
    part = table.select(keep)
    pd.testing.assert_frame_equal(part.to_frame(), frame[keep].reset_index(drop=True))
    again = np.array(data.draw(st.lists(st.booleans(), min_size=len(part), max_size=len(part))), dtype=bool)
    pd.testing.assert_frame_equal(part.select(again).to_frame(), frame[keep][again].reset_index(drop=True))
    for name in frame.columns:
        assert [part.value(name, row) for row in range(len(part))] == list(frame.loc[keep, name])


@pytest.mark.parametrize("folder", ["shards", ""])
@pytest.mark.parametrize(
    ("paths", "kind"),
    [
        (None, "none"),
        (["", "", ""], "none"),
        (["shards/a.npy", "shards/b/c.npy", "shards/b/d.npy"], "default"),
        (["x.npy", "y/c.npy", "y/z/d.npy"], "own"),
        (["shards/a.npy", "shards/b/c.npy", "y.npy"], "own"),
        (["", "y/c.npy", ""], "mixed"),
    ],
)
@pytest.mark.parametrize("rows_in_a_block", [1, 2, 3])
def test_where_the_shards_are(
    monkeypatch: pytest.MonkeyPatch, folder: str, paths: list[str] | None, kind: str, rows_in_a_block: int
) -> None:
    monkeypatch.setattr(table_module, "_CHUNK_ROWS", rows_in_a_block)
    ids = ["a", "b/c", "b/d"]
    table = table_of_frame(pd.DataFrame({"id": ids} | ({} if paths is None else {"path": paths}), dtype=str))
    assert table.path_kind == kind
    expected = [path or f"{folder}/{id_}.npy".lstrip("/") for id_, path in zip(ids, paths or [""] * 3, strict=True)]
    for keep in ([True, True, True], [False, True, True], [True, False, False], [False, False, False]):
        files = table.select(np.array(keep)).files(folder)
        wanted = [path for path, kept in zip(expected, keep, strict=True) if kept]
        assert list(files.ids) == [id_ for id_, kept in zip(ids, keep, strict=True) if kept]
        assert list(files.paths) == wanted
        assert [files.folders.distinct[int(code)] for code in files.folders.codes] == [path.rpartition("/")[0] for path in wanted]


def test_many_paths_of_their_own_are_taken_as_they_are() -> None:
    builder = TableBuilder(["id", "path"])
    for column in builder._columns.values():
        column._few = 1
    builder.add({"id": list("abc"), "path": ["x/1.npy", "x/2.npy", "y/3.npy"]})
    files = builder.table().files("shards")
    assert list(files.paths) == ["x/1.npy", "x/2.npy", "y/3.npy"]
    assert list(files.folders.distinct) == ["x", "y"]
    assert files.folders.codes.tolist() == [0, 0, 1]


def test_a_table_without_rows() -> None:
    table = TableBuilder(["id", "path"]).table()
    assert len(table) == 0
    assert list(table.files("shards").paths) == []
    assert list(table.to_frame().columns) == ["id", "path"]


@given(frames(), st.data())
def test_columns_are_replaced_of_the_rows_that_are_selected(frame: pd.DataFrame, data: st.DataObject) -> None:
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(frame), max_size=len(frame))), dtype=bool)
    part = table_of_frame(frame).select(keep)
    new = [str(number) for number in range(len(part))]
    changed = part.with_columns({"label": packed_column(new), "more": packed_column(new)})
    expected = frame[keep].reset_index(drop=True).assign(label=new, more=new).astype(str)
    pd.testing.assert_frame_equal(changed.to_frame(), expected)
    pd.testing.assert_frame_equal(changed.without("more").to_frame(), expected.drop(columns="more"))
    assert list(changed.files("shards").paths) == list(part.files("shards").paths)
    rows = [row for block in changed.blocks(["id", "more"]) for row in zip(block["id"], block["more"], strict=True)]
    assert rows == list(zip(expected["id"], expected["more"], strict=True))


def test_rows_of_columns_have_the_default_paths() -> None:
    table = table_of_columns(PackedStrings(["a", "b/c"]), {"label": packed_column(["x", "y"])})
    expected = pd.DataFrame({"id": ["a", "b/c"], "path": ["shards/a.npy", "shards/b/c.npy"], "label": ["x", "y"]}, dtype=str)
    pd.testing.assert_frame_equal(table.to_frame(), expected)
    parsed = table_of_frame(expected)
    assert (table.path_kind, list(table.id_folders.distinct)) == (parsed.path_kind, list(parsed.id_folders.distinct))
