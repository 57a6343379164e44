"""Splits, groups and folds through the command line, as the manifest and dataset.json then have them."""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from command_line import build, check_refused, prep, write_array, write_image

from manifests import UnknownNameError, load_manifest

SHARES = "train=0.6,val=0.2,test=0.2"


def write_clinic(root: Path, patients: int = 20, scans: int = 3) -> Path:
    """Write scans of patients, all of one patient's ill or well, and a table of them."""
    rows = [
        {"id": f"s{p:02d}-{i}", "label": "ill" if p % 2 else "well", "patient_id": f"p{p:02d}", "part": ("train", "val", "test")[p % 3]}
        for p in range(patients)
        for i in range(scans)
    ]
    for number, row in enumerate(rows):
        write_array(root / f"{row['id']}.npy", [number, number + 1])
    return write_table(root / "scans.csv", rows)


def write_table(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def change_table(path: Path, change: Any) -> Path:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return write_table(path, [changed for row in rows if (changed := change(row))])


def column(out: Path, name: str) -> dict[str, str]:
    return load_manifest(out).frame.set_index("id")[name].to_dict()


def stored(out: Path) -> dict[str, Any]:
    splits: dict[str, Any] = json.loads((out / "dataset.json").read_text())["splits"]
    return splits


def check_whole(out: Path, name: str) -> None:
    """Hold a dataset against: no group in two splits or folds."""
    places = defaultdict(set)
    for group, place in zip(column(out, "group").values(), column(out, name).values(), strict=True):
        if place:
            places[group].add(place)
    assert places
    assert {group: names for group, names in places.items() if len(names) > 1} == {}


# Groups


def test_a_patient_is_in_one_split_and_stays_there_as_scans_come(raw: Path, out: Path) -> None:
    table = write_clinic(raw)
    build(table, out, "--split", SHARES, "--group-by", "patient_id")
    check_whole(out, "split")
    manifest = load_manifest(out)
    assert column(out, "group") == column(out, "patient_id")
    for counts in (Counter(manifest.where(label=label).frame["split"]) for label in ("ill", "well")):
        for name, quota in (("train", 18), ("val", 6), ("test", 6)):
            assert abs(counts[name] - quota) < 3
    assert stored(out) == {
        "names": ["train", "val", "test"],
        "fractions": {"train": "3/5", "val": "1/5", "test": "1/5"},
        "seed": 0,
        "group_by": "patient_id",
    }
    before = column(out, "split")
    write_clinic(raw, patients=30, scans=4)
    outcome = build(table, out)
    assert f"--split {SHARES} --seed 0 --group-by 'patient_id'" in outcome.err
    check_whole(out, "split")
    after = column(out, "split")
    assert {id_: after[id_] for id_ in before} == before
    assert len(after) == 120


def test_the_column_group_of_a_table_counts_without_being_asked_for(raw: Path, out: Path) -> None:
    table = write_clinic(raw)
    table.write_text(table.read_text().replace("patient_id", "group"))
    build(table, out, "--split", SHARES)
    check_whole(out, "split")


def test_groups_come_from_paths_too(raw: Path, out: Path) -> None:
    for patient in range(10):
        for number in range(3):
            write_image(raw / ("ill" if patient % 2 else "well") / f"p{patient}_{number}.png", seed=10 * patient + number)
    build(raw, out, "--split", SHARES, "--group-regex", r"/(?:)(?P<group>p\d+)_")
    check_whole(out, "split")
    assert column(out, "group")["ill/p3_1"] == "p3"
    write_image(raw / "ill" / "stranger.png")
    check_refused(prep("build-shards", raw, out), 1, "1 path", "ill/stranger.png", "mend the pattern")


def test_rows_without_a_group_stand_alone_and_are_told(raw: Path, out: Path) -> None:
    table = change_table(write_clinic(raw), lambda row: {**row, "patient_id": "" if row["id"].endswith("-0") else row["patient_id"]})
    outcome = build(table, out, "--split", SHARES, "--group-by", "patient_id")
    assert "20 IDs without one" in outcome.err
    assert Counter(column(out, "group").values())[""] == 20


def test_groups_that_were_torn_before_are_refused_with_the_way_out(raw: Path, out: Path) -> None:
    table = write_clinic(raw)
    build(table, out, "--split", SHARES)
    before = (out / "manifest.csv").read_bytes()
    outcome = prep("build-shards", table, out, "--group-by", "patient_id")
    check_refused(outcome, 1, "in more than one split", "group 'p", "--seed")
    assert (out / "manifest.csv").read_bytes() == before
    outcome = build(table, out, "--group-by", "patient_id", "--split", SHARES, "--seed", "1")
    assert "seed: 0 -> 1" in outcome.err
    assert "group_by: none -> patient_id" in outcome.err
    check_whole(out, "split")


def test_a_failed_member_still_holds_its_groups_split(raw: Path, out: Path) -> None:
    table = write_clinic(raw, patients=12, scans=1)
    build(table, out, "--split", SHARES, "--group-by", "patient_id")
    before = column(out, "split")
    held_out = sorted(id_ for id_, split in before.items() if split == "test")
    good = {id_: (raw / f"{id_}.npy").read_bytes() for id_ in held_out}
    for id_ in held_out:
        (raw / f"{id_}.npy").write_bytes(b"no array")
    assert prep("build-shards", table, out, "--workers", "1").code == 1
    assert set(stored(out)["absent_groups"]) == set(held_out)
    for id_ in held_out:  # another scan of the same patient, whose first one cannot be read
        write_array(raw / f"{id_[:3]}-9.npy", [1, int(id_[1:3])])
    with table.open("a") as file:
        file.writelines(f"{id_[:3]}-9,ill,p{id_[1:3]},train\n" for id_ in held_out)
    assert prep("build-shards", table, out, "--workers", "1").code == 1
    assert {column(out, "split")[f"{id_[:3]}-9"] for id_ in held_out} == {"test"}
    for id_, data in good.items():
        (raw / f"{id_}.npy").write_bytes(data)
    build(table, out)
    after = column(out, "split")
    assert {id_: after[id_] for id_ in before} == before
    assert "absent" not in stored(out)


# Splits that are there


def test_a_column_says_the_splits(raw: Path, out: Path) -> None:
    build(write_clinic(raw), out, "--split-column", "part", "--group-by", "patient_id")
    assert column(out, "split") == column(out, "part")
    assert stored(out) == {"names": ["train", "val", "test"], "column": "part", "group_by": "patient_id"}
    build(raw / "scans.csv", out)
    assert column(out, "split") == column(out, "part")


BAD_COLUMNS: dict[str, tuple[Any, tuple[str, ...], tuple[str, ...]]] = {
    "no split": (lambda row: {**row, "part": "" if row["id"] == "s03-1" else "train"}, (), ("1 row", "'s03-1'", "fill")),
    "capitals": (lambda row: {**row, "part": "Train" if row["id"] == "s03-1" else "train"}, (), ("'Train' and 'train'",)),
    "spaces": (lambda row: {**row, "part": " train"}, (), ("' train'",)),
    "torn groups": (
        lambda row: {**row, "part": "test" if row["id"] == "s03-1" else "train"},
        ("--group-by", "patient_id"),
        ("group 'p03': test 1, train 2", "mend them there"),
    ),
    "no test for folds": (lambda row: {**row, "part": "dev"}, ("--folds", "2"), ("'test'", "dev")),
}


@pytest.mark.parametrize("name", BAD_COLUMNS)
def test_a_column_that_cannot_be_splits_is_refused(name: str, raw: Path, out: Path) -> None:
    change, flags, says = BAD_COLUMNS[name]
    table = change_table(write_clinic(raw), change)
    outcome = prep("build-shards", table, out, "--split-column", "part", *flags)
    check_refused(outcome, 2 if name.startswith("no test") else 1, *(text.replace("' train'", " train") for text in says))
    assert not (out / "manifest.csv").exists()


@pytest.mark.parametrize("written", ["train/valid/test", "train,valid,test"])
def test_folders_are_the_splits_and_the_folders_in_them_the_classes(written: str, raw: Path, out: Path) -> None:
    for split, count in (("train", 4), ("valid", 2), ("test", 1), ("extra", 3)):
        for number in range(count):
            write_image(raw / split / ("cats" if number % 2 else "dogs") / f"{number}.png", seed=number)
    write_image(raw / "stray.png")
    outcome = build(raw, out, "--split-from-folders", written)
    assert "ignored: 4 raw items outside the folders train/valid/test: no folder 1, 'extra' 3" in outcome.err
    manifest = load_manifest(out)
    assert manifest.split_counts() == {"train": 4, "valid": 2, "test": 1}
    assert manifest.classes == ("cats", "dogs")
    assert column(out, "split")["train/cats/1"] == "train"
    assert stored(out) == {"names": ["train", "valid", "test"], "folders": ["train", "valid", "test"]}


def test_folders_without_classes_give_no_labels_the_next_time_too(raw: Path, out: Path) -> None:
    for split in ("train", "test"):
        write_image(raw / split / "0.png")
    for flags in (["--split-from-folders", "train/test"], []):
        build(raw, out, *flags)
        manifest = load_manifest(out)
        assert manifest.classes == ()
        assert manifest.split_counts() == {"train": 1, "test": 1}


def test_a_folder_without_raw_items_is_refused(pets: Path, out: Path) -> None:
    check_refused(prep("build-shards", pets, out, "--split-from-folders", "cats/valid"), 1, "'valid'", "'cats', 'dogs'")


# Folds


def test_folds_partition_what_is_not_held_out(raw: Path, out: Path) -> None:
    table = write_clinic(raw)
    build(table, out, "--split", "train=0.8,test=0.2", "--folds", "4", "--group-by", "patient_id")
    check_whole(out, "fold")
    manifest = load_manifest(out)
    assert manifest.folds == ("0", "1", "2", "3")
    validated = []
    for number in range(4):
        train, val = manifest.fold(number)
        assert set(train.ids) | set(val.ids) == set(manifest.split("train").ids)
        assert not set(train.ids) & set(val.ids)
        assert train.classes == val.classes == manifest.classes
        assert abs(len(val) - 12) <= 6
        validated += val.ids
    assert sorted(validated) == manifest.split("train").ids
    assert set(manifest.split("test").frame["fold"]) == {""}
    before = column(out, "fold")
    write_clinic(raw, patients=26, scans=4)
    build(table, out)
    check_whole(out, "fold")
    check_whole(out, "split")
    after = column(out, "fold")
    assert {id_: after[id_] for id_ in before} == before


def test_folds_need_no_splits(pets: Path, out: Path) -> None:
    build(pets, out, "--folds", "2")
    manifest = load_manifest(out)
    assert manifest.splits == ()
    assert [len(part) for part in manifest.fold(1)] == [4, 4]
    assert Counter(zip(manifest.frame["label"], manifest.frame["fold"], strict=True)) == dict.fromkeys(
        [("cats", "0"), ("cats", "1"), ("dogs", "0"), ("dogs", "1")], 2
    )
    assert stored(out) == {"seed": 0, "folds": 2}
    outcome = build(pets, out, "--folds", "4")
    assert "folds: 2 -> 4" in outcome.err
    assert load_manifest(out).folds == ("0", "1", "2", "3")


@pytest.mark.parametrize(
    ("number", "error", "says"),
    [
        (2, UnknownNameError, "no fold 2; the folds are 0, 1"),
        (-1, UnknownNameError, "no fold -1"),
        ("0", TypeError, "'0'"),
        (True, TypeError, "True"),
    ],
)
def test_a_fold_that_is_not_there_is_named(number: Any, error: type[Exception], says: str, pets: Path, out: Path) -> None:
    build(pets, out, "--folds", "2")
    with pytest.raises(error, match=says):
        load_manifest(out).fold(number)


def test_a_manifest_without_folds_says_so(existing: Path) -> None:
    assert load_manifest(existing).folds == ()
    with pytest.raises(UnknownNameError, match="no column 'fold'"):
        load_manifest(existing).fold(0)


# What does not go together


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--split", SHARES, "--split-column", "part"], "choose one"),
        (["--split", SHARES, "--split-from-folders", "a/b"], "choose one"),
        (["--split-column", "part", "--split-from-folders", "a/b"], "choose one"),
        (["--group-by", "patient_id", "--group-regex", "(p)"], "choose one"),
        (["--group-regex", "(p"], "no regular expression"),
        (["--group-regex", "p"], "parentheses"),
        (["--group-by", ""], "--group-by must not be empty"),
        (["--split-column", "part", "--seed", "3"], "--seed needs --split or --folds"),
        (["--split", "train=0.8,val=0.2", "--folds", "5"], "call the split that is held out 'test'"),
        (["--folds", "1"], "--folds"),
        (["--split-from-folders", "train//test"], "must look like train/val/test"),
        (["--split-from-folders", "train/train"], "name one twice"),
    ],
)
def test_options_that_do_not_go_together_are_refused(flags: list[str], says: str, raw: Path, out: Path) -> None:
    check_refused(prep("build-shards", write_clinic(raw), out, *flags), 2, says)
    assert not out.exists()


