"""Options that are left out are those of the last build, all that decide the dataset; and how each is given up."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import STATE_FOLDER, build, check_refused, prep, snapshot, write_array, write_image

from manifests import load_manifest
from prep import BuildOptions, UsageError
from prep.build.recipe.options import REMEMBERED


def column(out: Path, name: str) -> dict[str, str]:
    frame = load_manifest(out).frame
    return dict(zip(frame["id"], frame[name], strict=True)) if name in frame.columns else {}


def given(out: Path) -> dict[str, Any]:
    """Return what `dataset.json` says was given of the source."""
    stored: dict[str, Any] = json.loads((out / "dataset.json").read_text())["recipe"].get("source", {})
    return stored


TABLE = "name,file,kind,breed,part,patient\n0,a.npy,cat,x,train,p\n1,b.npy,dog,y,train,q\n2,c.npy,cat,y,test,r\n3,d.npy,dog,,test,s\n"


@pytest.fixture
def arrays(raw: Path) -> Path:
    """Arrays with a table of several columns that could be IDs, files and labels, and with images beside them."""
    for number, name in enumerate("abcd"):
        write_array(raw / f"{name}.npy", [1.0, float(number)])
    write_image(raw / "a.png")
    (raw / "train.csv").write_text(TABLE)
    return raw


COLUMNS = ("--id-column", "name", "--path-column", "file", "--label", "kind")
OPTIONS: dict[str, tuple[str, ...]] = {
    "label": COLUMNS,
    "several labels and empty ones": (*COLUMNS, "--label", "breed", "--allow-empty-labels"),
    "checksum": (*COLUMNS, "--checksum"),
    "split column": (*COLUMNS, "--split-column", "part", "--group-by", "patient"),
    "split, folds and seed": (*COLUMNS, "--split", "train=0.5,test=0.5", "--seed", "3", "--folds", "2", "--group-regex", "([a-d])[.]npy"),
    "scale and dtype": (*COLUMNS, "--scale", "1/2", "--dtype", "float64"),
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("place", ["source", "inside", "outside"])
def test_all_that_decides_the_dataset_is_remembered(
    name: str, place: str, arrays: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From another current folder too, and with relative paths at first."""
    monkeypatch.chdir(tmp_path)
    table = Path(os.path.relpath(arrays / "train.csv"))
    if place == "outside":
        table = Path("labels") / "of-arrays.csv"
        table.parent.mkdir()
        shutil.move(arrays / "train.csv", table)
    source = table if place == "source" else Path(os.path.relpath(arrays))
    labels = () if place == "source" else ("--labels", table, "--format", "arrays")
    if place == "source":
        (arrays / "a.png").unlink()
    build(source, "data", *labels, *OPTIONS[name])
    before = snapshot(out)
    assert "split" not in name or len(set(column(out, "split").values())) == 2
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    outcome = build(tmp_path / source, out)
    assert "4 kept" in outcome.out
    assert snapshot(out) == before
    assert "--id-column name --path-column file --label kind" in outcome.err
    shutil.rmtree(out)
    build(tmp_path / source, out, *(tmp_path / item if item is table else item for item in labels), *OPTIONS[name])
    assert snapshot(out) == before


def test_dataset_json_does_not_depend_on_where_source_and_table_lie(arrays: Path, tmp_path: Path) -> None:
    build(arrays, tmp_path / "one", "--labels", arrays / "train.csv", "--format", "arrays", *COLUMNS)
    far = tmp_path / "far" / "away"
    shutil.copytree(arrays, far / "source")
    build(far / "source", tmp_path / "two", "--labels", far / "source" / "train.csv", "--format", "arrays", *COLUMNS)
    assert given(tmp_path / "one")["labels"] == "train.csv"
    assert (tmp_path / "one" / "dataset.json").read_bytes() == (tmp_path / "two" / "dataset.json").read_bytes()
    (far / "source" / "train.csv").rename(far / "train.csv")
    build(far / "source", tmp_path / "three", "--labels", far / "train.csv", "--format", "arrays", *COLUMNS)
    (far / "train.csv").rename(tmp_path / "train.csv")
    build(far / "source", tmp_path / "four", "--labels", tmp_path / "train.csv", "--format", "arrays", *COLUMNS)
    assert str(tmp_path) not in (tmp_path / "three" / "dataset.json").read_text()
    assert (tmp_path / "three" / "dataset.json").read_bytes() == (tmp_path / "four" / "dataset.json").read_bytes()


def test_the_kind_of_files_is_remembered(raw: Path, out: Path) -> None:
    write_image(raw / "x" / "a.png")
    build(raw, out, "--format", "images")
    write_array(raw / "x" / "b.npy", [1.0])
    (raw / "notes.csv").write_text("any,thing\n1,2\n")
    outcome = build(raw, out)
    assert load_manifest(out).ids == ["x/a"]
    assert "ignored files: arrays 1, tables 1" in outcome.err
    check_refused(prep("build-shards", raw, out, "--format", "auto"), 2, "notes.csv", "--format")
    check_refused(prep("build-shards", raw, out, "--forget", "format"), 2, "notes.csv", "--format")
    (raw / "x" / "a.png").unlink()
    check_refused(prep("build-shards", raw, out), 1, "no images", "holds 1 array, which --format arrays takes")


