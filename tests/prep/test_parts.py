"""Parts: what a build believes of one that was ended before it, and what it does not."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from manifests import durable
from manifests.names import default_path
from manifests.strings import PackedStrings
from prep import parts
from prep.errors import OutputError
from prep.known import facts_row
from prep.moments import moments_of
from prep.parts import PART_FOLDER, Done, Due, count_done, read_moments, read_part, read_parts, settle_parts
from prep.records import Record
from prep.shards import write_shard
from prep.sources.facts import ImageFacts
from prep.workarea import WorkArea
from prep.written import Written

PRINTS = {"a": "1", "b": "2", "tiled": "3"}

HEADER = ImageFacts(height=5, width=7, gray=True, depth="uint16", alpha=False, animated=True)


def written(target: Path, id_: str, *samples: str, value: float = 0.0, facts: ImageFacts | None = None) -> Done:
    """Write a record's shards."""
    shards = tuple(write_shard(sample, np.full(3, value), target / default_path(sample)) for sample in samples or (id_,))
    return Record(id=id_, source=f"{id_}.png"), shards, facts


def write_part(target: Path, done: list[Done], prints: Mapping[str, str]) -> Written:
    """Write a part of a build to which records are due in the order of their names."""
    return parts.write_part(target, done, fingerprints=prints, positions={id_: position for position, id_ in enumerate(sorted(prints))})


