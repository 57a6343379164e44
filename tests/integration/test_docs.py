"""The generated parts of the documentation are what the code says now."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_generated_pages_are_up_to_date() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "docs" / "generate.py"), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text()
    pages = sorted(path.name for path in folder.glob("[0-9]*.md"))
    assert len(pages) >= 7
    assert [page for page in pages if f"({page})" not in index] == []


@pytest.mark.parametrize("package", ["loader", "manifests", "prep"])
def test_no_public_name_is_that_of_a_module(package: str) -> None:
    """Importing the module would otherwise put it in the name's place."""
    modules = {path.stem for path in (ROOT / package).iterdir()}
    assert not modules.intersection(importlib.import_module(package).__all__)
