"""The journal: what a build believes of one that was ended before it, and what it does not."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pytest

from manifests.files import durable
from manifests.format.names import default_path
from manifests.rows.buffers import fixed, numbers
from prep.build.execute import journal
from prep.build.execute.journal import (
    PART_FOLDER,
    Done,
    count_done,
    due_rows,
    moment_data,
    read_moments,
    read_part,
    read_parts,
)
from prep.build.execute.shards import write_shard
from prep.build.stage.stage import WorkArea
from prep.build.state.fingerprints import print_array
from prep.build.state.moments import moments_of
from prep.build.state.sealed import UnsealedError, sealed_bytes
from prep.readers.images.header import ImageFacts, header_text
from prep.sources.items import Item, items_table

PRINTS = {"a": "1", "b": "2", "tiled": "3"}

HEADER = header_text(ImageFacts(height=5, width=7, gray=True, depth="uint16", alpha=False, animated=True))


def written(target: Path, id_: str, *samples: str, value: float = 0.0, header: str = "") -> Done:
    """Write an item's shards."""
    shards = tuple(write_shard(sample, np.full(3, value), target / default_path(sample)) for sample in samples or (id_,))
    return Item(id=id_, source=f"{id_}.png"), shards, header


def write_part(target: Path, done: list[Done], prints: Mapping[str, str]) -> pa.Table:
    """Write a part of a build to which items are due in the order of their names."""
    return journal.write_part(target, done, fingerprints=prints, positions={id_: position for position, id_ in enumerate(sorted(prints))})