@pytest.mark.parametrize(("flags", "code"), [(["--group-by", "ward"], 1), (["--split-column", "ward"], 1), (["--group-by", "label"], 2)])
def test_a_column_that_is_not_there_is_named(flags: list[str], code: int, raw: Path, out: Path) -> None:
    check_refused(prep("build-shards", write_clinic(raw), out, "--label", "label", *flags), code, repr(flags[1]))


def test_a_column_needs_a_table(pets: Path, out: Path) -> None:
    check_refused(prep("build-shards", pets, out, "--group-by", "patient_id"), 2, "--labels", "--group-regex")


def test_more_folds_than_groups_are_refused(raw: Path, out: Path) -> None:
    table = write_clinic(raw, patients=3)
    check_refused(prep("build-shards", table, out, "--folds", "4", "--group-by", "patient_id"), 1, "4 folds need", "there are 3")


# Arrays that exist already


def test_adopt_takes_groups_and_folds(raw: Path) -> None:
    table = write_clinic(raw)
    outcome = prep("adopt", raw, "--labels", table, "--split", "train=0.8,test=0.2", "--group-by", "patient_id", "--folds", "3")
    assert outcome.code == 0, outcome.err
    check_whole(raw, "split")
    check_whole(raw, "fold")
    before = (raw / "manifest.csv").read_bytes()
    again = prep("adopt", raw, "--labels", table)
    assert again.code == 0, again.err
    assert (raw / "manifest.csv").read_bytes() == before


