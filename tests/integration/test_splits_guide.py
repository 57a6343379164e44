"""What the guide to splits tells people to type works as it stands."""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from command_line import prep, write_array, write_image

from manifests import load_manifest

PAGE = (Path(__file__).parents[2] / "docs" / "guides" / "splits.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The raw data of the guide, and a working folder beside them in which all of its commands have run."""
    pytest.importorskip("imagehash")
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label", "patient_id", "part"])
        for patient in range(30):
            for scan in range(3):
                id_ = f"s{patient:02d}-{scan}"
                writer.writerow([id_, "ill" if patient % 2 else "well", f"p{patient:02d}", ("train", "val", "test")[patient % 3]])
                write_array(tmp_path / "clinic" / f"{id_}.npy", [patient, scan])
    (tmp_path / "table.csv").rename(tmp_path / "clinic" / "scans.csv")
    for number, split in enumerate(("train", "val", "test")):
        write_image(tmp_path / "photos" / split / "cats" / "1.png", seed=number)
        write_image(tmp_path / "photos" / split / "dogs" / "1.png", seed=10 + number)
    for block in blocks("sh"):
        command, *words = shlex.split(block)
        assert command == "prep"
        outcome = prep(*words)
        assert outcome.code == 0, outcome.err
    return tmp_path


def test_the_guides_commands_split_as_it_says(guide: Path) -> None:
    assert len(blocks("sh")) == 7
    for name in ("by-patient", "by-path", "folded"):
        frame = load_manifest(guide / name).frame
        assert frame.groupby("group")["split"].nunique().max() == 1
        assert frame["group"].nunique() == 30
    assert load_manifest(guide / "by-shares").split_counts() == {"train": 72, "val": 9, "test": 9}
    assert load_manifest(guide / "by-column").split_counts() == {"train": 30, "val": 30, "test": 30}
    by_folder = load_manifest(guide / "by-folder")
    assert by_folder.frame.set_index("id").loc["train/cats/1", ["split", "label"]].tolist() == ["train", "cats"]


def test_the_guides_code_takes_one_fold_after_the_other(guide: Path) -> None:
    names: dict[str, Any] = {}
    (block,) = blocks("python")
    exec(block, names)  # noqa: S102  # the guide's own code
    assert len(names["train"]) + len(names["val"]) + len(names["test"]) == 90
    assert names["manifest"].folds == ("0", "1", "2", "3", "4")