def due(prints: Mapping[str, str]) -> pa.Table:
    ids = sorted(prints)
    return items_table(ids, ids).append_column("fingerprint", print_array(np.array([prints[id_] for id_ in ids], dtype="S32")))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Three items that are done, one of them with two samples."""
    folder = tmp_path / "build"
    done = [written(folder, "a", value=1.0, header=HEADER), written(folder, "b"), written(folder, "tiled", "tiled-0000", "tiled-0001")]
    write_part(folder, done, PRINTS)
    return folder


def the_part(target: Path) -> Path:
    [path] = (target / PART_FOLDER).iterdir()
    return path


def names(rows: pa.Table, prints: Mapping[str, str]) -> set[str]:
    """Return the items that are done."""
    return {sorted(prints)[position] for position in numbers(rows["position"], np.int64).tolist()}


def done_in(target: Path, prints: Mapping[str, str] = PRINTS) -> set[str]:
    """Return the items of which a look at the parts says that they are done."""
    is_done = np.zeros(len(prints), dtype=np.bool_)
    found: set[str] = set()
    for part in read_parts(target, []):
        rows, _ = due_rows(target, part, due(prints), is_done)
        found |= names(rows, prints)
    return found


def before(target: Path, prints: Mapping[str, str] = PRINTS, note: Callable[[str], object] = lambda _: None) -> set[str]:
    """Return the items that a build goes on from."""
    return names(going_on(target).done_before(due(prints), note).table(), prints)


def going_on(target: Path) -> WorkArea:
    """Return the work area of a build that comes after the one that has left the target."""
    left = target.rename(target.with_name("left"))
    target.mkdir()
    return WorkArea(target.parent, target, (left,))


def test_what_was_written_is_found_with_every_field(target: Path) -> None:
    done = going_on(target).done_before(due(PRINTS)).table()
    assert done.column_names == list(journal.WRITTEN)
    assert done["position"].to_pylist() == [0, 1, 2, 2]
    assert done["samples"].to_pylist() == [0, 0, 2, 2]
    each = [write_shard("x", np.full(3, value), target / "elsewhere.npy") for value in (1.0, 0.0, 0.0, 0.0)]
    assert [row.tobytes().hex() for row in fixed(done["sha256"])] == [shard.sha256 for shard in each]
    assert done["shape"].to_pylist() == ["3"] * 4
    assert done["dtype"].to_pylist() == ["float64"] * 4
    assert done["header"].to_pylist() == [HEADER, "", "", ""]
    moments = b"".join(moments_of(np.full(3, value)) for value in (1.0, 0.0, 0.0, 0.0))
    assert moment_data(read_part(the_part(target))["moments"]) == moments
    assert count_done(target) == 3


def test_what_a_worker_says_is_what_its_part_says(tmp_path: Path) -> None:
    target = tmp_path / "build"
    told = write_part(target, [written(target, "b", header=HEADER), written(target, "tiled", "tiled-0000")], PRINTS)
    found = going_on(target).done_before(due(PRINTS)).table()
    assert told.to_pylist() == found.to_pylist()


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


def test_an_item_of_which_two_parts_tell_counts_once(target: Path) -> None:
    more = PRINTS | {"new": "4"}
    write_part(target, [written(target, "b"), written(target, "new"), written(target, "tiled", "tiled-0000", "tiled-0001")], more)
    collected = going_on(target).done_before(due(more))
    assert len(collected) == 4
    assert collected.are_here(5).tolist() == [True] * 4 + [False]
    assert collected.table()["position"].to_pylist() == [0, 1, 2, 3, 3]
    assert count_done(target) == 4


@pytest.mark.parametrize("samples", [("tiled",), ("tiled-0000", "tiled-0001")])
def test_an_item_of_which_two_parts_tell_one_behind_the_other_counts_once(samples: tuple[str, ...], tmp_path: Path) -> None:
    target = tmp_path / "build"
    for header in ("", HEADER):
        write_part(target, [written(target, "tiled", *samples, header=header)], PRINTS)
    collected = going_on(target).done_before(due(PRINTS), spares_others=True)  # nothing that they tell of is let go
    assert collected.table()["position"].to_pylist() == [2] * len(samples)
    assert count_done(target) == 1


def with_columns(**columns: Any) -> Callable[[bytes], bytes]:
    """Return a forger who changes columns and knows how a part is sealed; a function is given what was there."""

    def forged(content: bytes) -> bytes:
        part = pa.ipc.open_file(pa.py_buffer(content[64:])).read_all()
        for name, value in columns.items():
            changed = value(part[name]) if callable(value) else pa.array(value).cast(part[name].type)
            part = part.set_column(part.column_names.index(name), name, changed)
        return sealed_bytes(part)

    return forged


def with_rows(change: Callable[[pa.Table], pa.Table]) -> Callable[[bytes], bytes]:
    return lambda content: sealed_bytes(change(pa.ipc.open_file(pa.py_buffer(content[64:])).read_all()))


def of_moments(*values: float) -> list[bytes]:
    """Return moments of four arrays of three channels, whose first numbers are others than they were."""
    fields = np.zeros((4, 18))
    fields.ravel()[: len(values)] = values
    return [row.tobytes() for row in fields]


def with_index_beyond(column: pa.ChunkedArray) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array([0, 0, 0, 9], pa.int32()), column.chunk(0).dictionary, safe=False)


def with_offsets_beyond(content: bytes) -> bytes:
    """Return a part whose seal is whole, and of which a text ends far behind the file."""
    offsets, beyond = np.array([0, 1, 2, 7, 12]).tobytes(), np.array([0, 1, 2, 7, 1 << 40]).tobytes()
    assert content.count(offsets) == 1
    changed = content[64:].replace(offsets, beyond)
    return content[:32] + hashlib.sha256(changed).digest() + changed


UNTRUSTED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "pickled": lambda _: b"\x80\x04\x95",
    "cut short": lambda content: content[:-40],
    "sealed nothing": lambda content: content[:64],
    "a bit flipped": lambda content: content[:300] + bytes([content[300] ^ 1]) + content[301:],
    "of another release": lambda content: content.replace(b"state 1", b"state 9", 1),
    "lines of an earlier release": lambda _: b'{"part": 1, "records": 1, "sha256": ""}\n{"id": "a", "shards": []}\n',
    "sealed without a footer": lambda content: sealed_bytes(pa.table({}))[:64] + content[64:-8],
    "another column": with_rows(lambda part: part.append_column("code", pa.array(["x"] * 4))),
    "a column short": with_rows(lambda part: part.drop_columns("sha256")),
    "a column of another type": with_rows(lambda part: part.set_column(1, "samples", part["samples"].cast(pa.int64()))),
    "no rows": with_rows(lambda part: part.slice(0, 0)),
    "an id is missing": with_columns(item=["a", "b", None, None]),
    "a dictionary's value is missing": with_columns(
        shape=lambda _: pa.DictionaryArray.from_arrays(pa.array([0] * 4, pa.int32()), pa.array([None], pa.string()))
    ),
    "an index beyond the dictionary": with_columns(dtype=with_index_beyond),
    "offsets beyond the data": with_offsets_beyond,
    "an id leads out": with_columns(item=["../../a", "b", "tiled", "tiled"]),
    "an id with a line end": with_columns(item=["a\nb", "b", "tiled", "tiled"]),
    "an id stands twice": with_columns(item=["a", "a", "tiled", "tiled"]),
    "an id stands apart": with_columns(item=["a", "b", "a", "tiled"], samples=[0, 0, 0, 0]),
    "an id whose samples have too long names": with_columns(item=["a", "b", "t" * 252, "t" * 252]),
    "numbers are negative": with_columns(samples=[0, -1, 2, 2]),
    "numbers are many": with_columns(samples=[0, 0, 10**9, 10**9]),
    "numbers of other samples": with_columns(samples=[0, 0, 3, 3]),
    "numbers of one item differ": with_columns(samples=[0, 0, 2, 1]),
    "a dtype of objects": with_columns(dtype=["object"] * 4),
    "a shape is none": with_columns(shape=["3x"] * 4),
    "a shape of other channels": with_columns(shape=["4"] * 4),
    "moments are long": with_columns(moments=[b"x" * 152, *[bytes(144)] * 3]),
    "moments are short": with_columns(moments=[bytes(96), bytes(192), *[bytes(144)] * 2]),
    "moments of no number": with_columns(moments=of_moments(np.nan)),
    "moments of fewer than none": with_columns(moments=of_moments(-1.0)),
    "moments beyond counting": with_columns(moments=of_moments(0.0, 1e300)),
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


def test_a_folder_that_is_called_as_a_part_is_none(target: Path) -> None:
    the_part(target).with_name("other.part").mkdir()
    assert before(target) == {"a", "b", "tiled"}


def test_a_shape_beyond_all_measure_is_that_of_no_file(target: Path) -> None:
    path = the_part(target)
    path.write_bytes(with_columns(shape=[f"{10**30}x3"] * 4)(path.read_bytes()))
    assert done_in(target) == set()


@pytest.mark.parametrize("forged", [with_columns(), with_columns(header=[HEADER] * 4, item=["a", "b", "tiled", "tiled"])])
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
def test_what_is_taken_over_is_told_of_by_a_part_and_no_more(target: Path, kept: dict[str, str]) -> None:
    old = the_part(target).name
    assert before(target, kept) == kept.keys()
    assert the_part(target).name != old
    assert done_in(target, kept) == done_in(target) == kept.keys()
    assert count_done(target) == len(kept)


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


@pytest.mark.parametrize("name", ["shards", PART_FOLDER, "arrays", "arrays/mask"])
def test_a_link_in_the_place_of_a_folder_is_not_followed(name: str, tmp_path: Path) -> None:
    mine, target = tmp_path / "mine", tmp_path / "build"
    mine.mkdir()
    (target / name).parent.mkdir(parents=True)
    (mine / "precious.part").touch()
    (mine / "link").symlink_to(mine / "precious.part")
    (target / name).symlink_to(mine)
    assert before(target) == set()
    assert (mine / "precious.part").exists()
    assert (mine / "link").is_symlink()


# Further arrays


def with_arrays(target: Path, id_: str, **arrays: Any) -> Done:
    """Write an item's shard, and files of further arrays."""
    item, [main], header = written(target, id_)
    further = {name: write_shard(id_, np.asarray(array), target / "arrays" / name / f"{id_}.npy") for name, array in arrays.items()}
    return item, (replace(main, arrays={name: replace(shard, moments=b"") for name, shard in further.items()}),), header


