"""`prep verify --leaks`: what stands in two splits or folds although it is one thing, each with its IDs."""

from __future__ import annotations

import importlib
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from command_line import Outcome, check_refused, prep
from PIL import Image

from manifests import load_manifest, write_manifest
from manifests.verification.verify import file_sha256

Rows = list[dict[str, str]]


def picture(seed: int, shape: tuple[int, ...] = (48, 64, 3)) -> npt.NDArray[np.uint8]:
    """Return a smooth picture, as photographs are; no two seeds look alike."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, *shape[2:]), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def stored_anew(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return a picture as it comes back from a JPEG."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=80)
    return np.asarray(Image.open(file))


def dataset(root: Path, arrays: dict[str, npt.NDArray[Any]], rows: Rows) -> Path:
    """Write arrays as shards, and the rows of those that have one."""
    (root / "shards").mkdir(parents=True)
    for name, array in arrays.items():
        np.save(root / "shards" / f"{name}.npy", array)
    write_manifest(pd.DataFrame(rows, dtype=str).fillna(""), root / "manifest.csv")
    return root


def rows_of(**splits: str) -> Rows:
    return [{"id": id_, "split": split} for id_, split in splits.items()]


def leaks(root: Path, *flags: str, code: int = 1) -> list[dict[str, Any]]:
    outcome = prep("verify", root, "--leaks", "--json", *flags)
    assert outcome.code == code, outcome.err
    found: list[dict[str, Any]] = outcome.json["leaks"]["found"]
    return found


def leak(kind: str, across: str, name: str = "", **places: list[str]) -> dict[str, Any]:
    return {"kind": kind, "across": across, "name": name, "places": places}


@pytest.fixture
def hashing() -> None:
    pytest.importorskip("imagehash")


def test_groups_in_two_splits_or_folds_are_listed_with_their_ids(tmp_path: Path) -> None:
    rows: Rows = [
        {"id": "a", "split": "train", "group": "p1", "fold": "0"},
        {"id": "b", "split": "test", "group": "p1", "fold": ""},
        {"id": "c", "split": "train", "group": "p2", "fold": "0"},
        {"id": "d", "split": "train", "group": "p2", "fold": "1"},
        {"id": "e", "split": "train", "group": "", "fold": "0"},
        {"id": "f", "split": "test", "group": "", "fold": ""},
        {"id": "g", "split": "", "group": "p1", "fold": ""},
    ]
    root = dataset(tmp_path / "data", {row["id"]: np.full(3, number) for number, row in enumerate(rows)}, rows)
    assert leaks(root, "--no-near") == [
        leak("group", "split", "p1", test=["b"], train=["a"]),
        leak("group", "fold", "p2", **{"0": ["c"], "1": ["d"]}),
    ]
    text = prep("verify", root, "--leaks", "--no-near")
    assert text.code == 1
    assert "leak: group 'p1' in 2 splits: test: 'b'; train: 'a'" in text.out
    assert "2 leaks" in text.out


@pytest.mark.parametrize("with_sha256", [True, False])
def test_identical_shards_across_splits_are_listed(tmp_path: Path, with_sha256: bool) -> None:
    arrays = {"a": np.arange(4), "b": np.arange(4), "c": np.arange(4), "d": np.arange(5), "e": np.zeros(2), "f": np.zeros(2)}
    rows = rows_of(a="train", b="test", c="train", d="test", e="train", f="train")
    root = dataset(tmp_path / "data", arrays, rows)
    if with_sha256:
        frame = load_manifest(root).frame.copy()
        frame["sha256"] = [file_sha256(root / "shards" / f"{id_}.npy") for id_ in frame["id"]]
        write_manifest(frame, root / "manifest.csv")
    assert leaks(root, "--no-near") == [leak("identical", "split", test=["b"], train=["a", "c"])]


def test_near_images_across_splits_are_listed_and_unlike_ones_are_not(tmp_path: Path, hashing: None) -> None:
    arrays = {f"other-{seed}": picture(100 + seed) for seed in range(20)}
    arrays |= {"a": picture(1), "b": stored_anew(picture(1)), "c": picture(2), "d": stored_anew(picture(2))}
    splits = {name: "train" if number % 2 else "test" for number, name in enumerate(arrays)} | {"c": "train", "d": "train"}
    root = dataset(tmp_path / "data", arrays, rows_of(**splits))
    assert leaks(root) == [leak("near", "split", test=["a"], train=["b"])]
    assert leaks(root, "--no-near", code=0) == []


@pytest.mark.parametrize("dtype", ["float32", "uint16", "gray", "gray1"])
def test_images_of_any_range_are_compared(tmp_path: Path, hashing: None, dtype: str) -> None:
    made: dict[str, Any] = {
        "float32": lambda image: image.astype(np.float32) / 127.5 - 1,
        "uint16": lambda image: image.astype(np.uint16) * 257,
        "gray": lambda image: image[:, :, 0],
        "gray1": lambda image: image[:, :, :1],
    }
    one, other = stored_anew(picture(1)), picture(1)
    root = dataset(tmp_path / "data", {"a": made[dtype](one), "b": made[dtype](other)}, rows_of(a="train", b="test"))
    assert leaks(root) == [leak("near", "split", test=["b"], train=["a"])]


def test_identical_images_are_not_told_twice(tmp_path: Path, hashing: None) -> None:
    root = dataset(tmp_path / "data", {"a": picture(1), "b": picture(1)}, rows_of(a="train", b="test"))
    assert leaks(root) == [leak("identical", "split", test=["b"], train=["a"])]


def test_images_of_one_colour_are_compared_by_bytes_only(tmp_path: Path, hashing: None) -> None:
    arrays = {"a": np.full((9, 9), 1, np.uint8), "b": np.full((9, 9), 2, np.uint8), "c": np.full((9, 9), 2, np.uint8)}
    root = dataset(tmp_path / "data", arrays, rows_of(a="train", b="test", c="train"))
    outcome = prep("verify", root, "--leaks", "--json")
    assert outcome.json["leaks"]["found"] == [leak("identical", "split", test=["b"], train=["c"])]
    assert outcome.json["leaks"]["flat"] == ["a", "b", "c"]
    assert "3 IDs compared by bytes only (an image of a single colour)" in outcome.err


def test_a_colour_image_of_one_colour_is_flat_too(tmp_path: Path, hashing: None) -> None:
    red, blue = (np.full((9, 9, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    root = dataset(tmp_path / "data", {"a": red, "b": blue}, rows_of(a="train", b="test"))
    outcome = prep("verify", root, "--leaks", "--json")
    assert outcome.code == 0, outcome.out
    assert outcome.json["leaks"]["flat"] == ["a", "b"]


def test_arrays_that_are_no_images_are_said_to_be_left_out(tmp_path: Path, hashing: None) -> None:
    arrays = {
        "line": np.arange(9),
        "tiny": np.ones((4, 99)),
        "deep": np.ones((9, 9, 4)),
        "volume": np.ones((9, 9, 9, 3)),
        "image": picture(1),
    }
    root = dataset(tmp_path / "data", arrays, rows_of(line="train", tiny="test", deep="train", volume="train", image="test"))
    outcome = prep("verify", root, "--leaks", "--json")
    assert outcome.code == 0, outcome.out
    assert outcome.json["leaks"]["left_out"] == ["deep", "line", "tiny", "volume"]
    assert "not an image: HxW, HxWx1 or HxWx3" in outcome.err


def test_the_distance_decides_what_is_near(tmp_path: Path, hashing: None) -> None:
    noisy = np.clip(picture(1).astype(int) + np.random.default_rng(0).normal(0, 90, (48, 64, 3)), 0, 255).astype(np.uint8)
    root = dataset(tmp_path / "data", {"a": picture(1), "b": noisy}, rows_of(a="train", b="test"))
    assert leaks(root, "--near-distance", "0", code=0) == []
    assert leaks(root, "--near-distance", "10") == [leak("near", "split", test=["b"], train=["a"])]


def test_near_images_in_two_folds_leak_too(tmp_path: Path, hashing: None) -> None:
    rows: Rows = [{"id": "a", "split": "train", "fold": "0"}, {"id": "b", "split": "train", "fold": "1"}]
    root = dataset(tmp_path / "data", {"a": picture(1), "b": stored_anew(picture(1))}, rows)
    assert leaks(root) == [leak("near", "fold", **{"0": ["a"], "1": ["b"]})]


def test_a_dataset_without_splits_has_nothing_to_leak_across(tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", {"a": np.zeros(3), "b": np.zeros(3)}, [{"id": "a"}, {"id": "b"}])
    outcome: Outcome = prep("verify", root, "--leaks", "--no-near")
    assert outcome.code == 0
    assert "neither splits nor folds" in outcome.err


def test_a_shard_that_cannot_be_read_is_told_and_the_others_compared(tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", {"a": np.zeros(3), "b": np.zeros(3), "c": np.ones(3)}, rows_of(a="train", b="test", c="train"))
    (root / "shards" / "c.npy").write_bytes(b"no array")
    outcome = prep("verify", root, "--leaks", "--no-near", "--json")
    assert outcome.json["leaks"]["unread"] == ["c"]
    assert len(outcome.json["leaks"]["found"]) == 1
    assert [finding["id"] for finding in outcome.json["findings"]] == ["c"]


def test_rows_of_a_pack_are_compared_one_by_one(tmp_path: Path) -> None:
    root = tmp_path / "data"
    rows = [{"id": f"{i}", "split": "train" if i else "test", "path": "pack.npy", "row": f"{i}"} for i in range(3)]
    dataset(root, {}, rows)
    np.save(root / "pack.npy", np.array([[1, 2], [3, 4], [1, 2]]))
    frame = load_manifest(root).frame.copy()
    frame["sha256"] = file_sha256(root / "pack.npy")
    write_manifest(frame, root / "manifest.csv")
    assert leaks(root, "--no-near") == [leak("identical", "split", test=["0"], train=["2"])]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--near-distance", "3"], "need --leaks"),
        (["--no-near"], "need --leaks"),
        (["--leaks", "--no-near", "--near-distance", "3"], "cannot be used together"),
        (["--leaks", "--near-distance", "11"], "--near-distance"),
    ],
)
def test_options_that_do_not_go_together_are_refused(existing: Path, flags: list[str], says: str) -> None:
    check_refused(prep("verify", existing, *flags), 2, says)


def test_without_the_library_of_hashes_it_is_said_what_to_install(existing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagehash", None)
    with pytest.raises(ImportError):
        importlib.import_module("imagehash")
    check_refused(prep("verify", existing, "--leaks"), 2, "pip install 'shardfeed[leaks]'", "--no-near")
