"""What ended builds have left, and work of theirs that goes on after the next build has begun."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from manifests.format.names import default_path
from manifests.storage.commitlog import STAGE_FOLDER
from prep.build.execute.journal import write_part
from prep.build.execute.shards import NewShard, write_shards
from prep.build.stage.leftovers import stages
from prep.build.stage.stage import WorkArea, work_area
from prep.build.state.fingerprints import print_array
from prep.errors import OutputError
from prep.sources.items import Item, items_table

PRINTS = {"cats/a": "1", "cats/b": "2", "dogs/c": "3"}


def due() -> pa.Table:
    prints = np.array([PRINTS[id_] for id_ in sorted(PRINTS)], dtype="S32")
    return items_table(sorted(PRINTS), sorted(PRINTS)).append_column("fingerprint", print_array(prints))


def do(stage: Path, id_: str, value: float = 0.0) -> None:
    """Write an item's shard and its part, as a worker does."""
    [shard] = write_shards([NewShard(id_, np.full(3, value), stage / default_path(id_), stage=stage)])
    write_part(stage, [(Item(id=id_, source=id_), (shard,), "")], fingerprints=PRINTS, positions=dict.fromkeys(PRINTS, 0))


def killed(out: Path, *ids: str) -> Path:
    """Leave what a build leaves that was killed after some items; return its stage, by the name under which its workers know it."""
    stage = out / f"{STAGE_FOLDER}-{'-'.join(ids).replace('/', '')}"
    stage.mkdir(parents=True)
    for id_ in ids:
        do(stage, id_)
    return stage


def done(area: WorkArea) -> set[str]:
    return {sorted(PRINTS)[position] for position in area.done_before(due()).table()["position"].to_pylist()}


def test_what_several_builds_have_done_is_taken_over_and_nothing_else_is_left(tmp_path: Path) -> None:
    """A build that is killed while it takes over leaves two stages."""
    killed(tmp_path, "cats/a")
    killed(tmp_path, "cats/a", "dogs/c")
    with work_area(tmp_path) as area:
        assert len(area.left) == 2
        assert done(area) == {"cats/a", "dogs/c"}
        assert sorted(path.name for path in area.folder.rglob("*.npy")) == ["a.npy", "c.npy"]
        assert stages(tmp_path) == [area.folder]
    assert stages(tmp_path) == []


def test_a_worker_of_a_killed_build_finds_nowhere_to_write_once_the_next_has_begun(tmp_path: Path) -> None:
    before = killed(tmp_path, "cats/a")
    with work_area(tmp_path) as area:
        with pytest.raises(FileNotFoundError):
            do(before, "cats/b", 7.0)
        assert done(area) == {"cats/a"}
        do(area.folder, "cats/b", 1.0)
        with pytest.raises(FileNotFoundError):
            do(before, "cats/b", 7.0)
        assert np.load(area.folder / default_path("cats/b")).tolist() == [1.0] * 3


def test_a_worker_that_has_a_shard_open_writes_into_none_of_the_next_build(tmp_path: Path) -> None:
    before = killed(tmp_path, "cats/a")
    with open(before / default_path("cats/b"), "wb") as half:
        half.write(b"half")
        with work_area(tmp_path) as area:
            assert done(area) == {"cats/a"}
            do(area.folder, "cats/b", 1.0)
            half.write(b"more")
            half.flush()
            assert np.load(area.folder / default_path("cats/b")).tolist() == [1.0] * 3


def test_so_does_a_worker_of_a_build_that_ended_by_an_error_and_did_not_wait(tmp_path: Path) -> None:
    with contextlib.suppress(ZeroDivisionError), work_area(tmp_path) as area:
        do(area.folder, "cats/a")
        raise ZeroDivisionError
    with pytest.raises(FileNotFoundError):
        do(area.folder, "cats/b")
    with work_area(tmp_path) as after:
        assert done(after) == {"cats/a"}


def test_nothing_is_taken_from_behind_a_link(tmp_path: Path) -> None:
    before = killed(tmp_path / "data", "cats/a")
    mine = (before / "shards/cats").rename(tmp_path / "mine")
    (before / "shards/cats").symlink_to(mine)
    with pytest.raises(OutputError, match=r"shards/cats: leads out of the dataset through a link"), work_area(tmp_path / "data") as area:
        done(area)
    assert [path.name for path in mine.iterdir()] == ["a.npy"]