@pytest.fixture
def masked(tmp_path: Path) -> Path:
    """Two items that are done, told of by a part each: one has a mask, the other a mask and a depth; and one without any."""
    folder = tmp_path / "build"
    write_part(folder, [with_arrays(folder, "a", mask=np.ones((2, 2), bool))], PRINTS)
    write_part(folder, [with_arrays(folder, "b", mask=np.zeros(3, "uint8"), depth=np.float32(1.5)), written(folder, "tiled")], PRINTS)
    return folder


def test_further_arrays_are_found_with_every_field(masked: Path) -> None:
    work = going_on(masked)
    done = work.done_before(due(PRINTS)).table()
    further = [f"{name}.{field}" for name in ("depth", "mask") for field in ("shape", "dtype", "sha256")]
    assert done.column_names == [*journal.WRITTEN, *further]
    assert done["mask.shape"].to_pylist() == ["2x2", "3", ""]
    assert done["mask.dtype"].to_pylist() == ["bool", "uint8", ""]
    assert done["depth.shape"].to_pylist() == ["", "scalar", ""]
    digests = [hashlib.sha256((work.folder / path).read_bytes()).digest() for path in ("arrays/mask/a.npy", "arrays/mask/b.npy")]
    assert done["mask.sha256"].to_pylist() == [*digests, bytes(32)]
    assert sorted(path.relative_to(work.folder).as_posix() for path in (work.folder / "arrays").rglob("*.npy")) == [
        *("arrays/depth/b.npy", "arrays/mask/a.npy", "arrays/mask/b.npy")
    ]


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1])], ids=["missing", "short"])
def test_an_item_counts_only_with_all_of_its_arrays(masked: Path, damage: Callable[[Path], Any]) -> None:
    damage(masked / "arrays" / "depth" / "b.npy")
    assert done_in(masked) == {"a", "tiled"}


