"""Holding a dataset against the disk."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manifests import ArrayFileError, ArraySpec, Finding, Metadata, load_manifest, verify
from manifests.format import shardfacts
from manifests.format.metadata import write_metadata
from manifests.storage import open_ahead as openahead

WriteShard = Callable[[str, Any], Path]

Found = tuple[str, str | None, str]


def check(folder: Path, **options: Any) -> list[Found]:
    """Return (kind, id, path) of each finding."""
    return [(finding.kind, finding.id, finding.path) for finding in verify(load_manifest(folder), **options)]


def write_text(folder: Path, text: str) -> Path:
    (folder / "manifest.csv").write_text(text, encoding="utf-8")
    return folder


def flip_last_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_link(target: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return change


def rewrite(array: Any) -> Callable[[Path], None]:
    return lambda path: np.save(path, array)


@pytest.mark.parametrize("deep", [True, False])
def test_a_sound_dataset_has_no_findings(pets: Path, deep: bool) -> None:
    (pets / "dataset.json").write_text('{"schema_version": 1}')
    (pets / "failures.csv").write_text("id\n")
    (pets / ".prep" / "parts").mkdir(parents=True)
    (pets / ".prep" / "parts" / "x.npy").touch()
    (pets / "notes.txt").touch()
    assert check(pets, deep=deep) == []


@pytest.mark.parametrize(
    ("change", "quick", "deep"),
    [
        (Path.unlink, ["missing"], ["missing"]),
        (replace_by_folder, ["missing"], ["missing"]),
        (replace_by_link("nowhere.npy"), ["missing"], ["missing"]),
        (replace_by_link("NA.npy"), ["duplicate"], ["sha256", "duplicate"]),
        (replace_by_link("../../outside.npy"), ["outside"], ["outside"]),
        (lambda path: path.write_bytes(b""), ["damaged"], ["damaged"]),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), ["damaged"], ["damaged"]),
        (lambda path: path.write_bytes(path.read_bytes() + b"\0"), ["damaged"], ["damaged"]),
        (lambda path: path.write_bytes(b"\x89PNG" + bytes(200)), ["damaged"], ["damaged"]),
        (lambda path: np.save(path, np.array([None]), allow_pickle=True), ["damaged"], ["damaged"]),
        (flip_last_bit, [], ["sha256"]),
        (rewrite(np.zeros((3, 2), np.uint8)), ["shape"], ["shape", "sha256"]),
        (rewrite(np.zeros((2, 3, 1), np.uint8)), ["shape"], ["shape", "sha256"]),
        (rewrite(np.zeros((2, 3), np.int8)), ["dtype"], ["dtype", "sha256"]),
        (rewrite(np.zeros(6)), ["shape", "dtype"], ["shape", "dtype", "sha256"]),
    ],
    ids=[
        *("missing", "folder", "broken link", "other", "outside", "empty", "truncated", "longer"),
        *("image", "objects", "bit", "shape", "axes", "dtype", "both"),
    ],
)
def test_what_happened_to_a_shard(pets: Path, change: Callable[[Path], None], quick: list[str], deep: list[str]) -> None:
    np.save(pets.parent / "outside.npy", np.zeros((2, 3), np.uint8))
    change(pets / "shards/007.npy")
    for expected, options in ((quick, {"deep": False}), (deep, {"deep": True}), (deep, {})):
        assert check(pets, **options) == [(kind, "007", "shards/007.npy") for kind in expected]


def test_a_finding_says_what_was_expected_and_found(pets: Path) -> None:
    np.save(pets / "shards/007.npy", np.zeros((3, 2), np.float32))
    (pets / "shards/x.npy").touch()
    texts = list(map(str, verify(load_manifest(pets))))
    assert texts[:2] == [
        "shape: ID '007', shards/007.npy: expected 2x3, found 3x2",
        "dtype: ID '007', shards/007.npy: expected uint8, found float32",
    ]
    assert texts[2].startswith("sha256: ID '007', shards/007.npy: expected ")
    assert texts[3] == "extra: shards/x.npy: no row of the manifest names it"


def test_a_damaged_shard_is_named_once_by_its_path_in_the_dataset(pets: Path) -> None:
    path = pets / "shards/007.npy"
    path.write_bytes(path.read_bytes() + b"x")
    assert str(pets) not in str(verify(load_manifest(pets))[0])


def test_findings_are_in_the_order_of_the_rows_then_extra_files_by_path(pets: Path) -> None:
    for id_ in ("null", "1e5", "NA"):
        (pets / f"shards/{id_}.npy").unlink()
    for path in ("shards/z", "shards/cats/b.txt", "shards/.tmp-1", "top.npy", "other/deep/a.npy", "shards/.prep/a.npy"):
        (pets / path).parent.mkdir(parents=True, exist_ok=True)
        (pets / path).touch()
    expected: list[Found] = [("missing", id_, f"shards/{id_}.npy") for id_ in ("1e5", "NA", "null")]
    extra = ["top.npy", "other/deep/a.npy", "shards/.tmp-1", "shards/z", "shards/.prep/a.npy", "shards/cats/b.txt"]
    assert check(pets, threads=5) == expected + [("extra", None, path) for path in extra]


def test_what_the_row_does_not_say_dataset_json_says(data: Path, write_shard: WriteShard) -> None:
    for id_, array in {
        "a": np.zeros((2, 3)),
        "b": np.zeros((9, 3)),
        "c": np.zeros((2, 4)),
        "d": np.zeros(3),
        "e": np.zeros((2, 3), "u1"),
    }.items():
        write_shard(f"{id_}.npy", array)
    write_text(data, "id,shape,dtype\na,,\nb,,\nc,,\nd,,\ne,2x3,uint8\n")
    write_metadata(Metadata(array=ArraySpec(shape=(None, 3), dtype="float64")), data / "dataset.json")
    assert check(data) == [("shape", "c", "c.npy"), ("shape", "d", "d.npy")]
    write_metadata(Metadata(array=ArraySpec(shape=None, dtype="float32")), data / "dataset.json")
    assert check(data) == [("dtype", id_, f"{id_}.npy") for id_ in "abcd"]
    write_metadata(Metadata(array=ArraySpec(shape=None, dtype=None)), data / "dataset.json")
    assert check(data) == []


def test_a_hand_written_manifest_is_verified_as_far_as_it_says(data: Path, write_shard: WriteShard) -> None:
    write_shard("a.npy", np.zeros(3))
    write_shard("c.npy", np.zeros(3))
    assert check(write_text(data, "id,label\na,0\nb,1\n")) == [("missing", "b", "b.npy"), ("extra", None, "c.npy")]


def test_the_rows_of_a_pack(data: Path, write_shard: WriteShard, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_shard("pack.npy", np.zeros((2, 3), np.uint8))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    lines = ["id,path,row,shape,dtype,sha256"]
    lines += [f"{id_},pack.npy,{row},{shape},uint8,{digest}" for id_, row, shape in (("a", 0, "3"), ("b", 1, "2x3"), ("c", 2, "3"))]
    write_text(data, "\n".join(lines) + "\n")
    opened: list[str] = []
    open_file = os.open

    def counting(file: Any, *args: Any, **options: Any) -> int:
        opened.append(os.path.basename(file))
        return open_file(file, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", counting)
        patch.setattr(sys.modules[verify.__module__], "_TASK_ROWS", 1)
        assert check(data, threads=1) == [("shape", "b", "pack.npy"), ("damaged", "c", "pack.npy")]
    assert opened.count("pack.npy") == 1, "a pack is read once, not once a row"
    flip_last_bit(path)
    assert check(data) == [
        ("sha256", "a", "pack.npy"),
        ("shape", "b", "pack.npy"),
        ("sha256", "b", "pack.npy"),
        ("damaged", "c", "pack.npy"),
    ]


def test_a_pack_in_fortran_order_is_damaged(data: Path, write_shard: WriteShard) -> None:
    write_shard("pack.npy", np.asfortranarray(np.zeros((2, 3))))
    assert check(write_text(data, "id,path,row\na,pack.npy,0\n")) == [("damaged", "a", "pack.npy")]


def test_files_that_rows_reach_through_links_are_not_extra(data: Path, write_shard: WriteShard) -> None:
    write_shard("store/a.npy", np.zeros(1))
    write_shard("store/b.npy", np.zeros(1))
    write_shard("blobs/c.npy", np.zeros(1))
    (data / "shards").symlink_to("store")
    (data / "store/c.npy").symlink_to("../blobs/c.npy")
    assert check(write_text(data, "id\na\nc\n")) == [("extra", None, "store/b.npy")]


def test_shards_behind_a_link_out_of_the_dataset_are_outside(pets: Path) -> None:
    shutil.move(pets / "shards", pets.parent / "elsewhere")
    (pets / "shards").symlink_to("../elsewhere")
    assert {kind for kind, _, _ in check(pets)} == {"outside"}


def test_of_a_part_the_other_rows_files_are_extra(pets: Path) -> None:
    findings = verify(load_manifest(pets).split("val"))
    assert [finding.kind for finding in findings] == ["extra"] * 4


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 4, 7])
@pytest.mark.parametrize("threads", [1, 3])
def test_progress_counts_every_row_once(data: Path, monkeypatch: pytest.MonkeyPatch, rows: int, threads: int) -> None:
    monkeypatch.setattr(sys.modules[verify.__module__], "_TASK_ROWS", 3)
    write_text(data, "id\n" + "".join(f"i{n}\n" for n in range(rows)))
    steps: list[int] = []
    assert check(data, threads=threads, advance=steps.append) == [("missing", f"i{n}", f"i{n}.npy") for n in range(rows)]
    assert sum(steps) == rows
    assert len(steps) == -(-rows // 3)


def test_a_shard_that_cannot_be_read_is_damaged_and_the_rest_is_still_verified(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = os.read
    bad = os.stat(pets / "shards/007.npy").st_ino

    def failing(file: int, size: int) -> bytes:
        if os.fstat(file).st_ino == bad:
            raise OSError(5, "Input/output error")
        return read(file, size)

    monkeypatch.setattr(os, "read", failing)
    (pets / "shards/null.npy").unlink()
    assert check(pets) == [("damaged", "007", "shards/007.npy"), ("missing", "null", "shards/null.npy")]
    assert "Input/output error" in str(verify(load_manifest(pets))[0])


def test_a_folder_that_cannot_be_listed_is_an_error(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refusing(path: Any) -> Any:
        if str(path).endswith("cats"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(PermissionError, match="cats"):
        verify(load_manifest(pets))


def test_a_relative_root(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (pets / ".prep").mkdir()
    (pets / ".prep/x.npy").touch()
    (pets / "shards/extra.npy").touch()
    monkeypatch.chdir(pets)
    assert check(Path("manifest.csv")) == check(Path()) == [("extra", None, "shards/extra.npy")]


def test_a_finding_can_be_compared_and_kept() -> None:
    finding = Finding(kind="missing", path="a.npy", id="a", message="no such file")
    assert finding == Finding(kind="missing", path="a.npy", id="a", message="no such file")
    assert len({finding, finding}) == 1


# Every way in which a file can be another


FILE_BYTES = 128 + 6
"""Of a shard of `pets`: NumPy's header and six values."""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(id_=st.sampled_from(["007", "cats/001", "été"]), bit=st.integers(0, FILE_BYTES * 8 - 1))
def test_any_single_flipped_bit_is_found_and_no_other_shard_is_blamed(pets: Path, id_: str, bit: int) -> None:
    path = pets / f"shards/{id_}.npy"
    sound = path.read_bytes()
    assert len(sound) == FILE_BYTES
    content = bytearray(sound)
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    try:
        assert {found for _, found, _ in check(pets)} == {id_}
    finally:
        path.write_bytes(sound)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(0, 3 * FILE_BYTES).filter(lambda size: size != FILE_BYTES), deep=st.booleans())
