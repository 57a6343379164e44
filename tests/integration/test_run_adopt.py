"""`prep adopt`: a manifest for arrays that exist already, as the readers of the per-ID generator tutorial have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd
import pytest
from command_line import Outcome, Snapshot, build, check_refused, prep, random_pixels, snapshot, write_array, write_pets

from manifests import load_manifest

LABELS = {"id-1": 0, "id-2": 1, "id-3": 2, "id-4": 1}
"""The tutorial's dictionary."""


@pytest.fixture
def tutorial(tmp_path: Path) -> Path:
    """`data/<ID>.npy` as the tutorial has them, and `labels.json` with its dictionary beside the folder."""
    for number, id_ in enumerate(LABELS):
        write_array(tmp_path / "data" / f"{id_}.npy", random_pixels(number, (2, 2, 2, 1)).astype(np.float64))
    (tmp_path / "labels.json").write_text(json.dumps(LABELS))
    return tmp_path / "data"


def adopt(folder: Path, *options: str | Path, labels: str = "labels.json") -> Outcome:
    return prep("adopt", folder, "--labels", folder.parent / labels, *options)


def arrays_of(folder: Path) -> Snapshot:
    return {name: digest for name, digest in snapshot(folder).items() if name.endswith(".npy")}


def test_the_tutorials_arrays_and_dictionary(tutorial: Path) -> None:
    before = snapshot(tutorial)
    outcome = adopt(tutorial)
    assert outcome.code == 0, outcome.err
    assert outcome.out == f"{tutorial}: 4 IDs; (2, 2, 2, 1) float64\n"
    manifest = load_manifest(tutorial)
    assert dict(manifest.frame[["id", "label"]].to_numpy()) == {id_: str(label) for id_, label in LABELS.items()}
    assert manifest.classes == ("0", "1", "2")
    for number, id_ in enumerate(LABELS):
        np.testing.assert_array_equal(manifest.load(id_), random_pixels(number, (2, 2, 2, 1)))
    assert set(snapshot(tutorial)) - set(before) == {"manifest.csv", "dataset.json"}  # nothing is copied
    assert arrays_of(tutorial) == before
    assert prep("verify", tutorial).code == 0
    assert "IDs       4" in prep("inspect", tutorial).out


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    frame.to_csv(path, index=False)


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    frame.to_parquet(path)


@pytest.mark.parametrize(("name", "write"), [("labels.csv", write_csv), ("labels.parquet", write_parquet)])
def test_a_table_of_labels(name: str, write: Callable[[Path, pd.DataFrame], None], tutorial: Path) -> None:
    write(tutorial.parent / name, pd.DataFrame({"ID": list(LABELS), "grade": list("abca"), "age": list("1234")}))
    outcome = adopt(tutorial, "--id-column", "ID", "--label", "grade", "--label", "age", labels=name)
    assert outcome.code == 0, outcome.err
    manifest = load_manifest(tutorial)
    assert list(manifest.frame["label"]) == list("abca")
    assert list(manifest.frame["age"]) == list("1234")
    assert manifest.classes_of_column("age") == ("1", "2", "3", "4")


def test_labels_may_lie_in_the_folder_itself(tutorial: Path) -> None:
    (tutorial / "labels.csv").write_text("id,label\n" + "".join(f"{id_},{label}\n" for id_, label in LABELS.items()))
    assert prep("adopt", tutorial, "--labels", tutorial / "labels.csv").code == 0
    assert prep("verify", tutorial).code == 0


def test_adopting_twice_changes_nothing(tutorial: Path) -> None:
    assert adopt(tutorial, "--split", "train=0.5,val=0.5").code == 0
    before = snapshot(tutorial)
    assert adopt(tutorial).code == 0
    assert snapshot(tutorial) == before


def test_splits_and_classes_stay_when_arrays_are_added(tutorial: Path) -> None:
    assert adopt(tutorial, "--split", "train=0.5,val=0.5", "--seed", "5").code == 0
    old = load_manifest(tutorial).frame.set_index("id")["split"].to_dict()
    more = LABELS | {f"id-{number}": -1 for number in range(5, 15)}
    for id_ in set(more) - set(LABELS):
        write_array(tutorial / f"{id_}.npy", np.zeros((2, 2, 2, 1)))
    (tutorial.parent / "labels.json").write_text(json.dumps(more))
    assert adopt(tutorial).code == 0
    manifest = load_manifest(tutorial)
    new = manifest.frame.set_index("id")["split"].to_dict()
    assert {id_: new[id_] for id_ in old} == old
    assert manifest.classes == ("0", "1", "2", "-1")


def test_the_result_as_json(tutorial: Path) -> None:
    outcome = adopt(tutorial, "--split", "train=0.75,val=0.25", "--json")
    assert outcome.json == {"path": str(tutorial), "ids": 4, "splits": {"train": 3, "val": 1}, "classes": ["0", "1", "2"]}
    assert "table: labels.json, 4 rows" in outcome.err