def test_a_table_of_another_ending_is_remembered(arrays: Path, out: Path) -> None:
    (arrays / "a.png").unlink()
    (arrays / "train.csv").rename(arrays / "train.txt")
    build(arrays / "train.txt", out, "--format", "table", *COLUMNS)
    assert "4 kept" in build(arrays / "train.txt", out).out


def gone(table: Path, out: Path) -> None:
    table.unlink()


def unknown(table: Path, out: Path) -> None:
    shutil.rmtree(out / STATE_FOLDER)


@pytest.mark.parametrize(("lose", "says"), [(gone, "labels.csv is not there any more"), (unknown, "which says where, is gone")])
def test_a_table_of_labels_that_is_gone_is_one_line(
    lose: Callable[[Path, Path], None], says: str, arrays: Path, out: Path, tmp_path: Path
) -> None:
    table = tmp_path / "labels.csv"
    (arrays / "train.csv").rename(table)
    build(arrays, out, "--labels", table, "--format", "arrays", *COLUMNS)
    before = snapshot(out)
    copy = shutil.copy(table, tmp_path / "copy.csv")
    lose(table, out)
    for command in ("build-shards", "plan"):
        outcome = prep(command, arrays, out)
        check_refused(outcome, 2, "'labels.csv'", says, "pass --labels TABLE, or --forget labels")
        assert len(outcome.err.splitlines()) == 1
    assert snapshot(out) == before
    (tmp_path / "again").mkdir()
    assert "4 kept" in build(arrays, out, "--labels", Path(copy).rename(tmp_path / "again" / "labels.csv")).out
    assert "4 kept" in build(arrays, out).out


def test_a_table_of_labels_and_a_table_as_source_are_told_apart(arrays: Path, out: Path) -> None:
    (arrays / "a.png").unlink()
    build(arrays, out, "--labels", arrays / "train.csv", *COLUMNS)
    check_refused(prep("build-shards", arrays / "train.csv", out), 2, "goes with a folder as SOURCE", "--forget labels")
    assert "4 kept" in build(arrays / "train.csv", out, "--forget", "labels").out


@pytest.mark.parametrize(
    ("first", "then", "changes"),
    [
        (("--size", "2x2"), ("--forget", "size"), "size: [2, 2] -> None"),
        (("--scale", "unit"), ("--forget", "scale"), "scale: unit -> None"),
        (("--dtype", "uint16"), ("--forget", "dtype"), "dtype: uint16 -> uint8"),
        (("--color", "gray"), ("--forget", "color"), "channels: 1 -> 3"),
    ],
)
def test_an_option_of_the_shards_can_be_forgotten(
    first: tuple[str, ...], then: tuple[str, ...], changes: str, pets: Path, out: Path
) -> None:
    build(pets, out, *first)
    assert changes in build(pets, out, *then).err
    fresh = out.with_name("fresh")
    build(pets, fresh)
    assert snapshot(out) == snapshot(fresh)


def test_splits_and_folds_can_be_forgotten(pets: Path, out: Path) -> None:
    build(pets, out, "--split", "train=0.5,test=0.5", "--folds", "2")
    build(pets, out, "--forget", "folds")
    assert set(column(out, "split")) == set(column(out, "id"))
    assert column(out, "fold") == {}
    build(pets, out, "--forget", "split")
    assert column(out, "split") == {}
    assert "splits" not in json.loads((out / "dataset.json").read_text())


def test_what_may_be_switched_on_may_be_switched_off(raw: Path, out: Path) -> None:
    write_array(raw / "x" / "a.npy", [1.0])
    write_array(raw / "b.npy", [2.0])
    build(raw, out, "--allow-empty-labels", "--checksum")
    by_content = column(out, "fingerprint")
    build(raw, out)
    assert (column(out, "fingerprint"), given(out)) == (by_content, {"allow_empty_labels": True, "checksum": True})
    check_refused(prep("build-shards", raw, out, "--no-allow-empty-labels"), 1, "1 file without a label")
    build(raw, out, "--no-checksum")
    assert column(out, "fingerprint") != by_content
    assert given(out) == {"allow_empty_labels": True}


def test_pruning_is_not_repeated(pets: Path, out: Path) -> None:
    build(pets, out, "--prune")
    (pets / "cats" / "000.png").unlink()
    build(pets, out)
    assert "cats/000" in load_manifest(out).ids


def test_every_remembered_option_is_one_of_the_command() -> None:
    outcome = prep("build-shards", "--help")
    for name in REMEMBERED:
        assert name == "transforms" or f"--{name}" in outcome.out
    check_refused(prep("build-shards", "raw", "out", "--forget", "workers"), 2, "workers")
    with pytest.raises(UsageError, match=r"forget must name options of a build .*got 'workers'"):
        BuildOptions(forget=("workers",))


@pytest.mark.parametrize("stored", ["1", '{"labels": 1}', '{"labels": "../x.csv"}', '{"other": true}', '{"label_columns": [1]}'])
def test_what_a_dataset_says_was_given_is_checked(stored: str, pets: Path, out: Path) -> None:
    build(pets, out)
    raw = json.loads((out / "dataset.json").read_text())
    raw["recipe"]["source"] = json.loads(stored)
    (out / "dataset.json").write_text(json.dumps(raw))
    check_refused(prep("build-shards", pets, out), 1, "dataset.json", "recipe.source cannot be understood")
