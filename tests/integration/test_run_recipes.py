"""`recipe.toml` from end to end: the same bytes as flags, functions of one's own, tiles, and what is told when it is wrong."""

from __future__ import annotations

import json
import shutil
import textwrap
from pathlib import Path

import numpy as np
import pytest
from command_line import build, check_refused, prep, set_age, snapshot, write_image, write_pets

from manifests import load_manifest

FLAGS = {
    "size": ("--size", "5x4"),
    "all": ("--size", "5x4", "--color", "gray", "--dtype", "float32", "--scale", "1/255", "--split", "train=1/2,val=1/2", "--seed", "3"),
    "groups": ("--split", "train=0.5,test=0.5", "--group-regex", "([0-9]+)", "--folds", "2"),
    "none": (),
}


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return write_pets(tmp_path / "pets")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "data"


def recipe(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def function(folder: Path, body: str, name: str = "mine_of_test") -> None:
    (folder / f"{name}.py").write_text(f"import numpy as np\n\n\n{textwrap.dedent(body)}\n", encoding="utf-8")


@pytest.mark.parametrize("flags", FLAGS.values(), ids=FLAGS)
def test_a_printed_recipe_builds_the_same_bytes_as_the_flags(flags: tuple[str, ...], pets: Path, out: Path, tmp_path: Path) -> None:
    printed = prep("recipe", pets, *flags)
    assert printed.code == 0, printed.err
    path = recipe(tmp_path, printed.out)
    build(pets, out, *flags)
    build(pets, tmp_path / "again", "--recipe", path)
    assert snapshot(tmp_path / "again") == snapshot(out)
    as_json = prep("recipe", pets, *flags, "--json").json
    assert as_json["recipe"].rstrip() == printed.out.rstrip()


def test_a_build_repeats_the_recipe_that_is_stored_and_says_what_another_one_changes(pets: Path, out: Path, tmp_path: Path) -> None:
    build(pets, out, "--recipe", recipe(tmp_path, "[[transforms]]\nname = 'resize'\nsize = [4, 4]\nfit = 'crop'"))
    before = snapshot(out)
    again = build(pets, out)
    assert "8 kept" in again.out
    assert snapshot(out) == before
    changed = build(pets, out, "--recipe", recipe(tmp_path, "[[transforms]]\nname = 'resize'\nsize = [4, 4]\nfit = 'pad'"))
    assert "recipe changed: transforms[0].fit: crop -> pad" in changed.err
    assert "8 rebuilt" in changed.out


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_function_of_ones_own_is_found_beside_the_recipe_and_its_code_counts(
    workers: str, pets: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "recipes"
    folder.mkdir()
    name = f"brighter_{workers}_of_test"
    function(folder, "def brighter(array, by=1):\n    return np.minimum(array.astype(int) + by, 255).astype(np.uint8)", name)
    path = recipe(folder, f"[[transforms]]\nname = '{name}:brighter'\nby = 9")
    build(pets, tmp_path / "plain")
    assert prep("build-shards", pets, out, "--recipe", path, "--workers", workers).code == 0
    for id_ in load_manifest(out).ids:
        plain, made = (np.load(root / "shards" / f"{id_}.npy").astype(int) for root in (tmp_path / "plain", out))
        assert (made == np.minimum(plain + 9, 255)).all()
    assert "8 kept" in build(pets, out).out  # where it lies is remembered
    assert "recipe changed" in prep("plan", pets, out, "--recipe", recipe(folder, f"[[transforms]]\nname = '{name}:brighter'\nby = 8")).err


def test_a_function_that_fails_on_one_item_costs_that_item(pets: Path, out: Path, tmp_path: Path) -> None:
    write_image(pets / "cats" / "wide.png", shape=(6, 9, 3))
    body = """
    def picky(array):
        if array.shape[1] == 9:
            raise KeyError("not this one")
        return array
    """
    function(tmp_path, body, "picky_of_test")
    path = recipe(tmp_path, "[[transforms]]\nname = 'picky_of_test:picky'")
    outcome = prep("build-shards", pets, out, "--recipe", path, "--workers", "1")
    assert outcome.code == 1
    failures = (out / "failures.csv").read_text()
    assert ",transform," in failures
    assert "KeyError" in failures
    assert "not this one" in failures
    assert len(load_manifest(out)) == 8
    assert prep("verify", out).code == 0


TILES = "[[transforms]]\nname = 'tile'\nsize = [3, 4]\n"


def test_tiles_share_a_group_and_a_split_and_make_up_the_image(pets: Path, out: Path, tmp_path: Path) -> None:
    build(pets, tmp_path / "whole")
    outcome = build(pets, out, "--recipe", recipe(tmp_path, TILES), "--split", "train=0.5,val=0.5")
    assert "8 raw items found = 8 added" in outcome.out
    manifest, whole = load_manifest(out), load_manifest(tmp_path / "whole")
    assert len(manifest) == 4 * len(whole)
    for id_ in whole.ids:
        tiles = [f"{id_}-{number:04d}" for number in range(4)]
        rows = manifest.frame.set_index("id").loc[tiles]
        assert len(set(rows["split"])) == 1
        assert set(rows["group"]) == {id_}
        a, b, c, d = (np.load(manifest.path_of(tile)) for tile in tiles)
        assert (np.block([[[a], [b]], [[c], [d]]]) == np.load(whole.path_of(id_))).all()
    before = snapshot(out)
    assert "8 kept" in build(pets, out).out
    assert snapshot(out) == before


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_image_that_is_called_as_a_tile_of_another_is_none_of_it(pets: Path, out: Path, tmp_path: Path, when: str) -> None:
    """Not even if it is a copy with the same times: its row and its tiles tell whose they are by their raw files."""
    image = pets / "cats/001.png"
    for path in pets.rglob("*.png"):
        set_age(path, 1_000)
    other = pets / "cats/001-0001.png"
    if when == "before":
        shutil.copy2(image, other)
    build(pets, out, "--recipe", recipe(tmp_path, TILES))
    if when == "after":
        shutil.copy2(image, other)
    build(pets, out)
    ids = [f"cats/{name}-{number:04d}" for name in ("001", "001-0001") for number in range(4)]
    assert [id_ for id_ in load_manifest(out).ids if id_.startswith("cats/001")] == sorted(ids)
    before = snapshot(out)
    for flags in ((), ("--prune",)):
        summary = build(pets, out, *flags, "--json").json
        assert (summary["rebuilt"], summary["gone"], summary["removed"], summary["kept"]) == (0, 0, 0, summary["found"])
        assert snapshot(out) == before
    other.unlink()
    build(pets, out, "--prune")
    assert [id_ for id_ in load_manifest(out).ids if id_.startswith("cats/001")] == ids[:4]


def test_a_changed_image_of_another_size_has_other_tiles(pets: Path, out: Path, tmp_path: Path) -> None:
    path = recipe(tmp_path, TILES)
    build(pets, out, "--recipe", path)
    first, second, *_ = sorted((pets / "cats").glob("*.png"))
    write_image(first, seed=77, shape=(3, 8, 3))
    second.unlink()
    outcome = build(pets, out, "--prune")
    assert "1 rebuilt" in outcome.out
    ids = load_manifest(out).ids
    assert [id_ for id_ in ids if id_.startswith(f"cats/{first.stem}-")] == [f"cats/{first.stem}-0000", f"cats/{first.stem}-0001"]
    build(pets, tmp_path / "fresh", "--recipe", path)
    assert {name: digest for name, digest in snapshot(out).items() if name.startswith("shards/")} == {
        name: digest for name, digest in snapshot(tmp_path / "fresh").items() if name.startswith("shards/")
    }
    assert prep("verify", out).code == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[transforms]]\nname = 'resiz'\nsize = [3, 3]", ["transforms[0].name", "'resize'"]),
        ("[splits]\nfractions = {train = 0.5}", ["splits.fractions", "add up to 1"]),
        ("[splits]\nfractions = {train = '1e999999999'}", ["splits.fractions", "add up to 1"]),
        ("[splits]\ngroup_by = 'a'\ngroup_regex = 'b'", ["splits", "choose one"]),
        ("[output]\ndtype = 'int7'\n[sorce]\nx = 1", ["output.dtype", "sorce", "'source'"]),
        ("[[transforms]]\nname = 'nowhere_of_test:f'", ["nowhere_of_test"]),
        ("= 3", ["is no TOML"]),
    ],
)
def test_a_wrong_recipe_is_refused_before_anything_is_written(text: str, says: list[str], pets: Path, out: Path, tmp_path: Path) -> None:
    path = recipe(tmp_path, text)
    check_refused(prep("build-shards", pets, out, "--recipe", path), 2, str(path), *says)
    assert not out.exists()
    refused = prep("recipe", pets, "--recipe", path, "--json")
    check_refused(refused, 2, *says)
    assert json.loads(refused.out)["exit_code"] == 2


@pytest.mark.parametrize("kind", ["missing", "folder", "binary"])
def test_what_is_no_recipe(kind: str, pets: Path, out: Path, tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    if kind == "folder":
        path.mkdir()
    elif kind == "binary":
        path.write_bytes(bytes(range(256)))
    check_refused(prep("build-shards", pets, out, "--recipe", path), 2, str(path), "expected a TOML file")
