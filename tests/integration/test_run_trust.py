"""A stored recipe names functions and does not authorise them: what runs code, and what refuses to."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import Outcome, build, check_refused, prep, snapshot, write_array

from manifests import load_manifest
from prep import BuildOptions, UsageError, build_shards
from prep.build.recipe.recipe import ShardOptions
from prep.transforms.user_function import user_function

FILE = "import os\nfrom pathlib import Path\n\nPath(os.environ['TRUST_RAN']).touch()\n\n\ndef add(array, by=1):\n    return array + by\n"


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is there once the user's module has been imported."""
    path = tmp_path / "ran"
    monkeypatch.setenv("TRUST_RAN", str(path))
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this user's records are; nothing is approved yet."""
    path = tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(path))
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for number in range(3):
        write_array(tmp_path / "raw" / f"{number}.npy", np.full(2, number, dtype=np.int32))
    return tmp_path / "raw"


@pytest.fixture
def module(request: pytest.FixtureRequest) -> str:
    """A name that no other test gives to a module."""
    return f"own_{abs(hash(request.node.name))}"


@pytest.fixture
def project(tmp_path: Path, module: str) -> Path:
    """A folder with a function and the recipe that names it."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / f"{module}.py").write_text(FILE)
    (folder / "recipe.toml").write_text(f"[[transforms]]\nname = '{module}:add'\nby = 5\n")
    return folder


@pytest.fixture
def built(source: Path, out: Path, project: Path, module: str, home: Path, ran: Path) -> Path:
    """A dataset that was built with the recipe by this user."""
    build(source, out, "--recipe", project / "recipe.toml")
    assert [int(np.load(out / f"shards/{number}.npy")[0]) for number in range(3)] == [5, 6, 7]
    ran.unlink()
    sys.modules.pop(module)
    return out


@pytest.fixture
def downloaded(built: Path, home: Path, source: Path) -> Path:
    """The same dataset where nobody has approved its function, with an item that failed."""
    shutil.rmtree(home)
    (source / "3.npy").write_bytes(b"no array")
    failed = "id,source,stage,type,error\n3,3.npy,read,ItemError,damaged\n"
    (built / "failures.csv").write_text(failed)
    return built


def commands(source: Path, out: Path) -> dict[str, tuple[str | Path, ...]]:
    return {"build-shards": (source, out, "--workers", "1"), "plan": (source, out), "retry": (out, "--workers", "1")}


def run(command: str, source: Path, out: Path, *flags: str | Path) -> Outcome:
    return prep(command, *commands(source, out)[command], *flags)


@pytest.mark.parametrize("command", ["build-shards", "plan", "retry"])
def test_a_dataset_that_nobody_approved_runs_no_code(
    command: str, source: Path, downloaded: Path, project: Path, module: str, ran: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where the current folder, or what is installed, has a module of that name."""
    before = snapshot(downloaded)
    monkeypatch.chdir(project)
    check_refused(run(command, source, downloaded), 2, f"{module}:add", "no source file", "--allow-code")
    monkeypatch.chdir("/")
    monkeypatch.syspath_prepend(str(project))
    check_refused(run(command, source, downloaded), 2, f"{module}:add ({project / module}.py)", "not approved", "--allow-code")
    assert not ran.exists()
    assert snapshot(downloaded) == before


@pytest.mark.parametrize("command", ["build-shards", "plan", "retry"])
def test_allow_code_runs_it_and_is_remembered(
    command: str, source: Path, downloaded: Path, project: Path, ran: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(project))
    write_array(source / "3.npy", np.full(2, 3, dtype=np.int32))
    assert run(command, source, downloaded, "--allow-code").code == 0
    assert ran.exists()
    if command == "plan":  # nothing is written, and nothing approved for later
        check_refused(run(command, source, downloaded), 2, "--allow-code")
        return
    assert int(np.load(downloaded / "shards/3.npy")[0]) == 8
    assert "4 kept" in build(source, downloaded).out


def test_what_this_user_named_once_goes_on_from_wherever_it_lies(source: Path, built: Path, ran: Path) -> None:
    write_array(source / "3.npy", np.full(2, 3, dtype=np.int32))
    assert "1 added" in build(source, built).out
    assert int(np.load(built / "shards/3.npy")[0]) == 8
    assert ran.exists()