def due(prints: Mapping[str, str]) -> Due:
    return Due(PackedStrings(sorted(prints)), np.array([prints[id_] for id_ in sorted(prints)], dtype="S32"))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Three records that are done, one of them with two samples."""
    folder = tmp_path / "build"
    done = [written(folder, "a", value=1.0, facts=HEADER), written(folder, "b"), written(folder, "tiled", "tiled-0000", "tiled-0001")]
    write_part(folder, done, PRINTS)
    return folder


def the_part(target: Path) -> Path:
    [path] = (target / PART_FOLDER).iterdir()
    return path


def names(done: list[Written], prints: Mapping[str, str]) -> set[str]:
    """Return the records that are done."""
    return set(due(prints).ids.take(Written.joined(done).positions))


def done_in(target: Path, prints: Mapping[str, str] = PRINTS) -> set[str]:
    """Return the records of which a look at the parts says that they are done."""
    found = read_parts(target, due(prints))
    return names(found.whole, prints) | {due(prints).ids[position] for _, at in found.kept.values() for position in at.tolist()}


def before(target: Path, prints: Mapping[str, str] = PRINTS, note: Callable[[str], object] = lambda _: None) -> set[str]:
    """Return the records that a build goes on from."""
    return names([WorkArea(target.parent, target).done_before(due(prints), note).joined()], prints)


def test_what_was_written_is_found_with_every_field(target: Path) -> None:
    found = read_parts(target, due(PRINTS))
    assert (found.kept, found.damaged) == ({}, [])
    [done] = found.whole
    assert done.positions.tolist() == [0, 1, 2]
    assert list(done.ids(due(PRINTS).ids)) == ["a", "b", "tiled-0000", "tiled-0001"]
    assert done.owners().tolist() == [0, 1, 2, 2]
    each = [write_shard("x", np.full(3, value), target / "elsewhere.npy") for value in (1.0, 0.0, 0.0, 0.0)]
    assert [row.tobytes().hex() for row in done.sha256s] == [shard.sha256 for shard in each]
    assert [done.shapes.distinct[code] for code in done.shapes.codes.tolist()] == ["3"] * 4
    assert [done.dtypes.distinct[code] for code in done.dtypes.codes.tolist()] == ["float64"] * 4
    assert [tuple(row) for row in done.facts[:1].tolist()] == [facts_row(HEADER)]
    assert done.facts["there"].tolist() == [True, False, False]
    assert read_part(the_part(target)).moments == b"".join(moments_of(np.full(3, value)) for value in (1.0, 0.0, 0.0, 0.0))
    assert count_done(target) == 3


def test_what_a_worker_says_is_what_its_part_says(tmp_path: Path) -> None:
    told = write_part(tmp_path, [written(tmp_path, "b", facts=HEADER), written(tmp_path, "tiled", "tiled-0000")], PRINTS)
    [found] = read_parts(tmp_path, due(PRINTS)).whole
    for name in ("positions", "numbers", "sha256s", "facts", "rows"):
        np.testing.assert_array_equal(getattr(told, name), getattr(found, name))
    assert told.parts == found.parts
    assert list(found.ids(due(PRINTS).ids)) == ["b", "tiled-0000"]


def test_a_record_counts_only_with_the_fingerprint_of_the_plan(target: Path) -> None:
    assert done_in(target, {"a": "1", "b": "other"}) == {"a"}
    assert done_in(target, {}) == set()


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


def test_a_record_of_which_two_parts_tell_counts_once(target: Path) -> None:
    write_part(target, [written(target, "b"), written(target, "new")], PRINTS | {"new": "4"})
    done = WorkArea(target.parent, target).done_before(due(PRINTS | {"new": "4"}))
    assert len(done) == 4
    assert done.are_here(5).tolist() == [True] * 4 + [False]
    assert done.joined().positions.tolist() == [0, 1, 2, 3]
    assert count_done(target) == 5


def sealed(text: bytes) -> bytes:
    """Return a part as a forger would make it, who knows how it is sealed."""
    records = len(json.loads(text.split(b"\n")[0])["ids"])
    header = {"part": 2, "records": records, "sha256": hashlib.sha256(text).hexdigest()}
    return json.dumps(header).encode() + b"\n" + text


def with_columns(**columns: Any) -> Callable[[bytes], bytes]:
    """Return a forger who changes columns; a function is given what was there."""

    def forged(content: bytes) -> bytes:
        _, line, moments = content.split(b"\n", 2)
        raw = json.loads(line)
        raw |= {name: value(raw[name]) if callable(value) else value for name, value in columns.items()}
        return sealed(json.dumps(raw).encode() + b"\n" + moments)

    return forged


def with_moments(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    def forged(content: bytes) -> bytes:
        _, line, moments = content.split(b"\n", 2)
        return sealed(line + b"\n" + change(moments))

    return forged


def of_moments(*values: float) -> bytes:
    """Return moments of four arrays of three channels, whose first numbers are others than they were."""
    fields = np.zeros((12, 6))
    fields.ravel()[: len(values)] = values
    return fields.tobytes()


FACTS = {name: [0] * 3 for name in ("height", "width", "gray", "depth", "alpha", "animated", "there")}

UNTRUSTED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "pickled": lambda _: b"\x80\x04\x95",
    "cut short": lambda content: content[:-40],
    "a line short": lambda content: content.split(b"\n", 1)[0] + b"\n",
    "a bit flipped": lambda content: content.replace(b'"1"', b'"3"'),
    "of an earlier release": lambda content: content.replace(b'{"part": 2', b'{"part": 1'),
    "lines of an earlier release": lambda _: b'{"part": 1, "records": 1, "sha256": ""}\n{"id": "a", "shards": []}\n',
    "no object": lambda _: b"[1]\n",
    "deep": lambda _: b"[" * 100_000,
    "deep behind the header": lambda content: content.splitlines(keepends=True)[0] + b"[" * 100_000 + b"\n\n",
    "no UTF-8": lambda content: content + b"\xff\n",
    "another column": with_columns(code="x"),
    "ids are a text": with_columns(ids="abt"),
    "an id is a list": with_columns(ids=[["a"], "b", "tiled"]),
    "an id is no text": with_columns(ids=["\ud800", "b", "tiled"]),
    "an id leads out": with_columns(ids=["../../a", "b", "tiled"]),
    "an id with a line end": with_columns(ids=["a\nb", "b", "tiled"]),
    "an id stands twice": with_columns(ids=["a", "a", "tiled"]),
    "an id whose samples have too long names": with_columns(ids=["a", "b", "t" * 252]),
    "no records": with_columns(ids=[], fingerprints=[], numbers=[], sha256s="", shapes=[[], []], dtypes=[[], []], facts={}),
    "a fingerprint is a number": with_columns(fingerprints=[1, "2", "3"]),
    "a fingerprint is no text": with_columns(fingerprints=["\ud800", "2", "3"]),
    "a fingerprint short": with_columns(fingerprints=["1", "2"]),
    "numbers are texts": with_columns(numbers=["0", "0", "2"]),
    "numbers are broken": with_columns(numbers=[0, 0.5, 2]),
    "numbers are negative": with_columns(numbers=[0, -1, 2]),
    "numbers are many": with_columns(numbers=[0, 0, 10**9]),
    "numbers are beyond all": with_columns(numbers=[0, 0, 10**30]),
    "numbers are nested": with_columns(numbers=[[0], [0], [2]]),
    "numbers are ragged": with_columns(numbers=[0, [0], 2]),
    "numbers of other samples": with_columns(numbers=[0, 0, 3]),
    "a dtype of objects": with_columns(dtypes=lambda raw: [["object"], raw[1]]),
    "a dtype of another size": with_columns(dtypes=lambda raw: [[7], raw[1]]),
    "a shape is a number": with_columns(shapes=lambda raw: [[3], raw[1]]),
    "a shape is none": with_columns(shapes=lambda raw: [["3x"], raw[1]]),
    "a shape of other channels": with_columns(shapes=lambda raw: [["4"], raw[1]]),
    "a shape without a row": with_columns(shapes=lambda raw: [raw[0], [0, 0, 0, 1]]),
    "shapes stand twice": with_columns(shapes=lambda raw: [["3", "3"], raw[1]]),
    "shapes are no pair": with_columns(shapes=7),
    "sha256s are short": with_columns(sha256s="12"),
    "sha256s are of other length": with_columns(sha256s=lambda raw: raw[:-2]),
    "sha256s have spaces": with_columns(sha256s=lambda raw: raw[:2] + " " + raw[2:]),
    "sha256s are shouted": with_columns(sha256s=lambda raw: raw.upper()),
    "facts are a list": with_columns(facts=[1]),
    "facts are others": with_columns(facts={"height": [1, 1, 1]}),
    "facts are short": with_columns(facts=FACTS | {"height": [1, 1]}),
    "facts of no depth": with_columns(facts=FACTS | {"depth": [9, 0, 0]}),
    "facts beyond measure": with_columns(facts=FACTS | {"width": [2**31, 0, 0]}),
    "facts are true": with_columns(facts=FACTS | {"gray": [True, False, True]}),
    "moments are long": with_moments(lambda moments: moments + b"\n"),
    "moments are short": with_moments(lambda moments: moments[:-8]),
    "moments of no number": with_moments(lambda _: of_moments(np.nan)),
    "moments of fewer than none": with_moments(lambda _: of_moments(-1.0)),
    "moments beyond counting": with_moments(lambda _: of_moments(0.0, 1e300)),
}


@pytest.mark.parametrize("kind", UNTRUSTED)
def test_a_part_that_no_build_has_written_is_left_aside_and_told(kind: str, target: Path) -> None:
    path = the_part(target)
    path.write_bytes(UNTRUSTED[kind](path.read_bytes()))
    write_part(target, [written(target, "good")], {"good": "4"})
    notes: list[str] = []
    assert before(target, PRINTS | {"good": "4"}, notes.append) == {"good"}
    assert [path.name in note for note in notes] == [True]
    assert not path.exists()
    assert [path.name for path in (target / "shards").iterdir()] == ["good.npy"]


def test_a_folder_that_is_called_as_a_part_is_left_alone(target: Path) -> None:
    folder = the_part(target).with_name("other.part")
    folder.mkdir()
    assert before(target) == {"a", "b", "tiled"}
    assert folder.is_dir()


def test_a_shape_beyond_all_measure_is_that_of_no_file(target: Path) -> None:
    path = the_part(target)
    path.write_bytes(with_columns(shapes=lambda raw: [[f"{10**30}x3"], raw[1]])(path.read_bytes()))
    assert done_in(target) == set()


@pytest.mark.parametrize("forged", [with_columns(), with_moments(lambda moments: moments), with_columns(facts=FACTS)])
def test_the_forger_of_these_tests_is_good_enough(forged: Callable[[bytes], bytes], target: Path) -> None:
    path = the_part(target)
    path.write_bytes(forged(path.read_bytes()))
    assert done_in(target) == {"a", "b", "tiled"}


def test_a_part_that_is_a_pipe_does_not_hold_a_build_up(target: Path) -> None:
    os.mkfifo(target / PART_FOLDER / "x.part")
    assert done_in(target) == {"a", "b", "tiled"}
    assert count_done(target) == 3


def test_a_part_is_not_believed_again_after_another_build_has_written_in_its_place(target: Path) -> None:
    """Two builds with other options, each ended: the third, with those of the first, must not take the second's shard for the first's."""
    assert before(target, PRINTS | {"a": "new"}) == {"b", "tiled"}
    write_part(target, [written(target, "a", value=1.0)], {"a": "new"})
    assert before(target) == {"b", "tiled"}


@pytest.mark.parametrize("kept", [{"a": "1"}, {"tiled": "3"}, {"a": "1", "tiled": "3"}])
def test_settling_keeps_what_is_done_and_no_more(target: Path, kept: dict[str, str]) -> None:
    old, whole = the_part(target), read_part(the_part(target))
    [done] = settle_parts(target, read_parts(target, due(kept)))
    assert not old.exists()
    assert names([done], kept) == done_in(target, kept) == done_in(target) == kept.keys()
    assert count_done(target) == len(kept)
    now = read_part(the_part(target))
    assert (f"{done.parts[0].digest[:32]}.part", done.parts[0].rows) == (the_part(target).name, len(now.sha256s))
    assert now.encode() == whole.select(np.array([whole.ids.index(id_) for id_ in kept])).encode()


def test_a_part_that_changes_while_it_is_settled_ends_the_build(target: Path) -> None:
    found = read_parts(target, due({"a": "1"}))
    the_part(target).write_bytes(b"")
    with pytest.raises(OSError, match="has changed"):
        settle_parts(target, found)


def test_what_no_part_tells_of_is_removed_with_its_folders_and_nothing_behind_a_link(target: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "precious").touch()
    (target / "shards/deep/a.npy").mkdir(parents=True)
    (target / "shards/deep/a.npy/b.npy").touch()
    (target / "shards/link").symlink_to(mine)
    before(target)
    assert sorted(path.name for path in (target / "shards").iterdir()) == ["a.npy", "b.npy", "tiled-0000.npy", "tiled-0001.npy"]
    assert (mine / "precious").exists()


@pytest.mark.parametrize("name", ["shards", PART_FOLDER])
def test_a_link_in_the_place_of_a_folder_is_not_followed(name: str, tmp_path: Path) -> None:
    mine, target = tmp_path / "mine", tmp_path / "build"
    mine.mkdir()
    target.mkdir()
    (mine / "precious.part").touch()
    (target / name).symlink_to(mine)
    assert before(target) == set()
    assert (mine / "precious.part").exists()


def test_parts_of_an_earlier_release_are_left_aside_and_told(target: Path) -> None:
    path = the_part(target)
    old = path.with_suffix(".jsonl")
    path.rename(old)
    old.write_bytes(UNTRUSTED["lines of an earlier release"](b""))
    notes: list[str] = []
    assert before(target, PRINTS, notes.append) == set()
    assert [old.name in note for note in notes] == [True]
    assert not old.exists()


def test_a_part_under_another_name_is_written_under_its_own(target: Path) -> None:
    path = the_part(target)
    content = path.read_bytes()
    path.rename(path.with_name("x.part"))
    assert before(target) == {"a", "b", "tiled"}
    assert the_part(target).name == path.name
    assert path.read_bytes() == content


def test_moments_are_read_from_a_part_that_is_as_it_was_and_no_other(target: Path) -> None:
    [done] = read_parts(target, due(PRINTS)).whole
    block, content = read_moments(target, done.parts[0]), read_part(the_part(target))
    np.testing.assert_array_equal(block.digests, content.sha256s)
    assert (block.moments, block.lengths.tolist()) == (content.moments, content.lengths().tolist())
    the_part(target).write_bytes(with_columns(facts={})(the_part(target).read_bytes()))
    with pytest.raises(OutputError, match="was changed"):
        read_moments(target, done.parts[0])
    the_part(target).unlink()
    with pytest.raises(OutputError, match="cannot be read"):
        read_moments(target, done.parts[0])


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
    assert the_part(tmp_path).suffix == ".part"
