"""A dataset that is built again while a feed reads it is noticed in the next pass, whoever drives the sequence."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loader import DatasetChangedError, LoaderError, ManifestSequence
from manifests import Manifest, load_manifest, write_manifest

MakeDataset = Callable[..., Manifest]
CHANGED = r"{path} was written again since it was loaded, .* load it again with load_manifest, and make a new sequence$"


def touch(path: Path) -> None:
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000_000))


def rebuild(path: Path) -> None:
    """Write the manifest anew, with one label changed: of the same size and, as far as a clock may tell, at the same time."""
    before = path.stat()
    manifest = load_manifest(path)
    frame = manifest.frame.assign(label=["b", *manifest.frame["label"][1:]])
    write_manifest(frame, path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def rebuilt(manifest: Manifest) -> str:
    rebuild(Path(manifest.source.path))  # type: ignore[union-attr]  # it was loaded from a file
    return CHANGED.format(path=manifest.source.path)  # type: ignore[union-attr]  # likewise


def walk(sequence: ManifestSequence) -> None:
    assert len(list(sequence)) == len(sequence)


def by_number(sequence: ManifestSequence) -> None:
    for number in range(len(sequence)):
        sequence[number]
    sequence.on_epoch_end()


def as_numpy(sequence: ManifestSequence) -> None:
    assert len(list(sequence.get_numpy_iterator())) == len(sequence)


DRIVES = {"loop": walk, "numbers": by_number, "Keras": as_numpy}


@pytest.mark.parametrize("drive", DRIVES)
@pytest.mark.parametrize("workers", [{"workers": 0}, {"workers": 2}, {"workers": 1, "use_multiprocessing": True}], ids=str)
def test_the_next_pass_is_refused(make_dataset: MakeDataset, drive: str, workers: dict[str, Any]) -> None:
    manifest = make_dataset(12)
    with ManifestSequence(manifest, batch_size=4, **workers) as sequence:
        for _ in range(2):
            DRIVES[drive](sequence)
        expected = rebuilt(manifest)
        for _ in range(2):
            with pytest.raises(DatasetChangedError, match=expected):
                DRIVES[drive](sequence)
    walk(ManifestSequence(load_manifest(manifest.root), batch_size=4))


def test_the_end_of_the_pass_in_which_it_happens_is_refused(make_dataset: MakeDataset) -> None:
    manifest = make_dataset(12)
    batches = iter(ManifestSequence(manifest, batch_size=4))
    next(batches)
    expected = rebuilt(manifest)
    next(batches)
    with pytest.raises(DatasetChangedError, match=expected):
        next(batches)


def test_so_is_a_walk_without_end_in_its_next_pass(make_dataset: MakeDataset) -> None:
    manifest = make_dataset(12)
    batches = iter(ManifestSequence(manifest, batch_size=4, repeat=True))
    for _ in range(7):
        next(batches)
    expected = rebuilt(manifest)
    next(batches)
    with pytest.raises(DatasetChangedError, match=expected):
        next(batches)


def test_a_look_is_one_stat_and_comes_with_the_pass(make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = make_dataset(24)
    sequence = ManifestSequence(manifest, batch_size=4, workers=0)
    walk(sequence)
    stat, looks = os.stat, []
    monkeypatch.setattr(os, "stat", lambda path, *args, **options: (looks.append(path), stat(path, *args, **options))[1])
    for _ in range(3):
        walk(sequence)
    assert [path for path in looks if str(path).endswith("manifest.csv")] == [manifest.root / "manifest.csv"] * 6


@pytest.mark.parametrize("change", [touch, lambda path: path.write_bytes(path.read_bytes()), lambda path: path.chmod(0o600)])
def test_the_same_rows_are_no_other_dataset(make_dataset: MakeDataset, change: Callable[[Path], object]) -> None:
    manifest = make_dataset(12, columns={"split": ["train", "val"] * 6})
    sequence = ManifestSequence(manifest.split("train"), batch_size=2)
    walk(sequence)
    change(manifest.root / "manifest.csv")
    walk(sequence)
    rebuild(manifest.root / "manifest.csv")
    with pytest.raises(DatasetChangedError):
        walk(sequence)


def test_rows_of_another_split_count_too(make_dataset: MakeDataset) -> None:
    """What was drawn into which split may have changed with them."""
    manifest = make_dataset(12, columns={"split": ["train", "val"] * 6})
    sequence = ManifestSequence(manifest.split("val").where(label="b"), batch_size=2)
    walk(sequence)
    expected = rebuilt(manifest)
    with pytest.raises(DatasetChangedError, match=expected):
        walk(sequence)


@pytest.mark.parametrize("name", ["manifest.parquet", "labels.csv"])
def test_manifests_of_any_kind_and_name_are_looked_at(make_dataset: MakeDataset, name: str) -> None:
    made = make_dataset(12)
    path = made.root / name
    write_manifest(made.table, path)
    (made.root / "manifest.csv").unlink()
    manifest = load_manifest(path)
    sequence = ManifestSequence(manifest, batch_size=4)
    touch(path)
    walk(sequence)
    expected = rebuilt(manifest)
    with pytest.raises(DatasetChangedError, match=expected):
        walk(sequence)


def test_one_that_is_gone_or_damaged_is_named(make_dataset: MakeDataset) -> None:
    manifest = make_dataset(12)
    path = manifest.root / "manifest.csv"
    sequence = ManifestSequence(manifest, batch_size=4)
    content = path.read_bytes()
    path.write_bytes(content + b"s000,again\n")
    with pytest.raises(
        DatasetChangedError, match=r"manifest.csv cannot be read any more \(.*manifest.csv: 1 problem\) since it was loaded"
    ):
        walk(sequence)
    path.unlink()
    with pytest.raises(
        DatasetChangedError, match=r"manifest.csv cannot be read any more \(No such file or directory\) since it was loaded"
    ):
        walk(sequence)
    path.write_bytes(content)
    walk(sequence)


def test_rows_made_in_memory_and_lists_of_ids_have_no_file_to_look_at(make_dataset: MakeDataset) -> None:
    loaded = make_dataset(12)
    manifest = Manifest(loaded.frame, loaded.root, loaded.metadata)
    assert manifest.source is None
    of_ids = ManifestSequence.from_ids(loaded.ids, None, data_dir=loaded.root / "shards", dim=None, label_mode=None)
    sequence = ManifestSequence(manifest.where(label="a"), batch_size=4)
    (loaded.root / "manifest.csv").unlink()
    walk(sequence)
    walk(of_ids)


def test_a_relative_path_is_that_of_the_folder_where_it_was_loaded(
    make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = make_dataset(12)
    monkeypatch.chdir(manifest.root.parent)
    sequence = ManifestSequence(load_manifest(manifest.root.name), batch_size=4)
    monkeypatch.chdir("/")
    walk(sequence)
    expected = rebuilt(manifest)
    with pytest.raises(DatasetChangedError, match=expected):
        walk(sequence)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda sequence: pickle.loads(pickle.dumps(sequence))])  # noqa: S301  # our own
def test_copies_look_too(make_dataset: MakeDataset, copied: Callable[[Any], Any]) -> None:
    manifest = make_dataset(12)
    twin = copied(ManifestSequence(manifest, batch_size=4))
    walk(twin)
    expected = rebuilt(manifest)
    with pytest.raises(DatasetChangedError, match=expected):
        walk(twin)


def test_a_pickle_has_no_rows_of_the_manifest_and_comes_back_where_there_is_none(make_dataset: MakeDataset) -> None:
    manifest = make_dataset(500, columns={"note": ["something long to be found" + str(i) for i in range(500)]})
    data = pickle.dumps(ManifestSequence(manifest, batch_size=4))
    assert b"something long" not in data
    (manifest.root / "manifest.csv").unlink()
    walk(pickle.loads(data))  # noqa: S301  # our own


def test_the_error_is_one_of_the_loaders(make_dataset: MakeDataset) -> None:
    manifest = make_dataset(4)
    sequence = ManifestSequence(manifest, batch_size=4)
    shutil.rmtree(manifest.root)
    with pytest.raises(LoaderError, match="cannot be read any more"):
        walk(sequence)


def test_the_shards_of_a_dataset_at_rest_are_read_as_ever(make_dataset: MakeDataset, sample: Callable[..., np.ndarray]) -> None:
    sequence = ManifestSequence(make_dataset(4), batch_size=4)
    assert np.array_equal(sequence[0][0], np.stack([sample(i) for i in range(4)]))