@pytest.mark.parametrize(
    "columns",
    [
        {"mask.dtype": ["object"]},
        {"mask.dtype": [""]},
        {"mask.shape": ["2x"]},
        {"mask.shape": [""]},
    ],
    ids=str,
)
def test_a_part_that_tells_of_impossible_arrays_is_left_aside(columns: dict[str, list[str]], tmp_path: Path) -> None:
    target = tmp_path / "build"
    write_part(target, [with_arrays(target, "a", mask=np.ones((2, 2), bool))], PRINTS)
    path = the_part(target)
    path.write_bytes(with_columns(**columns)(path.read_bytes()))
    with pytest.raises(UnsealedError):
        read_part(path)


@pytest.mark.parametrize("name", ["../x.shape", "Mask.shape", "mask.other"])
def test_a_part_with_columns_of_no_array_is_left_aside(name: str, tmp_path: Path) -> None:
    target = tmp_path / "build"
    write_part(target, [with_arrays(target, "a", mask=np.ones((2, 2), bool))], PRINTS)
    path = the_part(target)
    renamed = with_rows(lambda part: part.rename_columns([name if column == "mask.shape" else column for column in part.column_names]))
    path.write_bytes(renamed(path.read_bytes()))
    with pytest.raises(UnsealedError):
        read_part(path)


def test_a_part_under_another_name_is_written_under_its_own(target: Path) -> None:
    path = the_part(target)
    content = path.read_bytes()
    path.rename(path.with_name("x.part"))
    assert before(target) == {"a", "b", "tiled"}
    assert the_part(target).name == path.name
    assert path.read_bytes() == content


def test_moments_are_read_from_parts_that_are_as_they_were_and_no_others(target: Path) -> None:
    [table] = read_moments(target)
    assert table.column_names == ["sha256", "moments"]
    assert table["moments"].to_pylist() == [moments_of(np.full(3, value)) for value in (1.0, 0.0, 0.0, 0.0)]
    content = the_part(target).read_bytes()
    the_part(target).write_bytes(content[:-1] + b"?")
    with pytest.raises(UnsealedError, match="was changed"):
        list(read_moments(target))


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
    monkeypatch.setattr(journal, "sync_below", lambda *_: seen.append([path.suffix for path in (tmp_path / PART_FOLDER).iterdir()]))
    write_part(tmp_path, done, PRINTS)
    assert seen == [[""]]
    assert the_part(tmp_path).suffix == ".part"
