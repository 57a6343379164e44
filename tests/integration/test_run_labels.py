"""Labels that are numbers, and several label columns: what a build and an adoption write of them, and what `inspect` shows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Outcome, build, check_refused, prep, write_array

from manifests import load_manifest

TABLE = """id,price,rooms,old,new,kind
a,1.5,3,0,1,flat
b,2.5,35,1,0,house
c,4,7,0,0,flat
d,0.5,7,1,1,flat
"""
NUMBER = {"kind": "number"}


@pytest.fixture
def houses(raw: Path) -> Path:
    """Four arrays and a table of what could be their labels."""
    for number, id_ in enumerate("abcd"):
        write_array(raw / "arrays" / f"{id_}.npy", np.full(3, number, np.float32))
    (raw / "labels.csv").write_text(TABLE)
    return raw


def build_houses(raw: Path, out: Path, *options: str) -> Outcome:
    return build(raw / "arrays", out, "--labels", raw / "labels.csv", *options)


def labels_of(out: Path) -> Any:
    return json.loads((out / "dataset.json").read_text())["labels"]


def test_measured_numbers_are_numbers_and_it_is_said(houses: Path, out: Path) -> None:
    outcome = build_houses(houses, out, "--label", "price")
    assert labels_of(out) == {"label": NUMBER}
    assert "labels: column 'price' holds numbers, to be fed as they are" in outcome.err


def test_integers_are_numbers_when_said_and_stay_so(houses: Path, out: Path) -> None:
    outcome = build_houses(houses, out, "--label", "rooms")
    assert labels_of(out) == {"label": {"classes": ["3", "7", "35"]}}
    assert "the integers of column 'rooms' name 3 classes, so that 3 is class 0; --label-kind number would feed" in outcome.err
    build_houses(houses, out, "--label", "rooms", "--label-kind", "number")
    assert labels_of(out) == {"label": NUMBER}
    build_houses(houses, out, "--label", "rooms")  # left out: as in the last build
    assert labels_of(out) == {"label": NUMBER}
    build_houses(houses, out, "--label", "rooms", "--label-kind", "class")
    assert labels_of(out) == {"label": {"kind": "class", "classes": ["3", "7", "35"]}}


def test_kinds_of_single_columns(houses: Path, out: Path) -> None:
    kinds = ("--label-kind", "price=class", "--label-kind", "rooms=number")
    columns = ("--label", "price", "--label", "rooms", "--label", "old")
    build_houses(houses, out, *columns, *kinds)
    assert labels_of(out) == {
        "label": {"kind": "class", "column": "price", "classes": ["0.5", "1.5", "2.5", "4"]},
        "rooms": NUMBER,
        "old": {"classes": ["0", "1"]},
    }


def test_a_recipe_says_it_too(houses: Path, out: Path) -> None:
    flags = ("--labels", houses / "labels.csv", "--label", "rooms", "--label", "price", "--label-kind", "rooms=number")
    (houses / "recipe.toml").write_text(prep("recipe", houses / "arrays", *flags).out)
    build(houses / "arrays", out, "--recipe", houses / "recipe.toml")
    assert labels_of(out) == {"label": NUMBER | {"column": "rooms"}, "price": NUMBER}


def test_numbers_have_no_share_in_each_split_as_classes_do(raw: Path, tmp_path: Path) -> None:
    ids = [f"i{number:02d}" for number in range(40)]
    for id_ in ids:
        write_array(raw / "arrays" / f"{id_}.npy", np.zeros(3, np.float32))
    (raw / "labels.csv").write_text("id,rooms,price\n" + "".join(f"{id_},{number // 10},0.5\n" for number, id_ in enumerate(ids)))
    splits = {}
    for name, options in (
        ("classes", ("--label", "rooms")),
        ("numbers", ("--label", "rooms", "--label-kind", "number")),
        ("measured", ("--label", "price")),
    ):
        build_houses(raw, tmp_path / name, *options, "--split", "train=0.5,val=0.5")
        splits[name] = list(load_manifest(tmp_path / name).frame["split"])
    assert [splits["classes"][start : start + 10].count("train") for start in range(0, 40, 10)] == [5, 5, 5, 5]
    assert splits["numbers"] == splits["measured"] != splits["classes"]


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--label", "kind", "--label-kind", "number"), 1, ("4 labels of column 'kind' should be a number", "ID 'a' has 'flat'")),
        (("--label", "rooms", "--label-kind", "kind=number"), 2, ("--label-kind names 'kind'; the label columns are 'rooms'",)),
        (("--label", "rooms", "--label-kind", "float"), 2, ("'float' is not a kind of label; expected class, number",)),
        (("--label", "rooms", "--label-kind", "class", "--label-kind", "rooms=number"), 2, ("give --label-kind once for all",)),
    ],
)
def test_kinds_that_cannot_be(houses: Path, out: Path, options: tuple[str, ...], code: int, says: tuple[str, ...]) -> None:
    command = ("build-shards", houses / "arrays", out, "--labels", houses / "labels.csv", "--workers", "1")
    check_refused(prep(*command, *options), code, *says)
    assert not (out / "manifest.csv").exists()


def test_a_column_of_numbers_takes_no_name_later(houses: Path, out: Path) -> None:
    build_houses(houses, out, "--label", "price")
    (houses / "labels.csv").write_text(TABLE.replace("b,2.5", "b,unknown"))
    command = ("build-shards", houses / "arrays", out, "--labels", houses / "labels.csv", "--label", "price", "--workers", "1")
    check_refused(prep(*command), 1, "1 label of column 'price' should be a number", "ID 'b' has 'unknown'")


def test_what_is_tried_again_has_numbers_too(houses: Path, out: Path) -> None:
    good = (houses / "arrays" / "b.npy").read_bytes()
    (houses / "arrays" / "b.npy").write_bytes(b"")
    command = ("build-shards", houses / "arrays", out, "--labels", houses / "labels.csv", "--label", "price", "--workers", "1")
    assert prep(*command).code == 1
    (houses / "arrays" / "b.npy").write_bytes(good)
    (houses / "labels.csv").write_text(TABLE.replace("b,2.5", "b,unknown"))
    check_refused(prep("retry", out, "--workers", "1"), 1, "1 label of column 'price' should be a number", "ID 'b' has 'unknown'")
    (houses / "labels.csv").write_text(TABLE)
    assert prep("retry", out, "--workers", "1").code == 0
    assert list(load_manifest(out).frame["label"]) == ["1.5", "2.5", "4", "0.5"]


def test_a_difference_in_what_the_labels_are_is_told(houses: Path, out: Path, tmp_path: Path) -> None:
    build_houses(houses, out, "--label", "rooms")
    build_houses(houses, tmp_path / "other", "--label", "rooms", "--label-kind", "number")
    assert "classes of 'label': '3', '7', '35' -> '(numbers)'" in prep("diff", out, tmp_path / "other").out


def test_folders_that_are_numbers(raw: Path, out: Path) -> None:
    for number, age in enumerate(("23", "35", "35")):
        write_array(raw / age / f"{number}.npy", np.zeros(2, np.float32))
    build(raw, out, "--label-kind", "number")
    assert labels_of(out) == {"label": NUMBER}
    check_refused(prep("build-shards", raw, out, "--label-kind", "age=number"), 2, "names 'age'; the label columns are 'label'")


def test_adopted_labels(houses: Path) -> None:
    command = ("adopt", houses / "arrays", "--labels", houses / "labels.csv", "--label", "rooms")
    assert prep(*command, "--label-kind", "number").code == 0
    assert labels_of(houses / "arrays") == {"label": NUMBER}
    assert prep(*command, "--json").json["classes"] == []  # remembered
    assert prep(*command, "--label-kind", "class").code == 0
    assert labels_of(houses / "arrays") == {"label": {"kind": "class", "classes": ["3", "7", "35"]}}
    kind = ("adopt", houses / "arrays", "--labels", houses / "labels.csv", "--label", "kind", "--label-kind", "number")
    check_refused(prep(*kind), 1, "4 labels of column 'kind' should be a number")


def test_a_merge_keeps_what_the_labels_are(houses: Path, out: Path, tmp_path: Path) -> None:
    build_houses(houses, out, "--label", "rooms", "--label-kind", "number")
    shutil.copytree(out, tmp_path / "other")
    assert prep("merge", out, tmp_path / "other", tmp_path / "both", "--prefix-b", "b/").code == 0
    assert labels_of(tmp_path / "both") == {"label": NUMBER}


def test_every_label_column_is_inspected(houses: Path, out: Path) -> None:
    build_houses(houses, out, "--label", "kind", "--label", "price", "--split", "train=0.5,val=0.5")
    told = prep("inspect", out, "--json").json["labels"]
    assert (told["label"]["kind"], told["label"]["column"], told["price"]["kind"]) == ("class", "kind", "number")
    assert {name: sum(counts.values()) for name, counts in told["label"]["classes"].items()} == {"flat": 3, "house": 1}
    frame = load_manifest(out).frame
    for split, figures in told["price"]["numbers"].items():
        prices = frame.loc[frame["split"] == split, "price"].astype(float)
        expected = {"count": 2, "mean": prices.mean(), "std": prices.std(ddof=0), "min": prices.min(), "max": prices.max()}
        assert figures == pytest.approx(expected)
    lines = [line.split() for line in prep("inspect", out).out.splitlines()]
    assert ["classes", "of", "'kind'", "train", "val"] in lines
    assert ["numbers", "of", "'price'", "train", "val"] in lines
    assert ["count", "2", "2"] in lines


def test_numbers_alone_are_inspected_as_such(houses: Path, out: Path) -> None:
    build_houses(houses, out, "--label", "price")
    lines = [line.split() for line in prep("inspect", out).out.splitlines()[-6:]]
    assert lines[0] == ["numbers", "all"]
    assert dict(lines[1:]) == {"count": "4", "mean": "2.125", "std": "1.29301", "min": "0.5", "max": "4"}
