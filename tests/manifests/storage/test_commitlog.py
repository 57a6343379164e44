"""The changeover: done as often as it takes, and refused where the record or the stage is not what a command has left."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from manifests import UnfinishedCommitError, load_manifest
from manifests.files.lock import locked
from manifests.format.names import default_path
from manifests.rows.table import string_column
from manifests.storage import commitlog
from manifests.storage.commit_record import Replaced
from manifests.storage.commitlog import RECORD, STAGE_FOLDER, begin_changeover, finish_changeover, finish_if_begun

OLD, NEW = "id,label\nold,x\n", "id,label\nnew,x\n"


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def lay_out(root: Path, *, old: str = "old", new: str = "new") -> Path:
    """Lay out a dataset with one shard, and in its stage one with another."""
    for folder, id_ in ((root, old), (root / STAGE_FOLDER, new)):
        put(folder / default_path(id_), id_)
        put(folder / "manifest.csv", f"id,label\n{id_},x\n")
        put(folder / "dataset.json", '{"schema_version": 1}')
    return root


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A dataset whose changeover was begun and not finished."""
    root = lay_out(tmp_path / "data")
    begin_changeover(root, added=["new"], removed=["old"], failures="none")
    return root


def files(root: Path) -> dict[str, str]:
    found = (path for path in root.rglob("*") if path.is_file() and ".prep" not in path.parts)
    return {path.relative_to(root).as_posix(): path.read_text() for path in found}


def check_finished(root: Path, id_: str) -> None:
    assert files(root) == {
        "manifest.csv": f"id,label\n{id_},x\n",
        "dataset.json": '{"schema_version": 1}',
        default_path(id_): id_,
    }
    assert not any(path.is_file() for path in (root / STAGE_FOLDER).rglob("*"))  # empty folders go with the next build


def test_before_the_record_the_old_state_holds(tmp_path: Path) -> None:
    root = lay_out(tmp_path / "data")
    assert load_manifest(root).ids == ["old"]
    assert files(root)[default_path("old")] == "old"


def test_a_folder_of_shards_that_leads_out_is_refused_before_the_record(tmp_path: Path) -> None:
    root = lay_out(tmp_path / "data", new="cats/new")
    (tmp_path / "theirs").mkdir()
    (root / "shards/cats").symlink_to(tmp_path / "theirs")
    with pytest.raises(OSError, match=r"through a link.*shards/cats"):
        begin_changeover(root, added=["cats/new"], removed=["old"], failures="none")
    assert load_manifest(root).ids == ["old"]


def test_whoever_loads_the_manifest_finishes_what_was_begun(begun: Path) -> None:
    assert load_manifest(begun / "manifest.csv").ids == ["new"]
    check_finished(begun, "new")


@pytest.mark.parametrize("name", ["manifest.csv", "commit.json"])
def test_nobody_waits_for_a_pipe_in_the_stage(begun: Path, name: str) -> None:
    (begun / STAGE_FOLDER / name).unlink()
    os.mkfifo(begun / STAGE_FOLDER / name)
    with pytest.raises(UnfinishedCommitError, match="regular file"):
        load_manifest(begun)


