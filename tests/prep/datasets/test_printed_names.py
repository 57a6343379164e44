"""Names from a dataset of somebody else's, as the commands print them: none begins a line or commands the terminal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from manifests import load_manifest, verify
from prep.datasets.diff.diff import diff_datasets, difference_text
from prep.datasets.inspect import inspect_dataset
from prep.datasets.verification import Verification

EVIL = "cat\nIDs       999\x1b[2J\u202e\u2028"
SHOWN = r"cat\nIDs       999\x1b[2J\u202e\u2028"


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    """A dataset whose class, split and column are called so as to forge output."""
    (tmp_path / "manifest.csv").write_text(f'id,label,split,"{EVIL}"\na,"{EVIL}","{EVIL}",x\n', encoding="utf-8")
    np.save(tmp_path / "a.npy", np.zeros(1))
    return tmp_path


def check_safe(text: str) -> None:
    assert not {"\x1b", "\u202e", "\u2028"} & set(text)
    assert "\nIDs       999" not in text
    assert SHOWN in text


def test_inspect(evil: Path) -> None:
    check_safe(str(inspect_dataset(evil)))


def test_verify(evil: Path) -> None:
    np.save(evil / f"{EVIL}.npy", np.zeros(1))
    manifest = load_manifest(evil)
    found = Verification.of(manifest, verify(manifest), deep=True, with_contradictions=False)
    check_safe(found.text())


def test_diff(evil: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text(f'id,label,split,"{EVIL}"\na,dog,"{EVIL}",y\n', encoding="utf-8")
    check_safe(difference_text(diff_datasets(evil, other)))
