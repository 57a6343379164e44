"""The three sources that people start with, from the raw files to `load_manifest`, held against independent reads."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import build, prep, random_pixels, write_array, write_image
from PIL import Image, ImageOps

from manifests import LabelSpec, load_manifest


def check_round_trip(out: Path, expected: dict[str, np.ndarray], labels: dict[str, str] | None) -> None:
    """Hold a dataset against the arrays and labels that it should have, ID by ID."""
    manifest = load_manifest(out)
    assert sorted(manifest.ids) == sorted(expected)
    for id_, array in expected.items():
        loaded = manifest.load(id_)
        np.testing.assert_array_equal(loaded, array, err_msg=id_)
        assert (loaded.shape, loaded.dtype) == (array.shape, array.dtype)
    if labels is None:
        assert "label" not in manifest.frame.columns
    else:
        assert dict(manifest.frame[["id", "label"]].to_numpy()) == labels
        assert manifest.classes == tuple(sorted(set(labels.values())))
    assert prep("verify", out).code == 0


def by_pillow(path: Path, *, gray: bool = False, size: tuple[int, int] | None = None) -> np.ndarray:
    with Image.open(path) as image:
        converted = ImageOps.exif_transpose(image).convert("L" if gray else "RGB")
        if size is not None:
            converted = converted.resize(size[::-1], Image.Resampling.BILINEAR)
        array = np.asarray(converted)
    return array[..., None] if gray else array


def test_an_image_folder(raw: Path, out: Path) -> None:
    paths = [
        write_image(raw / "cats" / "007.png", seed=1),
        write_image(raw / "cats" / "NA.bmp", seed=2),
        write_image(raw / "dogs" / "1e5.tif", seed=3),
        write_image(raw / "dogs" / "null.jpg", seed=4),
        write_image(raw / "Vögel" / "größe.gif", seed=5),
        write_image(raw / "Vögel" / "a.b.webp", seed=6),
    ]
    outcome = build(raw, out)
    ids = [path.relative_to(raw).with_suffix("").as_posix() for path in paths]
    check_round_trip(
        out,
        {id_: by_pillow(path) for id_, path in zip(ids, paths, strict=True)},
        {id_: id_.partition("/")[0] for id_ in ids},
    )
    for said in (
        "source: folder of images, 6 files",
        "3 classes: 'Vögel', 'cats', 'dogs'",
        "6x8 pixels",
        "rgb, 3 channels",
        "dtype: uint8",
    ):
        assert said in outcome.err


def test_an_image_folder_of_grey_images_has_one_channel(raw: Path, out: Path) -> None:
    paths = {f"x/{n}": write_image(raw / "x" / f"{n}.png", seed=n, shape=(5, 4)) for n in range(3)}
    outcome = build(raw, out)
    check_round_trip(out, {id_: by_pillow(path, gray=True) for id_, path in paths.items()}, dict.fromkeys(paths, "x"))
    assert "gray, 1 channel" in outcome.err


def test_an_image_folder_in_another_size_colour_and_range(raw: Path, out: Path) -> None:
    paths = {f"x/{n}": write_image(raw / "x" / f"{n}.png", seed=n, shape=(9 + n, 12, 3)) for n in range(3)}
    build(raw, out, "--size", "4x5", "--scale", "1/255")
    expected = {id_: (by_pillow(path, size=(4, 5)).astype(np.float64) * (1 / 255)).astype(np.float32) for id_, path in paths.items()}
    check_round_trip(out, expected, dict.fromkeys(paths, "x"))


def test_a_flat_image_folder_has_no_labels(raw: Path, out: Path) -> None:
    paths = {f"{n}": write_image(raw / f"{n}.png", seed=n) for n in range(3)}
    outcome = build(raw, out, "--split", "train=2/3,val=1/3")
    check_round_trip(out, {id_: by_pillow(path) for id_, path in paths.items()}, None)
    assert "labels: none" in outcome.err
    assert load_manifest(out).split_counts() == {"train": 2, "val": 1}


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    frame.to_csv(path, index=False)


def write_tsv(frame: pd.DataFrame, path: Path) -> None:
    frame.to_csv(path, index=False, sep="\t")


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    frame.to_parquet(path)


@pytest.mark.parametrize("ending", ["", ".jpg"])
@pytest.mark.parametrize(("name", "write"), [("train.csv", write_csv), ("train.tsv", write_tsv), ("train.parquet", write_parquet)])
def test_the_kaggle_form(name: str, write: Callable[[pd.DataFrame, Path], None], ending: str, raw: Path, out: Path) -> None:
    ids = ["007", "0a1b", "NA", "1e5"]
    paths = {id_: write_image(raw / "train" / f"{id_}.jpg", seed=n) for n, id_ in enumerate(ids)}
    breeds = ["pug", "beagle", "pug", "beagle"]
    write(pd.DataFrame({"image_id": [id_ + ending for id_ in ids], "breed": breeds, "age": ["1", "2", "", "4"]}), raw / name)
    outcome = build(raw / name, out, "--label", "breed")
    check_round_trip(out, {id_: by_pillow(path) for id_, path in paths.items()}, dict(zip(ids, breeds, strict=True)))
    assert dict(load_manifest(out).frame[["id", "age"]].to_numpy()) == {"007": "1", "0a1b": "2", "NA": "", "1e5": "4"}
    assert "IDs from column 'image_id', files from column 'image_id'" in outcome.err
    assert "column 'breed' with 2 distinct values" in outcome.err


def test_a_table_finds_its_label_by_its_name(raw: Path, out: Path) -> None:
    expected = {id_: by_pillow(write_image(raw / "images" / f"{id_}.png", seed=n)) for n, id_ in enumerate("abc")}
    (raw / "train.csv").write_text("image_id,label\na,x\nb,y\nc,x\n")
    build(raw / "train.csv", out)
    check_round_trip(out, expected, {"a": "x", "b": "y", "c": "x"})


def test_a_table_of_ids_and_paths_in_folders(raw: Path, out: Path) -> None:
    one, two = write_image(raw / "x" / "1.png", seed=1), write_image(raw / "y" / "1.png", seed=2)
    (raw / "train.csv").write_text("id,path,label\nfirst,x/1.png,0.25\nsecond,./y/1.png,0.5\n")
    build(raw / "train.csv", out)
    manifest = load_manifest(out)
    np.testing.assert_array_equal(manifest.load("first"), by_pillow(one))
    np.testing.assert_array_equal(manifest.load("second"), by_pillow(two))
    assert list(manifest.frame["label"]) == ["0.25", "0.5"]
    assert manifest.metadata.labels == {"label": LabelSpec(kind="number")}  # measured numbers are no classes
    assert manifest.classes == ()


def test_a_table_beside_arrays_and_a_folder_of_its_own(raw: Path, tmp_path: Path, out: Path) -> None:
    expected = {id_: random_pixels(n, (4, 2)) for n, id_ in enumerate("abc")}
    for id_, array in expected.items():
        write_array(raw / f"{id_}.npy", array)
    labels = tmp_path / "labels.csv"
    labels.write_text("id,label,split\na,1,train\nb,0,val\nc,1,train\n")
    build(raw, out, "--labels", labels)
    check_round_trip(out, expected, {"a": "1", "b": "0", "c": "1"})
    assert load_manifest(out).split_counts() == {"train": 2, "val": 1}


def test_an_array_folder_with_class_folders(raw: Path, out: Path) -> None:
    expected = {f"{label}/{n}": random_pixels(n, (3, n)).astype(np.float64) for label in ("left", "right") for n in range(3)}
    for id_, array in expected.items():
        if id_.endswith("2"):
            (raw / id_).parent.mkdir(exist_ok=True)
            np.savez_compressed(raw / f"{id_}.npz", data=array)
        else:
            write_array(raw / f"{id_}.npy", array)
    outcome = build(raw, out)
    check_round_trip(out, expected, {id_: id_.partition("/")[0] for id_ in expected})
    assert str(load_manifest(out).array) == "(3, ?) float64"
    assert "source: folder of arrays, 6 files" in outcome.err


def test_one_of_several_arrays_in_an_npz(raw: Path, out: Path) -> None:
    array = random_pixels(0, (3, 3)).astype(np.float32)
    np.savez(raw / "a.npz", x=array, y=np.zeros(5))
    assert "--npz-key" in prep("build-shards", raw, out).err
    build(raw, out, "--npz-key", "x")
    check_round_trip(out, {"a": array}, None)


def test_a_source_may_be_relative_and_hold_spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_image(tmp_path / "my photos" / "black cats" / "one two.png")
    monkeypatch.chdir(tmp_path)
    build("my photos", "my data")
    check_round_trip(Path("my data"), {"black cats/one two": by_pillow(path)}, {"black cats/one two": "black cats"})


def test_what_is_no_raw_item_is_said_to_be_left_aside(raw: Path, out: Path) -> None:
    write_image(raw / "x" / "a.png")
    for name in (".DS_Store", "notes.txt", "x/Thumbs.db", ".cache/b.png"):
        (raw / name).parent.mkdir(exist_ok=True)
        (raw / name).write_bytes(b"x")
    outcome = build(raw, out)
    assert "ignored files: .db 1, .txt 1, hidden 2" in outcome.err
    assert load_manifest(out).ids == ["x/a"]


@pytest.fixture
def photographs(raw: Path) -> Path:
    """The two photographs that scikit-learn ships, as a Kaggle table beside a folder."""
    datasets = pytest.importorskip("sklearn.datasets")
    for name in datasets.load_sample_images().filenames:
        path = Path(datasets.__file__).parent / "images" / Path(name).name
        (raw / path.name).write_bytes(path.read_bytes())
    (raw / "train.csv").write_text("image_id,label\nchina,building\nflower,plant\n")
    return raw


def test_real_photographs(photographs: Path, out: Path) -> None:
    build(photographs / "train.csv", out)
    check_round_trip(
        out, {name: by_pillow(photographs / f"{name}.jpg") for name in ("china", "flower")}, {"china": "building", "flower": "plant"}
    )


def test_real_photographs_made_small_look_like_themselves(photographs: Path, out: Path) -> None:
    build(photographs / "train.csv", out, "--size", "32x48")
    for name in ("china", "flower"):
        with Image.open(photographs / f"{name}.jpg") as image:
            careful = np.asarray(image.convert("RGB").resize((48, 32), Image.Resampling.BILINEAR), dtype=float)
        # The JPEG is decoded at a smaller scale, so the last bits differ; a wrong crop, order or channel would be far off.
        assert np.abs(load_manifest(out).load(name) - careful).mean() < 4


@pytest.mark.slow
def test_real_digits(raw: Path, out: Path) -> None:
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    expected = {}
    for number, (image, target) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = raw / str(target) / f"{number:04d}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = np.clip(image * 16, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path)
        expected[f"{target}/{number:04d}"] = pixels[..., None]
    outcome = prep("build-shards", raw, out, "--split", "train=0.8,val=0.1,test=0.1", "--workers", "2", "--json")
    assert (outcome.code, outcome.json["added"]) == (0, 1797)
    check_round_trip(out, expected, {id_: id_.partition("/")[0] for id_ in expected})
    manifest = load_manifest(out)
    assert manifest.classes == tuple("0123456789")
    for name, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
        difference = manifest.split(name).class_counts() - share * manifest.class_counts()
        assert (difference.abs() <= 1).all()
        assert abs(len(manifest.split(name)) - share * 1797) <= 1
    with open(out / "manifest.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == sorted(expected)