def test_all_is_on_the_disk_before_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = lay_out(tmp_path / "data")
    seen: list[bool] = []
    monkeypatch.setattr(commitlog, "sync_below", lambda *_: seen.append((root / RECORD).exists()))
    begin_changeover(root, added=["new"], removed=["old"], failures="none")
    finish_changeover(root)
    assert seen == [False, True]  # and what was renamed, before the record goes


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize(
    ("old", "new"), [("old", "new"), ("x", "x.npy/y"), ("x.npy/y", "x"), ("d/only", "e/only"), ("same", "same")], ids=str
)
def test_it_can_end_at_any_step_and_be_done_again(old: str, new: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 0
    for stop in range(1, 100):
        root = lay_out(tmp_path / str(stop), old=old, new=new)
        begin_changeover(root, added=[new], removed=[] if old == new else [old], failures="none")
        left = stop

        def stepped(function: Callable[..., Any]) -> Callable[..., Any]:
            def step(*arguments: Any, **options: Any) -> Any:
                nonlocal left
                left -= 1
                if left == 0:
                    raise Killed
                return function(*arguments, **options)

            return step

        with monkeypatch.context() as patch:
            for name in ("replace", "unlink", "rmdir", "mkdir"):
                patch.setattr(os, name, stepped(getattr(os, name)))
            try:
                finish_changeover(root)
            except Killed:
                steps += 1
        finish_if_begun(root)
        check_finished(root, new)
        if left > 0:
            break
    assert steps >= 5


def test_files_of_further_arrays_come_and_go_with_the_others(tmp_path: Path) -> None:
    root = lay_out(tmp_path / "data")
    put(root / "arrays/mask/old.npy", "old mask")
    put(root / "arrays/depth/old.npy", "old depth")
    put(root / STAGE_FOLDER / "arrays/mask/x/new.npy", "new mask")
    arrays = {"mask": changed(["x/new"], ["old"]), "depth": changed([], ["old"])}
    begin_changeover(root, added=["new"], removed=["old"], failures="none", arrays=arrays)
    assert load_manifest(root).ids == ["new"]
    assert files(root).keys() == {"manifest.csv", "dataset.json", default_path("new"), "arrays/mask/x/new.npy"}
    assert not (root / "arrays" / "depth").exists()


def changed(added: list[str], removed: list[str]) -> Replaced:
    return Replaced(added=string_column(added), removed=string_column(removed))


def test_what_made_room_for_a_new_shard_is_not_removed_once_that_has_come(tmp_path: Path) -> None:
    """A disk that takes `Cat` and `cat` for one has the new shard under the old name then."""
    root = lay_out(tmp_path / "data", old="Cat", new="cat")
    begin_changeover(root, added=["cat"], removed=["Cat"], failures="none")
    os.replace(root / STAGE_FOLDER / default_path("cat"), root / default_path("Cat"))
    os.link(root / default_path("Cat"), root / default_path("cat"))  # as such a disk would have it
    finish_changeover(root)
    assert (root / default_path("Cat")).exists()


def test_a_live_builder_is_waited_for_but_not_for_ever(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commitlog, "_PATIENCE_SECONDS", 0.0)
    with locked(begun / ".prep"), pytest.raises(UnfinishedCommitError, match="another prep command"):
        load_manifest(begun)
    assert load_manifest(begun).ids == ["new"]


def test_where_it_cannot_be_written_the_reader_is_told_what_to_do(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*paths: Path) -> None:
        raise PermissionError(13, "Permission denied", str(paths[0]))

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refused)
        with pytest.raises(UnfinishedCommitError, match=r"Permission denied.*run `prep verify` on it where it can be written"):
            load_manifest(begun)
    assert load_manifest(begun).ids == ["new"]


def edited(**fields: Any) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        (root / RECORD).write_text(json.dumps(json.loads((root / RECORD).read_text()) | fields))

    return edit


def as_pipe(root: Path) -> None:
    (root / RECORD).unlink()
    os.mkfifo(root / RECORD)


def as_link(root: Path) -> None:
    (root / RECORD).rename(root.parent / "record")
    (root / RECORD).symlink_to(root.parent / "record")


def shards_elsewhere(root: Path) -> None:
    (root / "shards").rename(root.parent / "mine")
    (root / "shards").symlink_to(root.parent / "mine")


def stage_elsewhere(root: Path) -> None:
    (root / STAGE_FOLDER).rename(root.parent / "stage")
    (root / STAGE_FOLDER).symlink_to(root.parent / "stage")


HOSTILE: dict[str, Callable[[Path], None]] = {
    "no JSON": lambda root: (root / RECORD).write_bytes(b"\x80\x04\x95"),
    "empty": lambda root: (root / RECORD).write_bytes(b""),
    "no object": lambda root: (root / RECORD).write_text("[]"),
    "deep": lambda root: (root / RECORD).write_text("[" * 100_000),
    "of another release": edited(version=2),
    "an unknown field": edited(run="rm"),
    "an ID that leaves": edited(removed=["../../precious"]),
    "an absolute ID": edited(removed=["/precious"]),
    "an ID that is no text": edited(added=[1]),
    "IDs that are no list": edited(removed="old"),
    "failures of another kind": edited(failures="all"),
    "a digest that is none": edited(manifest=1),
    "another manifest": edited(manifest="0" * 64),
    "a shard that is nowhere": edited(added=["new", "lost"]),
    "an array of another name": edited(arrays={"../mask": {"added": [], "removed": []}}),
    "an array's ID that leaves": edited(arrays={"mask": {"added": [], "removed": ["../../precious"]}}),
    "an array with another field": edited(arrays={"mask": {"added": [], "removed": [], "run": "rm"}}),
    "arrays that are a list": edited(arrays=["mask"]),
    "an array that is nowhere": edited(arrays={"mask": {"added": ["new"], "removed": []}}),
    "a pipe": as_pipe,
    "a link": as_link,
    "shards behind a link": shards_elsewhere,
    "a stage behind a link": stage_elsewhere,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_record_that_no_command_has_left_is_refused_before_anything_is_done(kind: str, begun: Path) -> None:
    HOSTILE[kind](begun)
    before = files(begun.parent)
    with pytest.raises(UnfinishedCommitError, match="build again"):
        load_manifest(begun)
    assert files(begun.parent) == before


def test_a_dataset_at_rest_costs_one_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commitlog, "locked", None)
    finish_if_begun(tmp_path)
    assert list(tmp_path.iterdir()) == []