def test_arrays_without_labels_are_all_named_or_taken_when_asked_for(tutorial: Path) -> None:
    write_array(tutorial / "more" / "x.npy", np.zeros((2, 2, 2, 1)))
    write_array(tutorial / "y.npy", np.zeros((2, 2, 2, 1)))
    before = snapshot(tutorial)
    check_refused(adopt(tutorial), 1, "2 arrays without a label", "more/x.npy", "y.npy", "--allow-empty-labels")
    assert snapshot(tutorial) == before
    assert adopt(tutorial, "--allow-empty-labels").code == 0
    frame = load_manifest(tutorial).frame
    assert dict(frame[["id", "label"]].to_numpy()) == {id_: str(label) for id_, label in LABELS.items()} | {"more/x": "", "y": ""}


def test_labels_without_arrays_are_all_named(tutorial: Path) -> None:
    (tutorial.parent / "labels.json").write_text(json.dumps(LABELS | {"id-8": 0, "id-9": 1}))
    before = snapshot(tutorial)
    check_refused(adopt(tutorial), 1, "2 labels without an array", "'id-8'", "'id-9'")
    check_refused(adopt(tutorial, "--allow-empty-labels"), 1, "'id-8'", "'id-9'")
    assert snapshot(tutorial) == before


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "cannot be read as JSON"),
        ("[1, 2]", "expected one JSON object"),
        ('{"id-1": [0]}', "expected one JSON object"),
        ('{"id-1": 0, "id-1": 1}', "names an ID twice: 'id-1'"),
        ("{}", "no rows"),
        ('{"../id-1": 0}', "'../id-1'"),
        ('{"\\u001b[2J": 0}', r"\x1b[2J"),
        ('{"id-1": null}', "expected one JSON object"),
        ("[" * 100_000, "cannot be read as JSON"),
    ],
)
def test_labels_that_are_none_are_refused(content: str, says: str, tutorial: Path) -> None:
    (tutorial.parent / "labels.json").write_text(content)
    before = snapshot(tutorial)
    check_refused(adopt(tutorial), 1, "labels.json", says)
    assert snapshot(tutorial) == before


def test_bad_arrays_are_all_named(tutorial: Path) -> None:
    (tutorial / "id-1.npy").write_bytes(b"")
    np.save(tutorial / "id-2.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tutorial / "id-3.npy").write_bytes((tutorial / "id-3.npy").read_bytes()[:-1])
    before = snapshot(tutorial)
    check_refused(adopt(tutorial), 1, "3 arrays cannot be used", "id-1.npy", "id-2.npy", "Python objects", "id-3.npy", "truncated")
    assert snapshot(tutorial) == before


def test_an_array_that_is_a_link_to_elsewhere_is_refused(tutorial: Path) -> None:
    outside = write_array(tutorial.parent / "outside.npy", np.zeros(3))
    (tutorial / "id-1.npy").unlink()
    (tutorial / "id-1.npy").symlink_to(outside)
    check_refused(adopt(tutorial), 1, "id-1.npy", "outside")
    assert not (tutorial / "manifest.csv").exists()


def test_what_is_not_there_is_wrong_usage(tutorial: Path) -> None:
    check_refused(adopt(tutorial.parent / "nowhere"), 2, "nowhere", "no such folder")
    check_refused(adopt(tutorial, labels="nowhere.csv"), 2, "nowhere.csv", "no such table")
    check_refused(adopt(tutorial, "--split", "train=2"), 2, "train=2")
    check_refused(prep("adopt", tutorial), 2, "--labels")


def test_a_folder_without_arrays_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "labels.json").write_text("{}")
    check_refused(adopt(tmp_path / "data"), 1, "no .npy files")


def test_a_manifest_of_others_is_left_alone(tutorial: Path) -> None:
    (tutorial / "manifest.csv").write_text("id,label\nid-1,mine\n")
    before = snapshot(tutorial)
    check_refused(adopt(tutorial), 2, str(tutorial), "adopt did not write", "remove it")
    (tutorial / "manifest.csv").write_text("nonsense")
    check_refused(adopt(tutorial), 2, str(tutorial), "cannot be read", "remove it")
    (tutorial / "manifest.csv").write_text("id,label\nid-1,mine\n")
    assert snapshot(tutorial) == before


def test_a_built_dataset_is_not_adopted_nor_an_adopted_one_built(tutorial: Path, tmp_path: Path) -> None:
    build(write_pets(tmp_path / "raw"), tmp_path / "built")
    (tmp_path / "labels.csv").write_text("id,label\n")
    before = snapshot(tmp_path / "built")
    check_refused(adopt(tmp_path / "built", labels="labels.csv"), 2, "adopt did not write")
    assert snapshot(tmp_path / "built") == before
    assert adopt(tutorial).code == 0
    before = snapshot(tutorial)
    check_refused(prep("build-shards", tmp_path / "raw", tutorial), 2, "no build made", "choose another folder")
    assert snapshot(tutorial) == before


@pytest.mark.parametrize("function", ["write_manifest", "write_metadata"])
@pytest.mark.parametrize("again", [False, True])
def test_a_full_disk_leaves_all_as_it_was(function: str, again: bool, tutorial: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if again:
        assert adopt(tutorial).code == 0
    before = snapshot(tutorial)

    def fail(*_: object) -> NoReturn:
        raise OSError(28, "No space left on device", str(tutorial / "manifest.csv"))

    with monkeypatch.context() as patch:
        patch.setattr(f"prep.build.stage.stage.{function}", fail)
        check_refused(adopt(tutorial, "--split", "train=0.5,val=0.5"), 1, "manifest.csv", "No space left")
    assert snapshot(tutorial) == before
    assert adopt(tutorial).code == 0
