"""Moments come from where they are known, and are worked out where they are not; each shard counts as often as it has rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from manifests.columns import packed_column
from manifests.names import default_path
from manifests.strings import PackedStrings
from manifests.table import Table, table_of_columns
from prep.errors import OutputError
from prep.executors import open_workers
from prep.moments import moments_of
from prep.momentstore import StoredMoments
from prep.parts import write_part
from prep.records import Record
from prep.report import StderrReporter
from prep.shardmoments import ShardMoments
from prep.shards import WrittenShard, write_shard
from prep.written import Written

VALUES = {"a": 1, "b": 2, "c": 1, "d": 4}
"""ID -> what fills its array: two are the same bytes."""


def array_of(id_: str) -> np.ndarray:
    return np.full((2, 3), VALUES[id_], np.uint8)


def put(root: Path, *ids: str) -> list[WrittenShard]:
    return [write_shard(id_, array_of(id_), root / default_path(id_)) for id_ in ids]


def table_of(shards: list[WrittenShard]) -> Table:
    return table_of_columns(PackedStrings(shard.id for shard in shards), {"sha256": packed_column([shard.sha256 for shard in shards])})


def part_of(root: Path, shards: list[WrittenShard]) -> Written:
    done = [(Record(id=shard.id, source=shard.id), (shard,), None) for shard in shards]
    ids = [shard.id for shard in shards]
    return write_part(root / "stage", done, fingerprints=dict.fromkeys(ids, ""), positions={id_: number for number, id_ in enumerate(ids)})


def gathered(moments: ShardMoments, table: Table) -> list[bytes] | None:
    """Return the moments of all rows, in their order."""
    blocks = moments.of_rows(table, StderrReporter(bar=False))
    if blocks is None:
        return None
    size = len(moments_of(array_of("a")))
    return sorted(block.moments[start : start + size] for block in blocks() for start in range(0, len(block.moments), size))


def expected(*ids: str) -> list[bytes]:
    return sorted(moments_of(array_of(id_)) for id_ in ids)


@pytest.mark.parametrize("new", ["", "a", "ab", "abcd"])
@pytest.mark.parametrize("remembered", ["", "b", "cd"])
def test_each_row_has_its_moments_wherever_they_are(new: str, remembered: str, tmp_path: Path) -> None:
    (tmp_path / ".prep").mkdir()
    shards = put(tmp_path, *VALUES)
    by_id = {shard.id: shard for shard in shards}
    with open_workers(1) as workers:
        before = ShardMoments(part_of(tmp_path, [by_id[id_] for id_ in remembered]), tmp_path / "stage", tmp_path, workers)
        before.remember(table_of(shards))
        moments = ShardMoments(part_of(tmp_path, [by_id[id_] for id_ in new]), tmp_path / "stage", tmp_path, workers)
        assert gathered(moments, table_of(shards)) == expected(*VALUES)
        moments.remember(table_of(shards[1:]))
    stored = StoredMoments(tmp_path / ".prep")
    assert {row.tobytes().hex() for row in stored.digests} == {shard.sha256 for shard in shards[1:]}
    assert len(stored.digests) == 3  # of shards that are the same bytes, one


def test_what_is_remembered_does_not_depend_on_where_it_came_from(tmp_path: Path) -> None:
    contents = set()
    for new in ("", "bd", "abcd"):
        root = tmp_path / f"data-{new}"
        (root / ".prep").mkdir(parents=True)
        shards = put(root, *VALUES)
        with open_workers(1) as workers:
            moments = ShardMoments(part_of(root, [shard for shard in shards if shard.id in new]), root / "stage", root, workers)
            assert gathered(moments, table_of(shards)) == expected(*VALUES)
            moments.remember(table_of(shards))
        contents.add((root / ".prep" / "moments").read_bytes())
    assert len(contents) == 1


def test_a_shard_that_is_not_what_its_row_says_leaves_the_statistics_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shards = put(tmp_path, *VALUES)
    (tmp_path / default_path("b")).write_bytes(b"")
    (tmp_path / default_path("d")).unlink()
    with open_workers(1) as workers:
        moments = ShardMoments(Written.nothing(), tmp_path / "stage", tmp_path, workers)
        assert gathered(moments, table_of(shards)) is None
    assert "'shards/b.npy', 'shards/d.npy'" in capsys.readouterr().err


def test_a_part_that_is_gone_ends_the_build(tmp_path: Path) -> None:
    shards = put(tmp_path, *VALUES)
    written = part_of(tmp_path, shards)
    for part in (tmp_path / "stage" / "parts").iterdir():
        part.unlink()
    with open_workers(1) as workers, pytest.raises(OutputError, match="build again"):
        gathered(ShardMoments(written, tmp_path / "stage", tmp_path, workers), table_of(shards))
