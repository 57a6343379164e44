"""What folders of a source mean: which one is the class, and which are rather splits; said where there are two readings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import build, check_refused, prep, snapshot, write_image

from manifests import load_manifest

BOTH = (
    "labels: 3 files of 4 would have another class by the top folder ('cats', 'dogs') than by the parent folder ('2020', '2021'), "
    "which is taken; choose with --label-from top or --label-from parent"
)
HINT = "splits: none, though the top folders 'train', 'val' are called like splits; pass --split-from-folders train/val"


def labels(out: Path) -> dict[str, str]:
    frame = load_manifest(out).frame
    return dict(zip(frame["id"], frame["label"], strict=True))


@pytest.fixture
def years(raw: Path) -> Path:
    for number, folder in enumerate(("cats/2020", "cats/2021", "dogs/2020", "dogs")):
        write_image(raw / folder / f"{number}.png", seed=number)
    return raw


BY_TOP = {"cats/2020/0": "cats", "cats/2021/1": "cats", "dogs/2020/2": "dogs", "dogs/3": "dogs"}
BY_PARENT = {"cats/2020/0": "2020", "cats/2021/1": "2021", "dogs/2020/2": "2020", "dogs/3": "dogs"}


def test_without_a_word_the_parent_counts_and_both_readings_are_told(years: Path, out: Path) -> None:
    assert BOTH in build(years, out).err
    assert labels(out) == BY_PARENT


@pytest.mark.parametrize(("choice", "expected"), [("top", BY_TOP), ("parent", BY_PARENT)])
def test_a_choice_counts_and_is_repeated(choice: str, expected: dict[str, str], years: Path, out: Path) -> None:
    first = build(years, out, "--label-from", choice)
    assert f"labels: name of the {choice} folder" in first.err
    assert labels(out) == expected
    before = snapshot(out)
    again = build(years, out)
    assert "4 kept" in again.out
    assert "would have another class" not in first.err + again.err
    assert f"--label-from {choice}" in again.err
    assert snapshot(out) == before


def test_a_choice_after_the_first_build_gives_what_a_first_build_gives(years: Path, out: Path) -> None:
    build(years, out)
    outcome = build(years, out, "--label-from", "top")
    assert "labels: top folder names now, folder names before" in outcome.err
    assert "4 kept" in outcome.out
    build(years, out.with_name("fresh"), "--label-from", "top")
    assert snapshot(out) == snapshot(out.with_name("fresh"))
    assert BOTH in build(years, out, "--forget", "label-from").err
    assert load_manifest(out).classes == ("2020", "2021", "dogs")


def test_rows_of_items_that_are_gone_keep_no_label_of_the_other_kind(years: Path, out: Path) -> None:
    build(years, out)
    (years / "cats" / "2020" / "0.png").unlink()
    check_refused(prep("build-shards", years, out, "--label-from", "top"), 1, "'cats/2020/0'", "--prune")
    build(years, out, "--label-from", "top", "--prune")
    assert labels(out) == {id_: label for id_, label in BY_TOP.items() if id_ != "cats/2020/0"}


def test_a_recipe_has_the_choice(years: Path, out: Path, tmp_path: Path) -> None:
    text = prep("recipe", years, "--label-from", "top").out
    assert '[labels]\nfrom = "top"\n' in text
    (tmp_path / "recipe.toml").write_text(text)
    build(years, out, "--recipe", tmp_path / "recipe.toml")
    assert labels(out) == BY_TOP
    build(years, out.with_name("flags"), "--label-from", "top")
    assert snapshot(out) == snapshot(out.with_name("flags"))
    (tmp_path / "wrong.toml").write_text('[labels]\nfrom = "middle"\n')
    check_refused(prep("build-shards", years, out, "--recipe", tmp_path / "wrong.toml"), 2, "labels.from", "'parent' or 'top'")


def test_a_table_has_no_folders_to_choose_from(raw: Path, out: Path) -> None:
    write_image(raw / "x" / "a.png")
    (raw / "train.csv").write_text("image,label\na,x\n")
    check_refused(prep("build-shards", raw / "train.csv", out, "--label-from", "top"), 2, "--label-from", "train.csv", "leave it out")


@pytest.fixture
def parts(raw: Path) -> Path:
    for number, folder in enumerate(("train/a", "train/b", "val/a", "val/b")):
        write_image(raw / folder / f"{number}.png", seed=number)
    return raw


def test_folders_called_like_splits_are_told_with_the_option_that_takes_them(parts: Path, out: Path) -> None:
    for command in ("plan", "build-shards"):
        outcome = prep(command, parts, out)
        assert HINT in outcome.err
        assert "would have another class" not in outcome.err
    assert "split" not in load_manifest(out).frame.columns
    outcome = build(parts, out, "--split-from-folders", "train/val")
    assert "splits: none" not in outcome.err
    assert load_manifest(out).split_counts() == {"train": 2, "val": 2}
    assert "splits: none" not in build(parts, out).err


def test_no_hint_where_splits_are_asked_for_or_folders_are_classes(parts: Path, out: Path) -> None:
    assert "splits: none" not in build(parts, out, "--split", "train=0.5,val=0.5").err
    write_image(parts / "plane" / "x.png", seed=9)
    assert "splits: none" not in build(parts, out.with_name("other")).err


def test_the_top_folder_below_a_split_is_the_class(raw: Path, out: Path) -> None:
    for number, folder in enumerate(("train/cats/2020", "val/dogs/2021")):
        write_image(raw / folder / f"{number}.png", seed=number)
    assert "by the top folder ('cats', 'dogs')" in build(raw, out.with_name("told"), "--split-from-folders", "train/val").err
    build(raw, out, "--split-from-folders", "train/val", "--label-from", "top")
    assert labels(out) == {"train/cats/2020/0": "cats", "val/dogs/2021/1": "dogs"}
    assert json.loads((out / "dataset.json").read_text())["recipe"]["labels"] == "top folder names"