@pytest.fixture
def namesake(tmp_path: Path) -> Path:
    """A source of which `cat-0001` was built and is gone, and in which a new item is called `cat`."""
    raw = tmp_path / "namesake"
    raw.mkdir()
    write_table(raw / "items.csv", [{"id": id_, "path": f"{id_}.npy", "part": "train"} for id_ in ("cat-0001", "dog", "eel")])
    for number, id_ in enumerate(("cat-0001", "dog", "eel", "cat")):
        write_array(raw / f"{id_}.npy", [number] * (number + 1))
    return raw


def come_and_go(raw: Path) -> Path:
    (raw / "cat-0001.npy").unlink()
    return write_table(raw / "items.csv", [{"id": id_, "path": f"{id_}.npy", "part": "test"} for id_ in ("cat", "dog", "eel")])


def test_a_row_whose_item_is_gone_is_no_sample_of_a_new_item_of_that_name(namesake: Path, out: Path) -> None:
    build(namesake / "items.csv", out, "--split", "train=0.5,test=0.5")
    build(come_and_go(namesake), out)
    assert load_manifest(out).ids == ["cat", "cat-0001", "dog", "eel"]
    assert "group" not in load_manifest(out).table.columns


def test_nor_has_it_the_split_that_the_source_gives_that_item(namesake: Path, out: Path) -> None:
    build(namesake / "items.csv", out, "--split-column", "part")
    build(come_and_go(namesake), out)
    assert column(out, "split") == {"cat": "test", "cat-0001": "train", "dog": "test", "eel": "test"}


