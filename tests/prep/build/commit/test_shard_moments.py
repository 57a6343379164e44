"""Moments come from where they are known, and are worked out where they are not; each shard counts as often as it has rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from manifests.format.names import default_path
from manifests.rows.table import rows_of
from prep.build.commit.shard_moments import MOMENTS_NAME, ShardMoments
from prep.build.execute.journal import write_part
from prep.build.execute.shards import WrittenShard, write_shard
from prep.build.stage.stage import WorkArea
from prep.build.state.moments import moments_of
from prep.build.state.sealed import read_sealed, sealed_bytes
from prep.errors import OutputError
from prep.parallel.executors import open_workers
from prep.progress.report import StderrReporter
from prep.sources.items import Item

VALUES = {"a": 1, "b": 2, "c": 1, "d": 4}
"""ID -> what fills its array: two are the same bytes."""


def array_of(id_: str) -> np.ndarray:
    return np.full((2, 3), VALUES[id_], np.uint8)


def put(root: Path, *ids: str) -> list[WrittenShard]:
    (root / ".prep").mkdir(parents=True, exist_ok=True)
    return [write_shard(id_, array_of(id_), root / default_path(id_)) for id_ in ids]


def rows(shards: list[WrittenShard]) -> pa.Table:
    return rows_of({name: [getattr(shard, name) for shard in shards] for name in ("id", "shape", "dtype", "sha256")})


def moments_with(root: Path, shards: list[WrittenShard], new: str, stage: str = "stage") -> ShardMoments:
    """Return the moments of a build that has written the new ones of these shards."""
    area = WorkArea(root, root / stage)
    area.folder.mkdir(exist_ok=True)
    done = [(Item(id=shard.id, source=shard.id), (shard,), "") for shard in shards if shard.id in new]
    ids = [item.id for item, _, _ in done]
    write_part(area.folder, done, fingerprints=dict.fromkeys(ids, "1"), positions={id_: number for number, id_ in enumerate(ids)})
    return ShardMoments(rows(shards), area, open_workers(1).__enter__(), new_rows=len(done))


def gathered(moments: ShardMoments, count: int) -> list[bytes] | None:
    """Return the moments of all rows, sorted."""
    found = moments.of_rows(np.ones(count, dtype=np.bool_), StderrReporter(bar=False))
    return None if found is None else sorted(one for column in found() for one in column.to_pylist())


def expected(*ids: str) -> list[bytes]:
    return sorted(moments_of(array_of(id_)) for id_ in ids)


def remembered(root: Path) -> list[str]:
    return [digest.hex() for digest in read_sealed(root / ".prep" / MOMENTS_NAME).read_all()["sha256"].to_pylist()]


@pytest.mark.parametrize("new", ["", "a", "ab", "abcd"])
@pytest.mark.parametrize("before", ["", "b", "cd"])
def test_each_row_has_its_moments_wherever_they_are(new: str, before: str, tmp_path: Path) -> None:
    shards = put(tmp_path, *VALUES)
    moments_with(tmp_path, shards, before, "earlier").keep()
    moments = moments_with(tmp_path, shards, new)
    assert gathered(moments, len(shards)) == expected(*VALUES)
    moments.keep()
    # Of shards that are the same bytes, one.
    assert sorted(remembered(tmp_path)) == sorted({shard.sha256 for shard in shards})


def test_only_the_moments_of_rows_are_remembered(tmp_path: Path) -> None:
    shards = put(tmp_path, *VALUES)
    moments_with(tmp_path, shards, "abcd", "earlier").keep()
    moments_with(tmp_path, shards[2:], "c").keep()
    assert sorted(remembered(tmp_path)) == sorted(shard.sha256 for shard in shards[2:])


def test_a_mask_says_whose_moments_are_needed(tmp_path: Path) -> None:
    shards = put(tmp_path, *VALUES)
    (tmp_path / default_path("d")).unlink()  # nobody needs it
    moments = moments_with(tmp_path, shards, "")
    found = moments.of_rows(np.array([True, True, True, False]), StderrReporter(bar=False))
    assert found is not None
    for _ in range(2):  # as often as it is called
        assert sorted(one for column in found() for one in column.to_pylist()) == expected("a", "b", "c")


def test_a_shard_that_is_not_what_its_row_says_leaves_the_statistics_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shards = put(tmp_path, *VALUES)
    (tmp_path / default_path("b")).write_bytes(b"")
    (tmp_path / default_path("d")).unlink()
    assert gathered(moments_with(tmp_path, shards, ""), len(shards)) is None
    assert "'shards/b.npy', 'shards/d.npy'" in capsys.readouterr().err


def test_a_damaged_memory_is_none(tmp_path: Path) -> None:
    shards = put(tmp_path, *VALUES)
    moments_with(tmp_path, shards, "abcd", "earlier").keep()
    path = tmp_path / ".prep" / MOMENTS_NAME
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert gathered(moments_with(tmp_path, shards, ""), len(shards)) == expected(*VALUES)


@pytest.mark.parametrize("moments", [b"", b"x" * 7, bytes(48), *(np.full(18, number).tobytes() for number in (np.nan, np.inf, -1.0))])
def test_moments_that_are_of_no_such_shard_are_worked_out(moments: bytes, tmp_path: Path) -> None:
    shards = put(tmp_path, *VALUES)
    moments_with(tmp_path, shards, "abcd", "earlier").keep()
    path = tmp_path / ".prep" / MOMENTS_NAME
    table = read_sealed(path).read_all()
    sealed = sealed_bytes(table.set_column(1, table.schema.field(1), pa.array([moments] * len(table), pa.large_binary())))
    path.unlink()
    path.write_bytes(sealed)
    assert gathered(moments_with(tmp_path, shards, ""), len(shards)) == expected(*VALUES)


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?")])
def test_a_part_that_is_gone_or_changed_ends_the_build(spoil: object, tmp_path: Path) -> None:
    shards = put(tmp_path, *VALUES)
    moments = moments_with(tmp_path, shards, "abcd")
    for part in (tmp_path / "stage" / "parts").iterdir():
        spoil(part)  # type: ignore[operator]
    with pytest.raises(OutputError, match="build again"):
        gathered(moments, len(shards))