def test_any_other_length_is_found_even_by_a_quick_look(pets: Path, size: int, deep: bool) -> None:
    path = pets / "shards/007.npy"
    sound = path.read_bytes()
    path.write_bytes((sound * 3)[:size])
    try:
        assert check(pets, deep=deep) == [("damaged", "007", "shards/007.npy")]
    finally:
        path.write_bytes(sound)


def test_two_shards_that_have_changed_places_are_both_found(pets: Path) -> None:
    a, b = pets / "shards/007.npy", pets / "shards/null.npy"
    a.rename(pets / "aside")
    b.rename(a)
    (pets / "aside").rename(b)
    assert check(pets) == [("sha256", "007", "shards/007.npy"), ("sha256", "null", "shards/null.npy")]
    assert check(pets, deep=False) == []


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_what_is_read_in_several_blocks_is_hashed_whole(pets: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    for block in (FILE_BYTES // size, FILE_BYTES // size + 1, FILE_BYTES, FILE_BYTES + 1):
        # At least a header's length, which comes in the first block.
        monkeypatch.setattr(shardfacts, "_BLOCK_BYTES", max(block, 16))
        assert check(pets) == []
    flip_last_bit(pets / "shards/007.npy")
    assert check(pets) == [("sha256", "007", "shards/007.npy")]


@pytest.mark.parametrize("ahead", [0, 1, 2, 100])
def test_files_are_closed_again_however_many_are_opened_ahead(pets: Path, monkeypatch: pytest.MonkeyPatch, ahead: int) -> None:
    monkeypatch.setattr(openahead, "_FILES_AHEAD", ahead)
    (pets / "shards/1e5.npy").unlink()
    replace_by_folder(pets / "shards/NA.npy")
    before = len(os.listdir("/proc/self/fd"))
    assert [id_ for _, id_, _ in check(pets)] == ["1e5", "NA"]
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_header_longer_than_the_first_look_is_read_whole(data: Path, write_shard: WriteShard) -> None:
    content = write_shard("a.npy", np.arange(3, dtype=np.uint8)).read_bytes()
    header = content[10:-3].rstrip().ljust(9000 - 1) + b"\n"
    (data / "a.npy").write_bytes(content[:8] + len(header).to_bytes(2, "little") + header + content[-3:])
    assert np.load(data / "a.npy").tolist() == [0, 1, 2]
    for deep in (True, False):
        assert check(write_text(data, "id,shape,dtype\na,3,uint8\n"), deep=deep) == []


def test_rows_without_sha256_are_still_read_to_their_end(data: Path, write_shard: WriteShard, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shard("a.npy", np.zeros(100))
    monkeypatch.setattr(shardfacts, "_BLOCK_BYTES", 256)

    def failing(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "readv", failing)
    assert check(write_text(data, "id\na\n")) == [("damaged", "a", "a.npy")]
    assert check(data, deep=False) == []


@pytest.mark.parametrize("more", [-1, 1])
def test_a_file_that_changes_its_size_while_it_is_read_is_told_as_such(pets: Path, more: int) -> None:
    path = pets / "shards/007.npy"
    os.truncate(path, FILE_BYTES + more)
    with path.open("rb") as file, pytest.raises(ArrayFileError, match=f"changed while it was read: expected {FILE_BYTES} bytes"):
        shardfacts.read_shard(file.fileno(), FILE_BYTES, deep=True)


def test_a_hostile_array_is_never_unpickled(pets: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, tuple[Path]]:
            return Path.touch, (tmp_path / "unpickled",)

    np.save(pets / "shards/007.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    assert check(pets) == [("damaged", "007", "shards/007.npy")]
    assert not (tmp_path / "unpickled").exists()


def test_a_pipe_is_no_shard_and_is_not_waited_for(pets: Path) -> None:
    (pets / "shards/007.npy").unlink()
    os.mkfifo(pets / "shards/007.npy")
    assert check(pets) == [("missing", "007", "shards/007.npy")]


# Links


@pytest.mark.parametrize(("target", "link"), [("007", "null"), ("null", "007")])
@pytest.mark.parametrize("make", [os.link, lambda source, path: os.symlink(os.path.basename(source), path)], ids=["hard", "symbolic"])
def test_two_ids_that_share_a_file_are_found_at_a_quick_look(pets: Path, make: Callable[..., None], target: str, link: str) -> None:
    (pets / f"shards/{link}.npy").unlink()
    make(pets / f"shards/{target}.npy", pets / f"shards/{link}.npy")
    blamed = link if make is not os.link else "null"  # of hard links, no one is the first; the row that comes later is told
    assert check(pets, deep=False) == [("duplicate", blamed, f"shards/{blamed}.npy")]


def test_hard_links_out_of_the_dataset_are_good_to_know_and_no_problem(pets: Path) -> None:
    for number in range(2):
        os.link(pets / "shards/007.npy", pets.parent / f"elsewhere-{number}.npy")
    findings = verify(load_manifest(pets))
    assert [(finding.kind, finding.id, finding.is_problem) for finding in findings] == [("linked", "007", False)]
    assert "2 more names" in findings[0].message


def test_a_hard_link_within_the_dataset_is_an_extra_file(pets: Path) -> None:
    os.link(pets / "shards/007.npy", pets / "shards/copy.npy")
    assert check(pets) == [("linked", "007", "shards/007.npy"), ("extra", None, "shards/copy.npy")]


def test_a_folder_reached_by_two_names_makes_duplicates(pets: Path) -> None:
    (pets / "shards/dogs").symlink_to("cats")
    rows = (pets / "manifest.csv").read_text().splitlines()
    rows.insert(5, next(row for row in rows if row.startswith("cats/001")).replace("cats/001", "dogs/001"))
    write_text(pets, "\n".join(rows) + "\n")
    assert check(pets) == [("duplicate", "dogs/001", "shards/dogs/001.npy")]


def test_a_linked_folder_that_no_row_goes_through_is_extra(pets: Path) -> None:
    (pets.parent / "elsewhere").mkdir()
    (pets / "shards/more").symlink_to("../../elsewhere")
    assert check(pets) == [("extra", None, "shards/more")]
