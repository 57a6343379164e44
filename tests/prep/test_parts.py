"""Parts: what a build believes of one that was ended before it, and what it does not."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from manifests import durable
from manifests.names import default_path
from prep import parts
from prep.parts import PART_FOLDER, Done, count_done, read_parts, settle_parts, write_part
from prep.records import Record
from prep.shards import write_shard
from prep.workarea import WorkArea

PRINTS = {"a": "1", "b": "2", "tiled": "3"}


def written(target: Path, id_: str, *samples: str, value: float = 0.0) -> Done:
    """Write a record's shards."""
    shards = tuple(write_shard(sample, np.full(3, value), target / default_path(sample)) for sample in samples or (id_,))
    return Record(id=id_, source=f"{id_}.png"), shards


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Three records that are done, one of them with two samples."""
    folder = tmp_path / "build"
    done = [written(folder, "a"), written(folder, "b"), written(folder, "tiled", "tiled-0000", "tiled-0001")]
    write_part(folder, done, PRINTS)
    return folder


def the_part(target: Path) -> Path:
    [path] = (target / PART_FOLDER).iterdir()
    return path


def done_in(target: Path, fingerprints: Mapping[str, str] = PRINTS) -> set[str]:
    return set(read_parts(target, fingerprints).done)


def test_what_was_written_is_found_with_every_field(target: Path) -> None:
    found = read_parts(target, PRINTS)
    assert set(found.done) == {"a", "b", "tiled"}
    assert [shard.id for shard in found.done["tiled"]] == ["tiled-0000", "tiled-0001"]
    again = write_shard("a", np.zeros(3), target / "elsewhere.npy")
    assert found.done["a"] == (again,)
    assert (found.stale, found.damaged) == ([], [])
    assert json.loads(the_part(target).read_text().splitlines()[1])["source"] == "a.png"
    assert count_done(target) == 3


def test_a_record_counts_only_with_the_fingerprint_of_the_plan(target: Path) -> None:
    assert done_in(target, {"a": "1", "b": "other"}) == {"a"}


@pytest.mark.parametrize("sample", ["a", "tiled-0001"])
def test_a_record_counts_only_with_all_of_its_shards_in_full_size(sample: str, target: Path) -> None:
    path = target / default_path(sample)
    for spoil in (
        lambda: os.truncate(path, 100),
        path.unlink,
        lambda: path.symlink_to(target / default_path("b")),
        path.unlink,
        path.mkdir,
    ):
        spoil()
        assert done_in(target) == {"a", "b", "tiled"} - {sample.partition("-")[0]}


def change_line(line: int, change: Callable[[Any], Any]) -> Callable[[bytes], bytes]:
    """Return a forger, who knows how a part is sealed."""

    def forged(content: bytes) -> bytes:
        lines = content.decode().splitlines()[1:]
        lines[line] = json.dumps(change(json.loads(lines[line])))
        text = "".join(f"{line}\n" for line in lines)
        digest = parts.hashlib.sha256(text.encode()).hexdigest()
        return f"{json.dumps({'part': 1, 'records': len(lines), 'sha256': digest})}\n{text}".encode()

    return forged


def with_shard(**fields: Any) -> Callable[[bytes], bytes]:
    return change_line(0, lambda raw: raw | {"shards": [raw["shards"][0] | fields]})


UNTRUSTED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "pickled": lambda _: b"\x80\x04\x95",
    "cut short": lambda content: content[:-40],
    "a line short": lambda content: b"".join(content.splitlines(keepends=True)[:-1]),
    "a bit flipped": lambda content: content.replace(b'"1"', b'"3"'),
    "of another release": lambda content: content.replace(b'{"part": 1', b'{"part": 2'),
    "no object": lambda _: b"[1]\n",
    "deep": lambda _: b"[" * 100_000,
    "no UTF-8": lambda content: content + b"\xff\n",
    "id is a list": change_line(0, lambda raw: raw | {"id": ["a"]}),
    "fingerprint is a number": change_line(0, lambda raw: raw | {"fingerprint": 1}),
    "no shards": change_line(0, lambda raw: raw | {"shards": []}),
    "shard of another record": with_shard(id="b"),
    "shard outside": with_shard(id="../../a"),
    "dtype of objects": with_shard(dtype="object"),
    "shape is a number": with_shard(shape=3),
    "sha256 is short": with_shard(sha256="12"),
    "unknown field": with_shard(code="x"),
}


@pytest.mark.parametrize("kind", UNTRUSTED)
def test_a_part_that_no_build_has_written_is_left_aside_and_told(kind: str, target: Path, tmp_path: Path) -> None:
    path = the_part(target)
    path.write_bytes(UNTRUSTED[kind](path.read_bytes()))
    write_part(target, [written(target, "good")], {"good": "4"})
    notes: list[str] = []
    assert set(WorkArea(tmp_path, target).done_before(PRINTS | {"good": "4"}, notes.append)) == {"good"}
    assert [path.name in note for note in notes] == [True]
    assert not path.exists()
    assert [path.name for path in (target / "shards").iterdir()] == ["good.npy"]


def test_the_forger_of_these_tests_is_good_enough(target: Path) -> None:
    path = the_part(target)
    path.write_bytes(change_line(0, lambda raw: raw)(path.read_bytes()))
    assert done_in(target) == {"a", "b", "tiled"}


def test_a_part_that_is_a_pipe_does_not_hold_a_build_up(target: Path) -> None:
    os.mkfifo(target / PART_FOLDER / "x.jsonl")
    assert done_in(target) == {"a", "b", "tiled"}
    assert count_done(target) == 3


def test_a_part_is_not_believed_again_after_another_build_has_written_in_its_place(target: Path, tmp_path: Path) -> None:
    """Two builds with other options, each ended: the third, with those of the first, must not take the second's shard for the first's."""
    area = WorkArea(tmp_path, target)
    assert set(area.done_before(PRINTS | {"a": "new"})) == {"b", "tiled"}
    write_part(target, [written(target, "a", value=1.0)], {"a": "new"})
    assert set(area.done_before(PRINTS)) == {"b", "tiled"}


def test_settling_keeps_what_is_done_and_no_more(target: Path) -> None:
    old = the_part(target)
    settle_parts(target, read_parts(target, {"a": "1"}))
    assert not old.exists()
    assert done_in(target) == {"a"}
    assert count_done(target) == 1


def test_what_no_part_tells_of_is_removed_with_its_folders_and_nothing_behind_a_link(target: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "precious").touch()
    (target / "shards/deep/a.npy").mkdir(parents=True)
    (target / "shards/deep/a.npy/b.npy").touch()
    (target / "shards/link").symlink_to(mine)
    WorkArea(tmp_path, target).done_before(PRINTS)
    assert sorted(path.name for path in (target / "shards").iterdir()) == ["a.npy", "b.npy", "tiled-0000.npy", "tiled-0001.npy"]
    assert (mine / "precious").exists()


@pytest.mark.parametrize("name", ["shards", PART_FOLDER])
def test_a_link_in_the_place_of_a_folder_is_not_followed(name: str, tmp_path: Path) -> None:
    mine, target = tmp_path / "mine", tmp_path / "build"
    mine.mkdir()
    target.mkdir()
    (mine / "precious.jsonl").touch()
    (target / name).symlink_to(mine)
    assert WorkArea(tmp_path, target).done_before(PRINTS) == {}
    assert (mine / "precious.jsonl").exists()


def fails(*_: object) -> NoReturn:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_no_part_tells_of_shards_that_are_not_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = [written(tmp_path, "a")]
    monkeypatch.setattr(durable, "_syncfs", lambda: fails)
    with pytest.raises(OSError, match="Input/output"):
        write_part(tmp_path, done, PRINTS)
    assert list((tmp_path / PART_FOLDER).iterdir()) == []


def test_shards_are_flushed_before_the_part_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = [written(tmp_path, "a")]
    seen: list[list[str]] = []
    monkeypatch.setattr(parts, "sync_below", lambda *_: seen.append([path.suffix for path in (tmp_path / PART_FOLDER).iterdir()]))
    write_part(tmp_path, done, PRINTS)
    assert seen == [[""]]
    assert the_part(tmp_path).suffix == ".jsonl"


def test_a_part_says_all_that_is_known_of_a_shard(target: Path) -> None:
    [shard] = read_parts(target, PRINTS).done["a"]
    line = json.loads(the_part(target).read_text().splitlines()[1])
    assert line["shards"] == [asdict(shard)]
    assert replace(shard, id="x") != shard
