"""What happens to raw files between two builds, and what the second one makes of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import build, prep, set_age, snapshot, write_image, write_pets

from prep.readers.images import reader as images


def numbers(*arguments: str | Path) -> dict[str, int]:
    """Build and return what the summary counts, zeros left out."""
    summary: dict[str, Any] = build(*arguments, "--json").json
    return {name: count for name, count in summary.items() if isinstance(count, int) and count}


def dataset(out: Path) -> dict[str, str]:
    """Return the digests of a dataset's files, without the state of builds."""
    return {path: digest for path, digest in snapshot(out).items() if not path.startswith(".prep")}


@pytest.fixture
def aged(pets: Path) -> Path:
    """Pets whose files are all of one age, as after unpacking an archive."""
    for path in pets.rglob("*.*"):
        set_age(path, 1_000)
    return pets


def touch(raw: Path) -> None:
    set_age(raw / "cats/001.png", 2_000)


def change_unseen(raw: Path) -> None:
    """Change a file's content, but neither its size nor its time: another image of equal length."""
    path = raw / "cats/001.png"
    content = bytearray(path.read_bytes())
    path.write_bytes(bytes(content[:-1]) + bytes([content[-1] ^ 1]))
    set_age(path, 1_000)


def rename(raw: Path) -> None:
    (raw / "cats/001.png").rename(raw / "dogs/new.png")


def rename_in_case(raw: Path) -> None:
    (raw / "cats/001.png").rename(raw / "cats/tmp.png")
    (raw / "cats/tmp.png").rename(raw / "cats/A01.png")


def swap(raw: Path) -> None:
    one, other = raw / "cats/001.png", raw / "cats/002.png"
    one.rename(raw / "held")
    other.rename(one)
    (raw / "held").rename(other)


def make_a_link_of_a_folder(raw: Path) -> None:
    (raw / "cats").rename(raw.parent / "elsewhere")
    (raw / "cats").symlink_to(raw.parent / "elsewhere")


def copy(raw: Path) -> None:
    shutil.copy2(raw / "cats/001.png", raw / "cats/twin.png")


def rename_a_folder(raw: Path) -> None:
    (raw / "cats").rename(raw / "felines")


@pytest.mark.parametrize(
    ("change", "by_stat", "by_content"),
    [
        (touch, {"rebuilt": 1, "kept": 7}, {"kept": 8}),
        (change_unseen, {"kept": 8}, {"rebuilt": 1, "kept": 7}),
        (rename, {"added": 1, "kept": 7, "removed": 1}, {"moved": 1, "kept": 7, "removed": 1}),
        (rename_in_case, {"added": 1, "kept": 7, "removed": 1}, {"moved": 1, "kept": 7, "removed": 1}),
        (make_a_link_of_a_folder, {"kept": 8}, {"kept": 8}),
        (copy, {"found": 9, "added": 1, "kept": 8}, {"found": 9, "added": 1, "kept": 8}),
        (rename_a_folder, {"added": 4, "kept": 4, "removed": 4}, {"moved": 4, "kept": 4, "removed": 4}),
    ],
)
def test_what_a_build_makes_of_a_change(
    aged: Path, out: Path, change: Callable[[Path], None], by_stat: dict[str, int], by_content: dict[str, int]
) -> None:
    by_time, other = out / "stat", out / "content"
    out.mkdir()
    build(aged, by_time)
    build(aged, other, "--checksum")
    change(aged)
    assert numbers(aged, by_time, "--prune") == {"found": 8, **by_stat}
    assert numbers(aged, other, "--prune", "--checksum") == {"found": 8, **by_content}
    build(aged, out / "fresh", "--checksum")
    if change is not rename_a_folder:  # the classes that there were keep their index
        assert dataset(other) == dataset(out / "fresh")
    count = by_content.get("found", 8)
    assert numbers(aged, other, "--prune", "--checksum") == {"found": count, "kept": count}


def test_swapped_files_of_equal_size_and_time_are_told_apart_by_content(aged: Path, out: Path) -> None:
    build(aged, out, "--checksum")
    swap(aged)
    assert numbers(aged, out, "--checksum") == {"found": 8, "rebuilt": 2, "kept": 6}
    build(aged, out.parent / "fresh", "--checksum")
    assert dataset(out) == dataset(out.parent / "fresh")


def test_a_file_in_place_of_another_of_equal_size_and_time_is_no_move(aged: Path, out: Path) -> None:
    """Equal sizes and times are common after unpacking, so without digests a renamed file is built."""
    build(aged, out)
    content = (aged / "cats/001.png").read_bytes()
    (aged / "cats/001.png").unlink()
    (aged / "cats/other.png").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    set_age(aged / "cats/other.png", 1_000)
    assert numbers(aged, out, "--prune") == {"found": 8, "added": 1, "kept": 7, "removed": 1}