@pytest.mark.parametrize("change", ["code", "parameters", "place", "copied record", "others may write", "link", "damaged"])
def test_a_record_holds_for_one_dataset_recipe_and_code(
    change: str, source: Path, built: Path, project: Path, module: str, home: Path, ran: Path, tmp_path: Path
) -> None:
    (record,) = (home / "shardfeed/approved-code").iterdir()
    assert record.stat().st_mode & 0o777 == 0o600
    out, says = built, "not approved"
    if change == "code":
        (project / f"{module}.py").write_text(FILE + "# changed\n")
        says = "changed since you approved it"
    elif change == "parameters":
        path = built / "dataset.json"
        stored = json.loads(path.read_text())
        stored["recipe"]["options"]["transforms"][0]["by"] = 6
        path.write_text(json.dumps(stored))
    elif change in {"place", "copied record"}:
        out = tmp_path / "elsewhere"
        shutil.copytree(built, out)
        if change == "copied record":
            shutil.copy(record, record.with_name(f"{hashlib.sha256(os.fsencode(out)).hexdigest()}.json"))
    elif change == "others may write":
        record.chmod(0o620)
    elif change == "link":
        record.rename(tmp_path / "record")
        record.symlink_to(tmp_path / "record")
    else:
        record.write_text('{"dataset": []')
    check_refused(prep("build-shards", source, out), 2, f"{module}:add", str(project / module) if change == "code" else module, says)
    assert not ran.exists()
    assert "3 kept" in prep("build-shards", source, out, "--recipe", project / "recipe.toml", "--workers", "1").out or change == "code"
    assert prep("build-shards", source, out, "--workers", "1").code == 0


def test_a_record_within_the_dataset_is_not_believed(
    source: Path, built: Path, home: Path, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.rename(built / ".prep/state")
    monkeypatch.setenv("XDG_STATE_HOME", str(built / ".prep/state"))
    check_refused(prep("build-shards", source, built), 2, f"{module}:add", "--allow-code")
    monkeypatch.chdir(built / ".prep")
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    monkeypatch.setenv("HOME", str(built.parent / "nowhere"))
    check_refused(prep("build-shards", source, built), 2, f"{module}:add", "--allow-code")


def test_a_record_that_cannot_be_written_is_said(source: Path, out: Path, project: Path, home: Path, ran: Path) -> None:
    home.write_text("a file")
    outcome = build(source, out, "--recipe", project / "recipe.toml")
    assert "cannot be recorded as approved" in outcome.err
    assert ran.exists()


@pytest.mark.parametrize("name", ["builtins:exec", "posix:system", "math:floor"])
@pytest.mark.parametrize("how", ["stored", "named"])
def test_a_module_without_a_source_file_is_refused(how: str, name: str, source: Path, built: Path, tmp_path: Path) -> None:
    if how == "stored":
        path = built / "dataset.json"
        path.write_text(path.read_text().replace(json.loads(path.read_text())["recipe"]["options"]["transforms"][0]["name"], name))
        flags: tuple[str | Path, ...] = ("--allow-code",)
    else:
        recipe = tmp_path / "r.toml"
        recipe.write_text(f"[[transforms]]\nname = '{name}'\n")
        flags = ("--recipe", recipe)
    check_refused(prep("build-shards", source, built, *flags), 2, name, "no source file")


def test_the_current_folder_is_searched_for_what_the_user_names_alone(
    source: Path, out: Path, project: Path, module: str, home: Path, ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where Python itself would search it first, as in a notebook."""
    (tmp_path / "r.toml").write_text(f"[[transforms]]\nname = '{module}:add'\n")
    monkeypatch.chdir(project)
    build(source, out, "--recipe", tmp_path / "r.toml")
    assert "3 kept" in build(source, out).out
    shutil.rmtree(home)
    ran.unlink()
    sys.modules.pop(module)
    monkeypatch.syspath_prepend("")
    for flags in ((), ("--allow-code",)):
        check_refused(prep("build-shards", source, out, *flags), 2, f"{module}:add")
    assert not ran.exists()


def test_the_api_says_the_same(source: Path, downloaded: Path, project: Path, module: str, ran: Path) -> None:
    with pytest.raises(UsageError, match=f"{module}:add.*not approved"):
        build_shards(source, downloaded, BuildOptions(workers=1))
    assert not ran.exists()
    named = ShardOptions(transforms=(user_function(f"{module}:add", {"by": 7}, [str(project)]),))
    build_shards(source, downloaded, BuildOptions(workers=1, shards=named))
    assert ran.exists()
    assert int(np.load(load_manifest(downloaded).path_of("1"))[0]) == 8
    build_shards(source, downloaded, BuildOptions(workers=1))
