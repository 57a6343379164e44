"""IDs and paths come from outside: which of them are safe, which meet on a disk, and where they lead."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.format.names import (
    collision_key,
    collisions,
    default_path,
    file_and_folder_clashes,
    name_problem,
    resolve_inside,
)

SAFE = [
    "007",
    "NA",
    "null",
    "1e5",
    "cats/001",
    "a/b/c/d",
    "with space",
    " leading and trailing ",
    "a..b",
    "...",
    "..a",
    ".hidden",
    "a.",
    "-rf",
    "été/日本語",
    "🦊",
    "a,b",
    'a"b',
    "a;b",
    "CON",
    "ab:c",
    "a" * 255,
    "a" * 255 + "/" + "b" * 255,
    "é" * 127 + "a",
    "🦊" * 63 + "abc",
    "a/" * 2047 + "bc",
    "\u0627\u200f.png",
]

UNSAFE = [
    ("", "is empty"),
    (".", "component '.'"),
    ("..", "component '..'"),
    ("../a", "component '..'"),
    ("a/..", "component '..'"),
    ("a/../b", "component '..'"),
    ("a/./b", "component '.'"),
    ("./a", "component '.'"),
    ("a//b", "component ''"),
    ("a/", "component ''"),
    ("/", "is absolute"),
    ("/a", "is absolute"),
    ("/etc/passwd", "is absolute"),
    ("//server/share", "is absolute"),
    ("C:", "is absolute"),
    ("C:a", "is absolute"),
    ("c:/a", "is absolute"),
    ("a\\b", "backslash"),
    ("..\\a", "backslash"),
    ("\\\\server\\share", "backslash"),
    ("a\nb", "control character"),
    ("a\r", "control character"),
    ("\ta", "control character"),
    ("a\x00", "control character"),
    ("a\x1b[31m", "control character"),
    ("a\x7f", "control character"),
    ("a\x85", "control character"),
    ("a\x9f", "control character"),
    ("cat\u202egnp.exe", "changes the direction of text"),
    ("a\u2066b", "changes the direction of text"),
    ("a\ud800", "cannot be encoded"),
    ("\udcff.png", "cannot be encoded"),
    ("a" * 256, "256 bytes"),
    ("a/" + "b" * 256 + "/c", "256 bytes"),
    ("é" * 128, "256 bytes"),
    ("🦊" * 64, "256 bytes"),
    ("a/" * 2048 + "b", "has 4,097 characters; a path has at most 4,096 bytes"),
    ("é" * 100 + "/é" * 1300, "has 4,100 bytes; a path has at most 4,096"),
]


@pytest.mark.parametrize("name", SAFE)
def test_a_safe_name_has_no_problem(name: str) -> None:
    assert name_problem(name) is None


@pytest.mark.parametrize(("name", "why"), UNSAFE)
def test_an_unsafe_name_is_refused_with_its_reason(name: str, why: str) -> None:
    problem = name_problem(name)
    assert problem is not None
    assert why in problem


@given(st.text(alphabet=st.sampled_from("ab./\\: \n\x00é\ud800C"), max_size=12))
def test_a_safe_name_stays_below_its_folder(name: str) -> None:
    if name_problem(name) is None:
        path = Path("/root/of/data", name)
        assert path.is_relative_to("/root/of/data")
        assert path.as_posix() == f"/root/of/data/{name}"
        assert not {"..", "."} & set(path.parts)


@given(st.text(alphabet="aZ09_. -/", min_size=1, max_size=12))
def test_the_short_way_for_plain_names_refuses_what_the_long_way_refuses(name: str) -> None:
    by_hand = name.startswith("/") or any(part in {"", ".", ".."} for part in name.split("/"))
    assert (name_problem(name) is not None) == by_hand


@pytest.mark.parametrize(
    ("id_", "folder", "path"),
    [("007", "shards", "shards/007.npy"), ("cats/001", "shards", "shards/cats/001.npy"), ("cats/001", "", "cats/001.npy")],
)
def test_default_path(id_: str, folder: str, path: str) -> None:
    assert default_path(id_, folder=folder) == path


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cat", "CAT"),
        ("Cats/A", "cats/a"),
        ("é", "e\u0301"),
        ("É", "e\u0301"),
        ("straße", "STRASSE"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("K", "k"),
        ("\u212a", "k"),  # the Kelvin sign
        ("Å", "\u212b"),  # the Ångström sign
        ("\u1fb3", "\u0391\u0399"),  # alpha with an iota below it, and the two as capitals
        ("\u1fb3\u0301", "\u1fb4"),  # the same letter, its marks in another order
    ],
)
def test_names_that_are_one_on_some_disk_collide(one: str, other: str) -> None:
    assert list(collisions([one, "between", other])) == [(2, 0)]


@pytest.mark.parametrize(("one", "other"), [("a", "b"), ("a/b", "a-b"), ("e", "é"), ("a", "a "), ("1", "1.0"), ("²", "2"), ("ﬁ1", "f1")])
def test_names_that_differ_on_every_disk_do_not_collide(one: str, other: str) -> None:
    assert list(collisions([one, other])) == []


def test_each_collision_names_the_first_of_its_kind() -> None:
    assert list(collisions(["a", "b", "A", "a", "B"])) == [(2, 0), (3, 0), (4, 1)]


@given(st.text())
def test_normal_forms_of_one_name_collide(name: str) -> None:
    assert collision_key(unicodedata.normalize("NFC", name)) == collision_key(unicodedata.normalize("NFD", name))


@given(st.text(alphabet="abcXYZ019/._-éÉñÑ"))
def test_cases_of_one_name_collide(name: str) -> None:
    assert collision_key(name.upper()) == collision_key(name.lower())


@pytest.mark.parametrize(
    ("paths", "clashes"),
    [
        ([], []),
        (["a.npy", "b/a.npy"], []),
        (["a.npy", "a.npy/b.npy"], [(1, 0)]),
        (["a.npy/b.npy", "a.npy"], [(0, 1)]),
        (["shards/A.NPY", "shards/a.npy/x/y.npy"], [(1, 0)]),
        (["é.npy", "e\u0301.npy/b.npy"], [(1, 0)]),
        (["pack", "pack/a.npy"], [(1, 0)]),
        (["a.npy", "b.npy/c.npy"], []),
        (["p", "p", "p/q"], [(2, 0)]),
        (["a", "a/b", "a/b/c"], [(1, 0), (2, 1), (2, 0)]),
    ],
)
def test_a_file_cannot_also_be_a_folder(paths: list[str], clashes: list[tuple[int, int]]) -> None:
    assert list(file_and_folder_clashes(paths)) == clashes


def test_a_plain_path_resolves_below_the_root_even_if_nothing_is_there(tmp_path: Path) -> None:
    assert resolve_inside(tmp_path, "a/b.npy") == tmp_path.resolve() / "a/b.npy"


def test_the_root_itself_may_be_reached_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert resolve_inside(tmp_path / "link", "a.npy") == tmp_path.resolve() / "real/a.npy"


def test_everything_is_inside_the_root_of_the_disk() -> None:
    assert resolve_inside(Path("/"), "no-such-folder/a.npy") == Path("/no-such-folder/a.npy")


@pytest.mark.parametrize(
    ("link", "target", "path", "inside"),
    [
        ("a.npy", "blobs/1.npy", "a.npy", True),
        ("folder", "blobs", "folder/1.npy", True),
        ("back", "../data", "back/blobs/1.npy", True),
        ("a.npy", "../outside.npy", "a.npy", False),
        ("folder", "..", "folder/outside.npy", False),
        ("folder", "/", "folder/etc/passwd", False),
        ("sibling", "../data-2", "sibling/1.npy", False),  # begins with the root's own name
    ],
)
def test_links_are_followed_and_must_end_inside(tmp_path: Path, link: str, target: str, path: str, inside: bool) -> None:
    root = tmp_path / "data"
    (root / "blobs").mkdir(parents=True)
    (tmp_path / "data-2").mkdir()
    (root / link).symlink_to(target)
    assert (resolve_inside(root, path) is not None) == inside