def renames_of(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note what is renamed, files and folders."""
    moved: list[str] = []
    for name in ("rename", "replace"):
        call = getattr(os, name)
        monkeypatch.setattr(os, name, lambda source, target, call=call: (moved.append(os.path.basename(target)), call(source, target)))
    return moved


def test_a_folder_that_is_new_moves_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, ids = lay_out(tmp_path / "data", new="cats/000"), [f"cats/{number:03d}" for number in range(50)]
    for id_ in ids:
        put(root / STAGE_FOLDER / default_path(id_), id_)
    begin_changeover(root, added=ids, removed=[], failures="none")
    moved = renames_of(monkeypatch)
    finish_changeover(root)
    assert "cats" in moved
    assert not any(name.endswith(".npy") for name in moved)
    assert {default_path(id_): id_ for id_ in ["old", *ids]}.items() <= files(root).items()


def test_folders_are_told_apart_however_their_ids_are_sorted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sorted by code point, `a/b!` and `a/b0` have the folder `a/b` between them."""
    monkeypatch.setattr("manifests.rows.arrow.ROWS_AT_ONCE", 2)
    root, ids = lay_out(tmp_path / "data"), ["a/b!", "a/b/x", "a/b/y", "a/b0", "new"]
    for id_ in ids:
        put(root / STAGE_FOLDER / default_path(id_), id_)
    begin_changeover(root, added=ids, removed=["old"], failures="none")
    finish_changeover(root)
    assert files(root) == {
        "manifest.csv": "id,label\nnew,x\n",
        "dataset.json": '{"schema_version": 1}',
        **{default_path(id_): id_ for id_ in ids},
    }


@pytest.mark.parametrize(
    "obstacle", ["a shard that stays", "a shard that nobody wants", "a name that is no text", "one for another", "a folder below", "a link"]
)
def test_a_folder_that_is_not_new_or_not_whole_moves_file_by_file(tmp_path: Path, obstacle: str) -> None:
    root, ids = lay_out(tmp_path / "data", new="cats/000"), [f"cats/{number:03d}" for number in range(3)]
    for id_ in ids:
        put(root / STAGE_FOLDER / default_path(id_), id_)
    expected = {default_path(id_): id_ for id_ in ["old", *ids]}
    if obstacle == "a shard that stays":
        put(root / default_path("cats/stays"), "stays")
        expected[default_path("cats/stays")] = "stays"
    elif obstacle == "a shard that nobody wants":
        put(root / STAGE_FOLDER / default_path("cats/unwanted"), "unwanted")
    elif obstacle == "a name that is no text":
        put(root / STAGE_FOLDER / os.fsdecode(b"shards/cats/\xff"), "unwanted")
    elif obstacle == "one for another":  # as many as there should be, and one of them has taken its place before
        put(root / STAGE_FOLDER / default_path("cats/unwanted"), "unwanted")
        taken = root / STAGE_FOLDER / default_path(ids[0])
    elif obstacle == "a folder below":
        put(root / STAGE_FOLDER / default_path("cats/small/1"), "small")
        ids.append("cats/small/1")
        expected[default_path("cats/small/1")] = "small"
    else:
        (root / "shards" / "felines").mkdir()
        (root / "shards" / "cats").symlink_to(root / "shards" / "felines")
    begin_changeover(root, added=ids, removed=[], failures="none")
    if obstacle == "one for another":
        (root / "shards" / "cats").mkdir(exist_ok=True)
        taken.rename(root / default_path(ids[0]))
    finish_changeover(root)
    found = {path: text for path, text in files(root).items() if path.endswith(".npy") and "felines" not in path}
    assert found == expected or (obstacle == "a link" and {(root / default_path(id_)).read_text() for id_ in ids} == set(ids))
    assert (root / "shards" / "cats").is_symlink() == (obstacle == "a link")


def test_a_folder_that_has_moved_is_no_trouble_the_second_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, ids = lay_out(tmp_path / "data", new="cats/0"), ["cats/0", "cats/1", "dogs/0"]
    for id_ in ids:
        put(root / STAGE_FOLDER / default_path(id_), id_)
    begin_changeover(root, added=ids, removed=[], failures="none")
    with monkeypatch.context() as patch:
        patch.setattr(commitlog, "_take", lambda *_: (_ for _ in ()).throw(OSError("the power goes")))
        with pytest.raises(OSError, match="power"):
            finish_changeover(root)
    assert (root / default_path("cats/1")).exists()
    finish_changeover(root)
    assert {default_path(id_): id_ for id_ in ids}.items() <= files(root).items()