@pytest.mark.parametrize("forget", [False, True])
def test_checksums_can_be_switched_on_and_off(aged: Path, out: Path, forget: bool) -> None:
    build(aged, out)
    by_stat = dataset(out)
    for options, same in ((["--checksum"], False), (["--no-checksum"], True), (["--checksum"], False)):
        if forget:
            shutil.rmtree(out / ".prep")
        assert numbers(aged, out, *options) == {"found": 8, "kept": 8}
        assert (dataset(out) == by_stat) == same


def test_by_content_copies_of_other_ages_give_the_same_bytes(aged: Path, out: Path) -> None:
    build(aged, out, "--checksum")
    shutil.copytree(aged, aged.parent / "copy", copy_function=shutil.copy)
    build(aged.parent / "copy", out.parent / "other", "--checksum")
    assert dataset(out) == dataset(out.parent / "other")


def test_a_moved_shard_that_is_damaged_is_built(aged: Path, out: Path) -> None:
    build(aged, out, "--checksum")
    shard = out / "shards/cats/001.npy"
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    rename(aged)
    numbers(aged, out, "--prune", "--checksum")
    build(aged, out.parent / "fresh", "--checksum")
    assert dataset(out) == dataset(out.parent / "fresh")


def test_plan_tells_of_moves(aged: Path, out: Path) -> None:
    build(aged, out, "--checksum")
    rename(aged)
    assert prep("plan", aged, out, "--checksum", "--json").json["move"] == {"dogs/new": "cats/001"}
    assert "move     dogs/new: copied from cats/001" in prep("plan", aged, out, "--checksum").out


# Nothing to do


def test_an_unchanged_image_is_not_opened_again(aged: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(aged, out)
    opened: list[Path] = []
    survey = images.survey_image
    monkeypatch.setattr(images, "survey_image", lambda path: (opened.append(path), survey(path))[1])
    build(aged, out)
    assert opened == []
    write_image(aged / "cats/new.png")
    touch(aged)
    build(aged, out)
    assert sorted(path.name for path in opened) == ["001.png", "new.png"]


@pytest.mark.parametrize("damage", ["none", "garbage", "half", "gone"])
def test_what_is_remembered_can_go_at_any_time(aged: Path, out: Path, damage: str) -> None:
    build(aged, out)
    before = dataset(out)
    path = out / ".prep/state.arrow"
    if damage == "garbage":
        path.write_bytes(b"\xff" * 100)
    elif damage == "half":
        os.truncate(path, path.stat().st_size // 2)
    elif damage == "gone":
        shutil.rmtree(out / ".prep")
    assert numbers(aged, out) == {"found": 8, "kept": 8}
    assert dataset(out) == before


def times(out: Path) -> dict[str, tuple[int, int]]:
    return {name: ((status := (out / name).stat()).st_ino, status.st_mtime_ns) for name in ("manifest.csv", "dataset.json")}


def test_a_build_of_which_nothing_changed_writes_nothing(aged: Path, out: Path) -> None:
    build(aged, out, "--split", "train=0.5,val=0.5")
    before = times(out)
    assert numbers(aged, out) == {"found": 8, "kept": 8}
    assert times(out) == before


@pytest.mark.parametrize(
    ("arguments", "spoil"),
    [
        (["--split", "train=0.5,val=0.5"], ""),
        (["--split", "train=0.6,val=0.4", "--seed", "3"], ""),
        (["--checksum"], ""),
        ([], "manifest.csv"),
        ([], "dataset.json"),
    ],
)
def test_what_a_build_would_change_it_writes(aged: Path, out: Path, arguments: list[str], spoil: str) -> None:
    build(aged, out, "--split", "train=0.6,val=0.4")
    if spoil == "manifest.csv":
        (out / spoil).write_text((out / spoil).read_text().replace(",cats,", ",dogs,"))
    elif spoil:
        (out / spoil).write_text((out / spoil).read_text() + "\n")
    before = times(out)
    assert numbers(aged, out, *arguments) == {"found": 8, "kept": 8}
    assert times(out) != before
    assert [path.name for path in sorted((out / "shards/cats").iterdir())] == [f"00{number}.npy" for number in range(4)]


def test_another_label_in_the_table_is_written(tmp_path: Path, out: Path) -> None:
    raw = write_pets(tmp_path / "table")
    table = tmp_path / "labels.csv"
    table.write_text("id,label\ncats/000,a\ncats/001,b\n")
    build(raw, out, "--labels", table)
    table.write_text("id,label\ncats/000,a\ncats/001,a\n")
    assert numbers(raw, out, "--labels", table) == {"found": 2, "kept": 2}
    assert "cats/001,a," in (out / "manifest.csv").read_text()
