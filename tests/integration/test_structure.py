"""How far one item travels through the code, and how the code is cut: upper bounds, to be lowered as it gets shorter, never raised."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
PACKAGES = ("loader", "manifests", "prep", "shardfeed")
FOLDERS = sorted(path.parent for package in PACKAGES for path in (ROOT / package).rglob("__init__.py"))

MOST = {
    "files that one photograph passes": 82,
    "functions that one photograph passes": 495,
    "lines of the files that one photograph passes": 13_200,
    "modules of prep with one importer": 32,
    "entries of a folder": 12,
}


def check(figure: str, found: int) -> None:
    say(f"{figure}: {found:,} of at most {MOST[figure]:,}")
    assert found <= MOST[figure], figure


def say(line: str) -> None:
    """Print a figure; pytest shows it with -s, or where a test fails."""
    sys.stdout.write(f"{line}\n")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_road_of_one_photograph(tmp_path: Path) -> None:
    """From the command to the manifest's row; what an import statement runs is left out."""
    photo = tmp_path / "photos" / "cats" / "001.jpg"
    photo.parent.mkdir(parents=True)
    Image.fromarray(np.full((48, 64, 3), 100, dtype=np.uint8)).save(photo)
    command = [sys.executable, str(Path(__file__).with_name("traced_build.py")), str(photo.parents[1]), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "out" / "manifest.csv").read_text().splitlines()) == 2
    functions = [(file, name) for file, name in json.loads(done.stdout.splitlines()[-1])]
    files = Counter(file for file, _ in functions)
    for file, count in sorted(files.items()):
        say(f"{file}: {count} functions, {lines_of(file):,} lines")
    assert {"prep/build/build.py", "prep/build/commit/commit.py"} <= files.keys()
    check("files that one photograph passes", len(files))
    check("functions that one photograph passes", len(functions))
    check("lines of the files that one photograph passes", sum(map(lines_of, files)))


def lines_of(file: str) -> int:
    return len((ROOT / file).read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("folder", FOLDERS, ids=relative)
def test_no_folder_has_more_than_a_dozen_entries(folder: Path) -> None:
    entries = {path.name for path in folder.iterdir()} - {"__init__.py", "__init__.pyi", "py.typed", "__pycache__"}
    check("entries of a folder", len(entries))


def test_few_modules_have_one_importer() -> None:
    """A module that one other imports, and nobody else, is a part of that one in a file of its own."""
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py*")) if path.suffix in {".py", ".pyi"}]
    modules = {module_of(path) for path in files}
    importers = Counter(name for path in files for name in imported_by(path) & modules - {module_of(path)})
    alone = sorted(name for name, count in importers.items() if count == 1 and name.startswith("prep."))
    say("\n".join(alone))
    check("modules of prep with one importer", len(alone))


def module_of(path: Path) -> str:
    return relative(path.with_suffix("")).replace("/", ".").removesuffix(".__init__")


def imported_by(path: Path) -> set[str]:
    """Return the names of modules, and of what is imported from them, that a file's import statements have, function bodies included."""
    return {name for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) for name in imported_names(node, module_of(path))}


def imported_names(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        module = f"{package}.{node.module}" if node.level else str(node.module)
        yield module
        yield from (f"{module}.{alias.name}" for alias in node.names)
