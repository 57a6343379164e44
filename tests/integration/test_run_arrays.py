"""Samples with further arrays, such as masks: built, kept, checked, moved and removed with the main one."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import build, check_leaves_no_trace, check_refused, prep, snapshot, write_array
from scenes import mask_of, write_scene

from manifests import UnknownNameError, load_manifest

pytestmark = pytest.mark.usefixtures("scene_reader")

MASKS = {"a/0": 0, "a/1": 1, "b/2": 2}
"""IDs with a mask; `b/3` has none, and `a/1` has keypoints too."""


def row_of(out: Path, id_: str) -> dict[str, str]:
    with (out / "manifest.csv").open(newline="") as file:
        return next(row for row in csv.DictReader(file) if row["id"] == id_)


def arrays_in(out: Path) -> list[str]:
    """Return the files of further arrays."""
    return sorted(path.relative_to(out).as_posix() for path in (out / "arrays").rglob("*.npy"))


def metadata(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "dataset.json").read_bytes())
    return found


@pytest.fixture
def scenes(raw: Path) -> Path:
    """Four scenes: three with a mask, of which one has keypoints too, and one with nothing but its image."""
    for id_, number in MASKS.items():
        further = {"keypoints": ("float32", [[0.5, 1.5], [2.0, 3.0]])} if id_ == "a/1" else {}
        write_scene(raw / f"{id_}.scene", number, mask=mask_of(number), **further)
    write_scene(raw / "b" / "3.scene", 3)
    return raw


@pytest.mark.parametrize("workers", ["1", "2"])
def test_each_array_has_its_file_and_its_columns(scenes: Path, out: Path, workers: str) -> None:
    outcome = prep("build-shards", scenes, out, "--workers", workers)
    assert outcome.code == 0, outcome.err
    assert arrays_in(out) == ["arrays/keypoints/a/1.npy", "arrays/mask/a/0.npy", "arrays/mask/a/1.npy", "arrays/mask/b/2.npy"]
    header = (out / "manifest.csv").read_text().splitlines()[0]
    fields = ("path", "shape", "dtype", "sha256")
    assert header == ",".join(
        ["id", "label", "path", "shape", "dtype", "sha256", "source", "fingerprint"]
        + [f"{name}.{field}" for name in ("keypoints", "mask") for field in fields]
    )
    row = row_of(out, "a/1")
    assert [row[f"mask.{field}"] for field in fields[:3]] == ["arrays/mask/a/1.npy", "3x4", "uint8"]
    assert [row_of(out, "b/3")[f"{name}.{field}"] for name in ("mask", "keypoints") for field in fields] == [""] * 8
    assert metadata(out)["arrays"] == {"keypoints": {"shape": [2, 2], "dtype": "float32"}, "mask": {"shape": [3, 4], "dtype": "uint8"}}
    manifest = load_manifest(out)
    assert str(manifest.arrays["mask"]) == "(3, 4) uint8"
    assert manifest.has_array("mask").tolist() == [True, True, True, False]
    for id_, number in MASKS.items():
        np.testing.assert_array_equal(manifest.load(id_, "mask"), np.array(mask_of(number)[1], np.uint8))
        assert manifest.load(id_).shape == (3, 4, 3)
    with pytest.raises(UnknownNameError, match=r"ID 'b/3' of .* has no array 'mask'"):
        manifest.load("b/3", "mask")
    with pytest.raises(UnknownNameError, match=r"no array 'depth' in .*; the further arrays are 'keypoints', 'mask'"):
        manifest.load("a/1", "depth")
    assert prep("verify", out).code == 0
    check_leaves_no_trace(out)


def test_the_number_of_workers_does_not_show(scenes: Path, tmp_path: Path) -> None:
    build(scenes, tmp_path / "one")
    assert prep("build-shards", scenes, tmp_path / "two", "--workers", "2").code == 0
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")


def test_a_dataset_without_further_arrays_says_nothing_of_them(scenes: Path, out: Path) -> None:
    build(scenes / "b", out)
    (scenes / "b" / "2.scene").unlink()
    build(scenes / "b", out, "--prune")
    assert "arrays" not in metadata(out)
    assert "mask" not in (out / "manifest.csv").read_text()
    assert not (out / "arrays").exists()


# Building again


def test_nothing_changed_is_nothing_done(scenes: Path, out: Path) -> None:
    build(scenes, out)
    before = snapshot(out)
    assert build(scenes, out, "--json").json["kept"] == 4
    assert snapshot(out) == before


def test_a_changed_item_brings_its_arrays(scenes: Path, out: Path, tmp_path: Path) -> None:
    build(scenes, out)
    write_scene(scenes / "a" / "0.scene", 7, mask=("int16", [[1, 2]]), depth=("float64", [[0.0]]))
    write_scene(scenes / "a" / "1.scene", 8)  # which loses both
    write_scene(scenes / "b" / "3.scene", 9, mask=mask_of(9))
    assert build(scenes, out, "--json").json["rebuilt"] == 3
    assert arrays_in(out) == ["arrays/depth/a/0.npy", "arrays/mask/a/0.npy", "arrays/mask/b/2.npy", "arrays/mask/b/3.npy"]
    assert not (out / "arrays" / "keypoints").exists()
    assert metadata(out)["arrays"]["mask"] == {"shape": [None, None], "dtype": None}
    build(scenes, tmp_path / "fresh")
    assert snapshot(out) == snapshot(tmp_path / "fresh")


def test_a_removed_item_keeps_its_arrays_until_it_is_pruned(scenes: Path, out: Path, tmp_path: Path) -> None:
    build(scenes, out)
    (scenes / "a" / "1.scene").unlink()
    before = arrays_in(out)
    assert build(scenes, out, "--json").json["gone"] == 1
    assert arrays_in(out) == before
    assert row_of(out, "a/1")["keypoints.shape"] == "2x2"
    build(scenes, out, "--prune")
    assert arrays_in(out) == ["arrays/mask/a/0.npy", "arrays/mask/b/2.npy"]
    build(scenes, tmp_path / "fresh")
    assert snapshot(out) == snapshot(tmp_path / "fresh")
    assert prep("verify", out).code == 0


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1])], ids=["missing", "short"])
def test_a_damaged_array_is_built_again(scenes: Path, out: Path, damage: Any) -> None:
    build(scenes, out)
    before = snapshot(out)
    damage(out / "arrays" / "mask" / "b" / "2.npy")
    assert build(scenes, out, "--json").json["rebuilt"] == 1
    assert snapshot(out) == before


def test_a_renamed_item_is_copied_with_its_arrays(scenes: Path, out: Path, tmp_path: Path) -> None:
    build(scenes, out, "--checksum")
    (scenes / "a" / "1.scene").rename(scenes / "a" / "9.scene")
    assert build(scenes, out, "--checksum", "--prune", "--json").json["moved"] == 1
    build(scenes, tmp_path / "fresh", "--checksum")
    assert snapshot(out) == snapshot(tmp_path / "fresh")


def test_a_renamed_item_of_which_an_array_is_damaged_is_built(scenes: Path, out: Path, tmp_path: Path) -> None:
    build(scenes, out, "--checksum")
    (scenes / "a" / "1.scene").rename(scenes / "a" / "9.scene")
    path = out / "arrays" / "mask" / "a" / "1.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    summary = build(scenes, out, "--checksum", "--prune", "--json").json
    assert (summary["moved"], summary["kept"]) == (1, 3)  # it is told as moved: its row had another name
    build(scenes, tmp_path / "fresh", "--checksum")
    assert snapshot(out) == snapshot(tmp_path / "fresh")


def test_a_failed_item_is_tried_again_with_its_arrays(scenes: Path, out: Path, tmp_path: Path) -> None:
    build(scenes, tmp_path / "fresh")
    whole = (scenes / "a" / "1.scene").read_text()
    (scenes / "a" / "1.scene").write_text('{"image": ["uint8", [1]], "Mask": ["uint8", [1]]}')
    assert prep("build-shards", scenes, out, "--workers", "1").code == 1
    (scenes / "a" / "1.scene").write_text(whole)
    assert prep("retry", out, "--workers", "1").code == 0
    assert snapshot(out)["arrays/mask/a/1.npy"] == snapshot(tmp_path / "fresh")["arrays/mask/a/1.npy"]
    assert metadata(out)["arrays"] == metadata(tmp_path / "fresh")["arrays"]


# What is refused


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"Mask": ("uint8", [1])}, "the reader 'scenes' gives an array of a bad name: expected lower-case letters, digits and '_'"),
        ({"a.b": ("uint8", [1])}, "found 'a.b'"),
        ({"mask": ("object", [1])}, "the reader 'scenes' gives an array of dtype object as 'mask'; expected an array of numbers"),
        ({"mask": ("U2", ["a"])}, "an array of dtype str64 as 'mask'"),
        ({f"n{number}": ("uint8", [1]) for number in range(33)}, "gives 33 arrays beside the main one; at most 32 are stored"),
    ],
)
def test_an_array_that_cannot_be_stored_is_a_failure_of_its_item(scenes: Path, out: Path, arrays: Any, says: str) -> None:
    write_scene(scenes / "b" / "bad.scene", 5, **arrays)
    outcome = prep("build-shards", scenes, out, "--workers", "1")
    check_refused(outcome, 1, "read", says)
    assert len(load_manifest(out)) == 4


@pytest.mark.parametrize(
    "transform",
    [
        'name = "crop"\nsize = [2, 2]',
        'name = "resize"\nsize = [2, 2]',
        'name = "tile"\nsize = [1, 1]',
        'name = "transpose"\naxes = [1, 0, 2]',
    ],
)
def test_a_transform_that_moves_values_is_refused_where_arrays_go_with_them(scenes: Path, out: Path, transform: str) -> None:
    recipe = scenes.parent / "recipe.toml"
    recipe.write_text(f"[[transforms]]\n{transform}\n")
    name = transform.split('"')[1]
    outcome = prep("build-shards", scenes, out, "--workers", "1", "--recipe", recipe)
    check_refused(
        outcome,
        1,
        f"transform: {name} changes only the main array, and 'mask' would no longer go with it; leave the transform out, or have the "
        "reader do it to all of them",
        "'keypoints', 'mask' would",
    )
    assert {id_.rpartition("-")[0] or id_ for id_ in load_manifest(out).ids} == {"b/3"}


def test_values_and_dtype_of_the_main_array_alone_are_changed(scenes: Path, out: Path) -> None:
    recipe = scenes.parent / "recipe.toml"
    recipe.write_text('[[transforms]]\nname = "gray"\n\n[[transforms]]\nname = "scale"\nfactor = "1/255"\n\n[output]\ndtype = "float16"\n')
    build(scenes, out, "--recipe", recipe)
    manifest = load_manifest(out)
    assert (manifest.load("a/1").dtype, manifest.load("a/1").shape) == (np.float16, (3, 4, 1))
    np.testing.assert_array_equal(manifest.load("a/1", "mask"), np.array(mask_of(1)[1], np.uint8))


def test_arrays_are_stored_little_endian_and_in_c_order(raw: Path, out: Path) -> None:
    write_scene(raw / "x.scene", 1, mask=(">i4", [[1, 2], [3, 4]]), scalar=("complex64", 5))
    build(raw, out)
    assert b"'descr': '<i4', 'fortran_order': False" in (out / "arrays" / "mask" / "x.npy").read_bytes()
    assert load_manifest(out).load("x", "scalar").shape == ()
    assert row_of(out, "x")["scalar.shape"] == "scalar"


def test_a_column_of_the_users_with_such_a_name_is_not_kept(scenes: Path, out: Path) -> None:
    table = scenes.parent / "labels.csv"
    table.write_text("id,path,label,mask.shape,grid.size\na/0,a/0.scene,x,old,7\nb/3,b/3.scene,y,new,8\n")
    outcome = build(scenes, out, "--labels", table, "--label", "label")
    assert "not kept: 'mask.shape', names that the manifest gives a meaning of its own" in outcome.err
    assert row_of(out, "a/0")["mask.shape"] == "3x4"
    assert row_of(out, "b/3")["grid.size"] == "8"
    assert row_of(out, "b/3")["mask.shape"] == ""


# Checking


@pytest.mark.parametrize(
    ("damage", "quick", "kind"),
    [
        (Path.unlink, True, "missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), True, "damaged"),
        (lambda path: np.save(path, np.zeros((3, 5), np.uint8)), True, "shape"),
        (lambda path: np.save(path, np.zeros((3, 4), np.int8)), True, "dtype"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x7f"), False, "sha256"),
    ],
)
def test_verify_looks_at_every_array(scenes: Path, out: Path, damage: Any, quick: bool, kind: str) -> None:
    build(scenes, out)
    damage(out / "arrays" / "mask" / "a" / "1.npy")
    (out / "arrays" / "mask" / "stray.txt").touch()
    outcome = prep("verify", out, "--json", *(["--quick"] if quick else []))
    assert outcome.code == 1
    found = [(finding["kind"], finding["id"], finding["path"]) for finding in outcome.json["findings"]]
    assert found == [(kind, "a/1", "arrays/mask/a/1.npy"), ("extra", None, "arrays/mask/stray.txt")]
    assert outcome.json["without_sha256"] == 0


def test_arrays_that_share_a_file_are_refused(scenes: Path, out: Path) -> None:
    build(scenes, out)
    text = (out / "manifest.csv").read_text().replace("arrays/mask/a/0.npy", "arrays/mask/a/1.npy")
    (out / "manifest.csv").write_text(text)
    check_refused(prep("verify", out), 1, "path 'arrays/mask/a/1.npy' of ID 'a/1' is also that of 'a/0' in row 2")


# Datasets


def test_inspect_lists_arrays(scenes: Path, out: Path) -> None:
    build(scenes, out)
    text = prep("inspect", out).out
    assert "array     (3, 4, 3) uint8" in text
    assert "  mask    (3, 4) uint8; 3 IDs" in text
    told = prep("inspect", out, "--json").json
    assert told["arrays"] == {
        "keypoints": {"array": "(2, 2) float32", "ids": 1},
        "mask": {"array": "(3, 4) uint8", "ids": 3},
    }
    assert told["bytes"] == sum(path.stat().st_size for path in out.rglob("*.npy"))
    assert "array &#x27;mask&#x27;: <code>(3, 4) uint8</code>" in load_manifest(out)._repr_html_()


def test_diff_sees_changed_arrays(scenes: Path, out: Path, tmp_path: Path) -> None:
    build(scenes, out)
    write_scene(scenes / "a" / "0.scene", 0, mask=("uint8", [[1]]))
    write_scene(scenes / "b" / "2.scene", 2)
    build(scenes, tmp_path / "other")
    difference = prep("diff", out, tmp_path / "other", "--json")
    assert difference.json["differ"]
    changed = [(change["id"], change["column"]) for change in difference.json["changed"]]
    assert changed == [("a/0", "mask.sha256"), ("b/2", "mask.path")]
    assert difference.json["relabelled"] == []
    assert "~ 'b/2': mask.path 'arrays/mask/b/2.npy' -> ''" in prep("diff", out, tmp_path / "other").out
    assert prep("diff", out, out).out == "no differences\n"


@pytest.mark.parametrize("folder", ["", "shards/"])
def test_adopt_takes_further_arrays(out: Path, folder: str) -> None:
    for id_ in ("a", "c"):
        write_array(out / f"{folder}{id_}.npy", np.zeros((2, 3), np.float32))
    write_array(out / "arrays" / "mask" / "c.npy", np.ones((2, 3), bool))
    (out / "labels.csv").write_text("id,label\na,x\nc,y\n")
    outcome = prep("adopt", out, "--labels", out / "labels.csv")
    assert outcome.code == 0, outcome.err
    assert load_manifest(out).ids == ["a", "c"]
    assert row_of(out, "c")["mask.shape"] == "2x3"
    assert metadata(out)["arrays"] == {"mask": {"shape": [2, 3], "dtype": "bool"}}
    assert prep("verify", out).code == 0
    (out / "arrays" / "mask" / "a.npy").write_bytes(b"no array")
    check_refused(prep("adopt", out, "--labels", out / "labels.csv"), 1, "1 further array cannot be used:", "arrays/mask/a.npy: ")


def test_adopt_takes_a_folder_called_arrays_as_any_other(out: Path) -> None:
    write_array(out / "arrays" / "x" / "1.npy", np.zeros(3))
    (out / "labels.csv").write_text("id,label\narrays/x/1,x\n")
    assert prep("adopt", out, "--labels", out / "labels.csv").code == 0
    assert load_manifest(out).ids == ["arrays/x/1"]


def test_merge_copies_arrays(scenes: Path, out: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        table = tmp_path / f"{name}.csv"
        ids = [id_ for id_ in (*MASKS, "b/3") if id_.startswith(name)]
        table.write_text("id,path,label\n" + "".join(f"{id_},{id_}.scene,x\n" for id_ in ids))
        build(scenes, tmp_path / name, "--labels", table)
    outcome = prep("merge", tmp_path / "a", tmp_path / "b", out)
    assert outcome.code == 0, outcome.err
    build(scenes, tmp_path / "whole")
    assert arrays_in(out) == arrays_in(tmp_path / "whole")
    assert [snapshot(out)[path] for path in arrays_in(out)] == [snapshot(tmp_path / "whole")[path] for path in arrays_in(out)]
    assert metadata(out)["arrays"] == metadata(tmp_path / "whole")["arrays"]
    assert prep("verify", out).code == 0
    np.testing.assert_array_equal(load_manifest(out).load("b/2", "mask"), np.array(mask_of(2)[1], np.uint8))


def test_merge_lists_arrays_that_contradict_each_other(scenes: Path, out: Path, tmp_path: Path) -> None:
    build(scenes, tmp_path / "a")
    write_scene(scenes / "a" / "0.scene", 0, mask=mask_of(5))
    build(scenes, tmp_path / "b")
    check_refused(prep("merge", tmp_path / "a", tmp_path / "b", out), 1, "ID 'a/0': content 'mask.sha256'")
    assert prep("merge", tmp_path / "a", tmp_path / "b", out, "--prefer", "b").code == 0
    np.testing.assert_array_equal(load_manifest(out).load("a/0", "mask"), np.array(mask_of(5)[1], np.uint8))
    damaged = tmp_path / "b" / "arrays" / "mask" / "b" / "2.npy"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x7f")
    check_refused(prep("merge", tmp_path / "a", tmp_path / "b", tmp_path / "third", "--prefix-b", "b-"), 1, "arrays/mask/b/2.npy: sha256")


def test_merge_refuses_arrays_of_other_shapes_unless_they_may_be_mixed(raw: Path, out: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("a", "b")):
        write_scene(raw / name / f"{name}.scene", number, mask=("uint8", [0] * (number + 1)))
        build(raw / name, tmp_path / name)
    check_refused(prep("merge", tmp_path / "a", tmp_path / "b", out), 1, "array 'mask': A has (1) uint8, B has (2) uint8", "--mixed")
    assert prep("merge", tmp_path / "a", tmp_path / "b", out, "--mixed").code == 0
    assert metadata(out)["arrays"] == {"mask": {"shape": [None], "dtype": "uint8"}}
