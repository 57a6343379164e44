"""`prep diff`: what the command tells of two datasets."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import build, check_refused, prep, snapshot, write_array, write_image, write_pets


@pytest.fixture
def later(existing: Path, tmp_path: Path) -> Path:
    """The same data some days on: one image changed, one gone, one new."""
    source = shutil.copytree(tmp_path / "good", tmp_path / "later")
    write_image(source / "cats" / "000.png", seed=77)
    (source / "cats" / "001.png").unlink()
    write_image(source / "birds" / "000.png", seed=78)
    build(source, tmp_path / "data-later", "--split", "train=0.5,val=0.5")
    return tmp_path / "data-later"


def by_hand(folder: Path, **arrays: float) -> Path:
    """Write a dataset as people do by hand: a manifest of IDs and labels beside arrays."""
    for id_, value in arrays.items():
        write_array(folder / f"{id_}.npy", np.full(3, value))
    (folder / "manifest.csv").write_text("id,label\n" + "".join(f"{id_},x\n" for id_ in arrays))
    return folder


def test_what_changed_between_two_builds(existing: Path, later: Path) -> None:
    before = snapshot(existing), snapshot(later)
    outcome = prep("diff", existing, later)
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[:4] == ["added: 1 ID", "  + 'birds/000'", "removed: 1 ID", "  - 'cats/001'"]
    assert "changed content: 1 ID" in lines
    assert "classes of 'label': 'cats', 'dogs' -> 'birds', 'cats', 'dogs'" in lines
    found = prep("diff", existing, later / "manifest.csv", "--json").json
    assert (found["added"], found["removed"], found["differ"]) == (["birds/000"], ["cats/001"], True)
    assert [(change["id"], change["column"]) for change in found["changed"]] == [("cats/000", "sha256")]
    assert found["classes"] == {"label": {"old": ["cats", "dogs"], "new": ["birds", "cats", "dogs"]}}
    assert (snapshot(existing), snapshot(later)) == before


@pytest.mark.parametrize(("arguments", "code"), [((), 0), (("--exit-code",), 1), (("--exit-code", "--json"), 1)])
def test_a_difference_is_an_error_only_if_asked_for(arguments: tuple[str, ...], code: int, existing: Path, later: Path) -> None:
    assert prep("diff", existing, later, *arguments).code == code
    assert prep("diff", existing, existing, *arguments).code == 0


def test_a_dataset_and_its_copy_do_not_differ(existing: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(existing, tmp_path / "copy")
    for deep in ((), ("--deep",)):
        assert prep("diff", existing, copy, *deep).out == "no differences\n"


def test_arrays_are_read_where_manifests_say_nothing_if_asked_for(tmp_path: Path) -> None:
    a, b = by_hand(tmp_path / "a", one=1, two=2), by_hand(tmp_path / "b", one=1, two=3)
    np.save(b / "one.npy", np.full(3, 1).astype(">i8"))  # the same values in other bytes
    assert "not compared: 2 IDs" in prep("diff", a, b).out
    assert [prep("diff", a, a, "--exit-code", *deep).code for deep in ((), ("--deep",))] == [1, 0]
    assert prep("diff", a, b, "--deep").out == "changed content: 1 ID\n  ~ 'two': its array\n"


@pytest.mark.parametrize("count", [10, 11, 30])
def test_all_shows_all(count: int, tmp_path: Path) -> None:
    a, b = by_hand(tmp_path / "a", x=1), by_hand(tmp_path / "b", **{f"n{number:02}": 1 for number in range(count)})
    assert prep("diff", a, b).out.count("  + ") == 10
    assert prep("diff", a, b, "--all").out.count("  + ") == count
    assert len(prep("diff", a, b, "--json").json["added"]) == count


def test_what_cannot_be_compared_is_one_line(existing: Path, tmp_path: Path) -> None:
    check_refused(prep("diff", existing, tmp_path / "nowhere"), 1, "nowhere", "no manifest")
    check_refused(prep("diff", tmp_path / "nowhere", existing, "--json"), 1, "nowhere", "no manifest")
    check_refused(prep("diff", existing), 2, "--help")
    (tmp_path / "bad.csv").write_text("id\na\na\n")
    check_refused(prep("diff", existing, tmp_path / "bad.csv"), 1, "row 3", "'a'")
    a, b = by_hand(tmp_path / "a", one=1), by_hand(tmp_path / "b", one=1)
    (b / "one.npy").write_bytes(b"")
    check_refused(prep("diff", a, b, "--deep"), 1, "'one'", "not a .npy file")


def test_hostile_ids_are_escaped(tmp_path: Path) -> None:
    a = by_hand(tmp_path / "a", x=1)
    b = by_hand(tmp_path / "b", x=1)
    (b / "manifest.csv").write_text("id,label\nx,\x1b[2J\n")
    assert "\x1b" not in prep("diff", a, b).out


def test_pets_of_another_size_have_another_recipe(existing: Path, tmp_path: Path) -> None:
    build(write_pets(tmp_path / "small", per_class=2), tmp_path / "data-small", "--size", "4x4")
    assert "recipe: size: None -> [4, 4]" in prep("diff", existing, tmp_path / "data-small").out
