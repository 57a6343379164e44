"""One name for the public names of all three packages, and a plain error where a file of the user's hides one of them."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import shardfeed
from shardfeed.reexport import AMBIGUOUS

PACKAGES = ("prep", "manifests", "loader")
ROOT = Path(__file__).parents[2]


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, which comes first where it looks for modules."""
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def script(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    (folder / "train.py").write_text(code)
    return run(folder, "train.py", PYTHONPATH="")


# The names


def test_every_public_name_is_re_exported_or_ambiguous() -> None:
    found = {name: [package for package in PACKAGES if name in importlib.import_module(package).__all__] for name in names_of(PACKAGES)}
    assert {name: tuple(where) for name, where in found.items() if len(where) > 1} == AMBIGUOUS
    assert shardfeed.__all__ == sorted(name for name, where in found.items() if len(where) == 1)


def names_of(packages: tuple[str, ...]) -> set[str]:
    return {name for package in packages for name in importlib.import_module(package).__all__}


@pytest.mark.parametrize("package", PACKAGES)
def test_each_name_is_the_packages_own(package: str) -> None:
    for name in set(importlib.import_module(package).__all__) - set(AMBIGUOUS):
        assert getattr(shardfeed, name) is getattr(importlib.import_module(package), name)


def test_the_version_is_that_of_the_distribution() -> None:
    assert shardfeed.__version__ == version("shardfeed")


@pytest.mark.parametrize("package", ["shardfeed", *PACKAGES])
def test_dir_lists_the_public_names(package: str) -> None:
    code = f"import {package}; print(*(name for name in dir({package}) if not name.startswith('_')))"
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names: list[str] = importlib.import_module(package).__all__
    assert listed.stdout.split() == names == sorted(names)


@pytest.mark.parametrize("package", ["shardfeed", *PACKAGES])
def test_type_checkers_see_the_same_names(package: str) -> None:
    stub = ast.parse((ROOT / package / "__init__.pyi").read_text())
    listed = next(ast.literal_eval(node.value) for node in stub.body if isinstance(node, ast.Assign))
    imported = {alias.asname or alias.name for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert listed == sorted(imported) == importlib.import_module(package).__all__


@pytest.mark.parametrize("package", ["shardfeed", *PACKAGES])
def test_importing_a_package_loads_no_library(package: str) -> None:
    code = f"import sys; before = {{*sys.modules}}; import {package}; print(*{{*sys.modules}} - before)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    outside = {name.partition(".")[0] for name in loaded} - set(sys.stdlib_module_names)
    assert outside <= {package, "lazy_loader"}


def test_a_name_that_several_packages_have_says_where_it_is() -> None:
    with pytest.raises(ImportError, match=r"'from prep import WorkerError' or 'from loader import WorkerError'"):
        from shardfeed import WorkerError  # type: ignore[attr-defined]  # noqa: F401, PLC0415


def test_there_are_no_other_names() -> None:
    with pytest.raises(AttributeError, match="module 'shardfeed' has no attribute 'Feeder'"):
        shardfeed.Feeder  # type: ignore[attr-defined]  # noqa: B018


# A file in the way


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("loader.py", "ManifestSequence"),
        ("prep.py", "build_shards"),
        ("manifests.py", "load_manifest"),
        ("manifests.py", "build_shards"),
        ("manifests.py", "ManifestSequence"),
    ],
)
@pytest.mark.parametrize("imported_first", [True, False])
def test_a_shadowing_file_is_named(tmp_path: Path, file: str, name: str, imported_first: bool) -> None:
    (tmp_path / file).write_text("")
    package = file.removesuffix(".py")
    done = script(tmp_path, f"import {package}\n" * imported_first + f"from shardfeed import {name}")
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: {tmp_path / file} is imported in place of shardfeed's package '{package}': "
        "rename that file, or run from another folder"
    )


def test_a_shadowing_file_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "loader.py").write_text("print('run')")
    assert script(tmp_path, "import shardfeed\nshardfeed.ManifestSequence").stdout == ""


def test_a_script_that_shadows_is_named(tmp_path: Path) -> None:
    (tmp_path / "prep.py").write_text("import shardfeed\nshardfeed.build_shards")
    done = run(tmp_path, "prep.py")
    assert f"ImportError: {tmp_path / 'prep.py'} is imported" in done.stderr


def test_a_shadowing_folder_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "loader"
    named = f"ImportError: {folder} is imported in place of shardfeed's package 'loader': rename that folder"
    folder.mkdir()
    done = script(tmp_path, "from shardfeed import ShardError")
    assert done.stderr == "" or named in done.stderr  # a folder without __init__.py hides what is installed as editable, and only that
    (folder / "__init__.py").write_text("")
    assert named in script(tmp_path, "from shardfeed import ShardError").stderr


def test_what_does_not_need_the_hidden_package_goes_on_working(tmp_path: Path) -> None:
    (tmp_path / "loader.py").write_text("mine = 1")
    done = script(tmp_path, "import loader, shardfeed; print(shardfeed.build_shards.__name__, shardfeed.Manifest.__name__, loader.mine)")
    assert (done.stdout, done.stderr) == ("build_shards Manifest 1\n", "")
    (tmp_path / "loader.py").rename(tmp_path / "prep.py")
    done = script(tmp_path, "import shardfeed; print(shardfeed.ShardError.__name__, shardfeed.load_manifest.__name__)")
    assert (done.stdout, done.stderr) == ("ShardError load_manifest\n", "")


@pytest.mark.parametrize("file", ["prep.py", "manifests.py"])
def test_the_command_names_a_shadowing_file(tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_text("")
    command = Path(sys.executable).with_name("prep")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([command, "--help"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: {tmp_path / file} is imported in place of shardfeed's package '{file.removesuffix('.py')}': "
        "rename that file, or run from another folder\n"
    )
    done = subprocess.run([command, "--version"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")  # without PYTHONPATH the current folder is not looked in


def test_the_doctor_names_a_shadowing_file(tmp_path: Path) -> None:
    (tmp_path / "manifests.py").write_text("")
    done = run(tmp_path, "-m", "loader.doctor", "--help")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {tmp_path / 'manifests.py'} is imported")


def test_the_doctor_runs_beside_a_shadowing_file_that_python_is_told_not_to_import(tmp_path: Path) -> None:
    (tmp_path / "loader.py").write_text("")
    done = run(tmp_path, "-P", "-m", "loader.doctor", "--help")
    assert (done.returncode, done.stderr) == (0, "")
