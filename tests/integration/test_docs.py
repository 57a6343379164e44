"""The generated parts of the documentation are what the code says now."""

from __future__ import annotations

import importlib
import re
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


# docs/architecture.md, and what the packages say of themselves

PACKAGES = ("loader", "manifests", "prep", "shardfeed")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
FOLDERS = sorted(path.parent for package in PACKAGES for path in (ROOT / package).rglob("__init__.py"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_every_path_on_the_architecture_page_exists() -> None:
    paths = re.findall(rf"\b(?:{'|'.join(PACKAGES)})/[\w/.]*\w", ARCHITECTURE)
    assert len(paths) > 40
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_name_on_the_architecture_page_is_defined_where_it_says() -> None:
    named = re.findall(r"`(\w+)`\s+\(`([\w/]+\.py)`\)", ARCHITECTURE)
    assert len(named) > 20
    for name, path in named:
        assert re.search(rf"^(?:def|class) {name}\b", (ROOT / path).read_text(), re.MULTILINE), f"{name} is not in {path}"


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if folder.parent != ROOT], ids=relative)
def test_every_room_is_in_the_table(folder: Path) -> None:
    assert f"| `{relative(folder).partition('/')[2]}/` | " in ARCHITECTURE


@pytest.mark.parametrize("package", ["loader", "manifests", "prep", "prep/build"])
def test_a_package_names_its_rooms(package: str) -> None:
    listed = re.findall(r"^- `(\w+)/`: ", importlib.import_module(package.replace("/", ".")).__doc__ or "", re.MULTILINE)
    assert sorted(listed) == [folder.name for folder in FOLDERS if folder.parent == ROOT / package]


@pytest.mark.parametrize("package", ["loader", "manifests", "prep"])
def test_no_public_name_is_that_of_a_module(package: str) -> None:
    """Importing the module would otherwise put it in the name's place."""
    modules = {path.stem for path in (ROOT / package).iterdir()}
    assert not modules.intersection(importlib.import_module(package).__all__)
