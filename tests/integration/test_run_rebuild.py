"""Building again: only what changed is built, and nothing that should stay moves."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import STATE_FOLDER, build, check_refused, prep, set_age, snapshot, write_array, write_image, write_pets

from manifests import load_manifest, write_manifest
from prep import SilentReporter, build_shards


def numbers(*arguments: str | Path) -> dict[str, int]:
    """Build and return what the summary counts, zeros left out."""
    summary: dict[str, Any] = build(*arguments, "--json").json
    return {name: count for name, count in summary.items() if isinstance(count, int) and count}


def ages(out: Path) -> dict[str, int]:
    return {path.relative_to(out).as_posix(): path.stat().st_mtime_ns for path in (out / "shards").rglob("*.npy")}


@pytest.fixture
def aged(pets: Path) -> Path:
    """Pets whose files are all of one age."""
    for path in pets.rglob("*.*"):
        set_age(path, 1_000)
    return pets


def test_building_again_changes_no_byte_and_touches_no_shard(aged: Path, out: Path) -> None:
    assert numbers(aged, out) == {"found": 8, "added": 8}
    before, times = snapshot(out), ages(out)
    assert numbers(aged, out) == {"found": 8, "kept": 8}
    assert (snapshot(out), ages(out)) == (before, times)


def test_a_touched_file_is_built_again_and_no_other(aged: Path, out: Path) -> None:
    build(aged, out)
    before, times = snapshot(out), ages(out)
    set_age(aged / "cats" / "001.png", 2_000)
    assert numbers(aged, out) == {"found": 8, "rebuilt": 1, "kept": 7}
    changed = {path for path, time in ages(out).items() if time != times[path]}
    assert changed == {"shards/cats/001.npy"}
    assert {path for path, digest in snapshot(out).items() if before[path] != digest} == {"manifest.csv"}  # its fingerprint


def test_a_changed_file_of_a_row_told_by_size_and_time_is_read_once(aged: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_shards(aged, out, report=SilentReporter())
    set_age(aged / "cats" / "001.png", 2_000)
    monkeypatch.setattr("prep.build.plan.prepare.read_contents", lambda *_: pytest.fail("a file is read only to be read again"))
    assert build_shards(aged, out, report=SilentReporter()).rebuilt == 1


def test_that_of_a_row_told_by_content_is_looked_into_first(aged: Path, out: Path) -> None:
    build(aged, out, "--checksum")
    (out / STATE_FOLDER / "state.arrow").unlink()
    set_age(aged / "cats" / "001.png", 2_000)
    assert numbers(aged, out) == {"found": 8, "kept": 8}


@pytest.mark.parametrize("column", ["shape", "dtype"])
def test_a_row_that_does_not_say_what_its_shard_is_is_built_again(aged: Path, out: Path, column: str) -> None:
    build(aged, out)
    before = snapshot(out)
    frame = load_manifest(out).frame.copy()
    frame.loc[3, column] = ""
    write_manifest(frame, out)
    assert numbers(aged, out) == {"found": 8, "rebuilt": 1, "kept": 7}
    assert snapshot(out) == before


def test_a_row_that_does_not_say_and_cannot_be_built_again_stays(aged: Path, out: Path) -> None:
    build(aged, out)
    frame = load_manifest(out).frame.copy()
    (aged / str(frame.loc[3, "source"])).unlink()
    frame.loc[3, "shape"] = ""
    write_manifest(frame, out)
    assert numbers(aged, out) == {"found": 7, "kept": 7, "gone": 1}
    assert load_manifest(out).metadata.array is None


def test_a_pipe_in_place_of_the_manifest_is_not_waited_for(aged: Path, out: Path) -> None:
    build(aged, out)
    (out / "manifest.csv").unlink()
    os.mkfifo(out / "manifest.csv")
    check_refused(prep("build-shards", aged, out), 1, "no manifest there")


def test_changed_pixels_are_built_again(aged: Path, out: Path) -> None:
    build(aged, out)
    old = load_manifest(out).load("cats/001")
    set_age(write_image(aged / "cats" / "001.png", seed=99), 2_000)
    assert numbers(aged, out) == {"found": 8, "rebuilt": 1, "kept": 7}
    assert (load_manifest(out).load("cats/001") != old).any()


def test_with_checksum_a_touched_file_is_not_built_again_but_a_changed_one_is(aged: Path, out: Path) -> None:
    build(aged, out, "--checksum")
    set_age(aged / "cats" / "001.png", 2_000)
    assert numbers(aged, out, "--checksum") == {"found": 8, "kept": 8}
    set_age(write_image(aged / "cats" / "002.png", seed=99), 1_000)
    assert numbers(aged, out, "--checksum") == {"found": 8, "rebuilt": 1, "kept": 7}


def test_another_recipe_builds_everything_again_and_says_what_differs(aged: Path, out: Path) -> None:
    build(aged, out, "--size", "4x5")
    outcome = build(aged, out, "--size", "3x2", "--dtype", "float32")
    assert "8 rebuilt" in outcome.out
    assert "recipe changed: dtype: uint8 -> float32; size: [4, 5] -> [3, 2]" in outcome.err
    assert str(load_manifest(out).array) == "(3, 2, 3) float32"


def test_plan_says_what_build_will_do_and_why(aged: Path, out: Path) -> None:
    build(aged, out)
    before = snapshot(out)
    set_age(aged / "cats" / "000.png", 2_000)
    (out / "shards" / "cats" / "001.npy").unlink()
    (aged / "cats" / "002.png").unlink()
    write_image(aged / "cats" / "new.png")
    del before["shards/cats/001.npy"]
    planned = prep("plan", aged, out, "--json").json
    assert planned == {
        "add": ["cats/new"],
        "rebuild": {"cats/000": "source changed", "cats/001": "shard missing"},
        "move": {},
        "keep": ["cats/003", *(f"dogs/00{n}" for n in range(4))],
        "gone": ["cats/002"],
        "relabelled": [],
        "failed": [],
    }
    text = prep("plan", aged, out, "--prune")
    assert {"add      cats/new", "rebuild  cats/000: source changed", "remove   cats/002", "keep     5 IDs"} <= set(text.out.splitlines())
    assert set(prep("plan", aged, out, "--size", "2x2", "--prune", "--json").json["rebuild"].values()) == {"recipe changed"}
    assert snapshot(out) == before
    assert numbers(aged, out) == {"found": 8, "added": 1, "rebuilt": 2, "kept": 5, "gone": 1}


def test_a_missing_shard_is_built_again(aged: Path, out: Path) -> None:
    build(aged, out)
    before = snapshot(out)
    (out / "shards" / "dogs" / "003.npy").unlink()
    assert numbers(aged, out) == {"found": 8, "rebuilt": 1, "kept": 7}
    assert snapshot(out) == before


def test_a_sample_whose_raw_item_is_gone_stays_and_is_reported(aged: Path, out: Path) -> None:
    build(aged, out)
    before = snapshot(out)
    (aged / "cats" / "000.png").unlink()
    outcome = build(aged, out)
    assert "1 gone but kept" in outcome.out
    assert snapshot(out) == before


def test_prune_removes_the_shard_the_row_and_the_folder_that_is_left_empty(aged: Path, out: Path) -> None:
    build(aged, out)
    (aged / "dogs" / "000.bmp").unlink()
    shutil.rmtree(aged / "cats")
    assert numbers(aged, out, "--prune") == {"found": 3, "kept": 3, "removed": 5}
    assert load_manifest(out).ids == ["dogs/001", "dogs/002", "dogs/003"]
    assert not (out / "shards" / "cats").exists()
    assert prep("verify", out).code == 0


def test_what_is_gone_cannot_be_built_by_another_recipe(aged: Path, out: Path) -> None:
    build(aged, out)
    (aged / "cats" / "000.png").unlink()
    before = snapshot(out)
    check_refused(prep("build-shards", aged, out, "--size", "3x3"), 1, "'cats/000'", "--prune")
    assert snapshot(out) == before
    assert numbers(aged, out, "--size", "3x3", "--prune") == {"found": 7, "rebuilt": 7, "removed": 1}


def test_splits_stay_when_data_grows(aged: Path, out: Path) -> None:
    build(aged, out, "--split", "train=0.5,val=0.25,test=0.25", "--seed", "7")
    old = load_manifest(out).frame.set_index("id")["split"]
    for number in range(40):
        write_image(aged / "cats" / f"new{number}.png", seed=number)
        write_image(aged / "birds" / f"new{number}.png", seed=number)
    build(aged, out)
    manifest = load_manifest(out)
    new = manifest.frame.set_index("id")["split"]
    assert new[old.index].to_dict() == old.to_dict()
    assert manifest.split_counts() == {"train": 44, "val": 22, "test": 22}


def test_other_shares_assign_anew_and_say_so(aged: Path, out: Path) -> None:
    build(aged, out, "--split", "train=0.5,val=0.5")
    times = ages(out)
    outcome = build(aged, out, "--split", "train=0.75,val=0.25")
    assert "every ID is assigned anew" in outcome.err
    assert load_manifest(out).split_counts() == {"train": 6, "val": 2}
    assert ages(out) == times  # no pixel depends on the splits


def test_a_class_keeps_its_index_when_a_class_is_added(aged: Path, out: Path) -> None:
    build(aged, out)
    write_image(aged / "birds" / "1.png")
    write_image(aged / "emus" / "1.png")
    build(aged, out)
    assert load_manifest(out).classes == ("cats", "dogs", "birds", "emus")


def test_a_class_keeps_its_index_when_its_samples_are_pruned(aged: Path, out: Path) -> None:
    build(aged, out)
    shutil.rmtree(aged / "cats")
    build(aged, out, "--prune")
    assert load_manifest(out).classes == ("cats", "dogs")


def test_options_left_out_are_those_of_the_last_build(aged: Path, out: Path) -> None:
    options = ["--size", "4x5", "--color", "gray", "--scale", "1/255", "--split", "train=0.5,val=0.5", "--seed", "3"]
    build(aged, out, *options)
    before = snapshot(out)
    outcome = build(aged, out)
    assert f"options left out are those of {out}" in outcome.err
    assert "--size 4x5" in outcome.err
    assert "--split train=0.5,val=0.5 --seed 3" in outcome.err
    assert "8 kept" in outcome.out
    assert snapshot(out) == before
    assert "8 rebuilt" in build(aged, out, "--size", "2x2").out
    assert str(load_manifest(out).array) == "(2, 2, 1) float32"


def test_a_label_that_changed_in_the_table_changes_the_manifest_and_no_shard(raw: Path, out: Path) -> None:
    for name in "ab":
        set_age(write_array(raw / f"{name}.npy", [1.0, 2.0]), 1_000)
    table = raw / "train.csv"
    table.write_text("id,label\na,x\nb,y\n")
    build(table, out)
    times = ages(out)
    table.write_text("id,label\na,y\nb,y\n")
    assert numbers(table, out) == {"found": 2, "kept": 2}
    assert dict(load_manifest(out).frame[["id", "label"]].to_numpy()) == {"a": "y", "b": "y"}
    assert ages(out) == times


def test_a_column_that_the_table_has_no_more_stays_only_for_rows_without_a_raw_item(raw: Path, out: Path) -> None:
    for name in "ab":
        write_array(raw / f"{name}.npy", [1.0, 2.0])
    table = raw / "train.csv"
    table.write_text("id,label,note\na,x,first\nb,y,second\n")
    build(table, out, "--label", "label")
    table.write_text("id,label\na,x\nb,y\n")
    shutil.copytree(out, raw.parent / "copy")
    build(table, out)
    assert "note" not in load_manifest(out).columns
    table.write_text("id,label\na,x\n")
    build(table, raw.parent / "copy")
    assert load_manifest(raw.parent / "copy").frame["note"].tolist() == ["", "second"]


def test_a_moved_raw_folder_is_no_reason_to_build_again(aged: Path, out: Path, tmp_path: Path) -> None:
    build(aged, out)
    before = snapshot(out)
    aged.rename(tmp_path / "elsewhere")
    assert numbers(tmp_path / "elsewhere", out) == {"found": 8, "kept": 8}
    assert snapshot(out) == before


def test_the_dataset_may_be_moved_as_a_whole(aged: Path, out: Path, tmp_path: Path) -> None:
    build(aged, out)
    out.rename(tmp_path / "moved")
    assert prep("verify", tmp_path / "moved").code == 0
    assert numbers(aged, tmp_path / "moved") == {"found": 8, "kept": 8}


def test_the_recipe_is_in_dataset_json(tmp_path: Path, out: Path) -> None:
    build(write_pets(tmp_path / "raw"), out, "--size", "4x4")
    recipe = json.loads((out / "dataset.json").read_text())["recipe"]
    assert recipe["options"] == {"size": [4, 4]}
    assert recipe["recipe"]["channels"] == 3
    assert set(recipe["recipe"]["libraries"]) == {"pillow", "simplejpeg"}


def test_labels_from_elsewhere_than_before_are_refused(pets: Path, existing: Path) -> None:
    table = pets.parent / "labels.csv"
    names = sorted(path.relative_to(pets).as_posix() for path in pets.rglob("*.png"))
    table.write_text("id,kind\n" + "".join(f"{name},x\n" for name in names))
    was = snapshot(existing)
    check_refused(prep("build-shards", pets, existing, "--labels", table), 2, "folder names", "'kind'", "another folder")
    assert snapshot(existing) == was


@pytest.mark.parametrize("damage", [lambda data: data + b"x", lambda data: data[:-1], lambda data: b""])
def test_a_shard_whose_size_is_wrong_is_built_again(pets: Path, out: Path, damage: Callable[[bytes], bytes]) -> None:
    build(pets, out)
    was = snapshot(out)
    shard = out / "shards" / "cats" / "001.npy"
    shard.write_bytes(damage(shard.read_bytes()))
    assert "cats/001: shard damaged" in prep("plan", pets, out).out
    build(pets, out)
    assert snapshot(out) == was


def test_arrays_of_several_shapes_are_told(raw: Path, out: Path) -> None:
    write_array(raw / "a.npy", np.zeros((2, 3)))
    write_array(raw / "b.npy", np.zeros((2, 4)))
    assert "arrays: (2, ?) float64; a batch needs one shape and dtype" in build(raw, out).err