def test_nor_is_its_split_remembered_for_that_item_when_it_fails(namesake: Path, out: Path) -> None:
    build(namesake / "items.csv", out, "--split", "train=0.5,test=0.5")
    table = come_and_go(namesake)
    (namesake / "cat.npy").write_bytes(b"")
    assert prep("build-shards", table, out, "--max-failures", "1").code == 0
    assert "absent" not in stored(out)


def test_an_item_that_failed_and_went_has_its_split_when_it_comes_back(raw: Path, out: Path) -> None:
    for number in range(20):
        write_array(raw / "a" / f"{number:02d}.npy", [number])
    build(raw, out, "--split", "train=0.5,test=0.5", "--folds", "2")
    before, folds = column(out, "split"), column(out, "fold")
    kept = {path: path.read_bytes() for path in sorted((raw / "a").iterdir())[:6]}
    for path in kept:
        path.write_bytes(b"no array")
    assert prep("build-shards", raw, out, "--max-failures", "6").code == 0
    for path in kept:
        path.unlink()
    build(raw, out)
    for number in range(20, 30):
        write_array(raw / "a" / f"{number:02d}.npy", [number])
    build(raw, out)
    for path, content in kept.items():
        path.write_bytes(content)
    build(raw, out)
    assert {id_: split for id_, split in column(out, "split").items() if id_ in before} == before
    assert {id_: fold for id_, fold in column(out, "fold").items() if id_ in folds} == folds


def test_one_that_is_pruned_is_forgotten(raw: Path, out: Path) -> None:
    for number in range(4):
        write_array(raw / "a" / f"{number}.npy", [number])
    build(raw, out, "--split", "train=0.5,test=0.5")
    (raw / "a" / "0.npy").write_bytes(b"no array")
    assert prep("build-shards", raw, out, "--max-failures", "1").code == 0
    (raw / "a" / "0.npy").unlink()
    build(raw, out)
    assert list(stored(out)["absent"]) == ["a/0"]
    build(raw, out, "--prune")
    assert "absent" not in stored(out)
