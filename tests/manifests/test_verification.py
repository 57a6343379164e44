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

from manifests import ArraySpec, Finding, Metadata, load_manifest, verify
from manifests.metadata import write_metadata

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
        (replace_by_link("NA.npy"), [], ["sha256"]),
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
    read: list[Path] = []
    module = sys.modules[verify.__module__]
    file_sha256 = module.file_sha256

    def counting(file: Path) -> str:
        read.append(file)
        return str(file_sha256(file))

    monkeypatch.setattr(module, "file_sha256", counting)
    assert check(data, threads=1) == [("shape", "b", "pack.npy"), ("damaged", "c", "pack.npy")]
    assert read == [path.resolve()], "a pack is read once, not once a row"
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
    monkeypatch.setattr(sys.modules[verify.__module__], "_CHUNK_ROWS", 3)
    write_text(data, "id\n" + "".join(f"i{n}\n" for n in range(rows)))
    steps: list[int] = []
    assert check(data, threads=threads, advance=steps.append) == [("missing", f"i{n}", f"i{n}.npy") for n in range(rows)]
    assert steps == [1] * rows


def test_a_shard_that_cannot_be_read_is_damaged_and_the_rest_is_still_verified(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hashlib.file_digest

    def failing(file: Any, name: str) -> Any:
        if file.name.endswith("007.npy"):
            raise OSError(5, "Input/output error")
        return digest(file, name)

    monkeypatch.setattr(hashlib, "file_digest", failing)
    (pets / "shards/null.npy").unlink()
    assert check(pets) == [("damaged", "007", "shards/007.npy"), ("missing", "null", "shards/null.npy")]
    assert check(pets, deep=False) == [("missing", "null", "shards/null.npy")]


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
