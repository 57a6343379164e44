"""Where shards are: the same paths and folders whether or not they follow from the IDs, and whether or not the schema says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests import Manifest
from manifests.format.metadata import Metadata
from manifests.rows.paths import files_of, path_kind, with_layout
from manifests.rows.table import rows_of, strings

IDS = st.lists(st.text("aé.", min_size=1, max_size=2), min_size=1, max_size=3).map("/".join)


@given(st.lists(st.tuples(IDS, st.sampled_from(["", "default", "x.npy", "x/y.npy", "shards/z.npy"])), max_size=6), st.booleans(), st.data())
def test_files_are_where_each_row_says(pairs: list[tuple[str, str]], layout_is_known: bool, data: st.DataObject) -> None:
    rows = [(id_, f"shards/{id_}.npy" if path == "default" else path) for id_, path in pairs]
    table = rows_of({"id": [id_ for id_, _ in rows], "path": [path for _, path in rows]})
    table = with_layout(table) if layout_is_known else table
    keep = np.array([data.draw(st.booleans()) for _ in rows], dtype=np.bool_)
    manifest = Manifest(table, Path("/nowhere"), Metadata()).where(keep)
    kept = [row for row, stays in zip(rows, keep, strict=True) if stays]
    for folder in ("", "shards"):
        expected = [path or (f"{folder}/" if folder else "") + f"{id_}.npy" for id_, path in kept]
        files = files_of(manifest, table.schema, folder)
        found = [f"{files.prefix}{id_}.npy" for id_, _ in kept] if files.paths is None else strings(files.paths)
        assert found == expected
        assert strings(files.folders) == [path.rpartition("/")[0] for path in expected]


def test_no_rows_of_a_manifest_with_folders_have_none() -> None:
    table = with_layout(rows_of({"id": ["a/b"]}))
    files = files_of(table.slice(0, 0), table.schema, "")
    assert (strings(files.ids), strings(files.folders)) == ([], [])


@pytest.mark.parametrize(
    ("paths", "kind"),
    [
        (None, "none"),
        (["", ""], "none"),
        (["shards/a.npy", "shards/b/c.npy"], "default"),
        (["shards/a.npy", ""], "mixed"),
        (["shards/a.npy", "b.npy"], "own"),
    ],
)
def test_kinds_of_paths(paths: list[str] | None, kind: str) -> None:
    table = rows_of({"id": ["a", "b/c"]} | ({} if paths is None else {"path": paths}))
    for rows in (table, with_layout(table)):
        assert path_kind(rows, rows.schema) == kind


def test_paths_that_follow_from_the_ids_are_not_written_out() -> None:
    rows = rows_of({"id": ["a", "b"]})
    files = files_of(rows, rows.schema, "shards")
    assert (strings(files.ids), files.prefix, files.paths) == (["a", "b"], "shards/", None)
