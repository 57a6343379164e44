"""`prep merge`: the union of two datasets, or a list of what stands against it and nothing written."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from command_line import STATE_FOLDER, build, check_leaves_no_trace, check_refused, ended, prep, snapshot, started, write_array, write_image

from manifests import load_manifest
from prep.parallel import hashing as prep_readers

DATA, USAGE = 1, 2


def write_images(source: Path, **seeds: int) -> Path:
    """Write images; `cats_000=3` is cats/000.png of seed 3."""
    for name, seed in seeds.items():
        write_image(source / f"{name.replace('_', '/')}.png", seed=seed)
    return source


@pytest.fixture
def a(tmp_path: Path) -> Path:
    build(write_images(tmp_path / "raw-a", cats_0=1, cats_1=2, dogs_0=3), tmp_path / "a")
    return tmp_path / "a"


@pytest.fixture
def b(tmp_path: Path) -> Path:
    """One image of `a`, and two more; one of a class that `a` does not have, and that comes before those it has."""
    build(write_images(tmp_path / "raw-b", cats_1=2, dogs_7=4, ants_0=5), tmp_path / "b")
    return tmp_path / "b"


@pytest.fixture
def both(a: Path, b: Path) -> tuple[Path, Path]:
    return a, b


def by_hand(folder: Path, text: str, **arrays: Any) -> Path:
    for id_, array in arrays.items():
        write_array(folder / f"{id_}.npy", array)
    (folder / "manifest.csv").write_text(text)
    return folder


def change_manifest(dataset: Path, old: str, new: str) -> None:
    path = dataset / "manifest.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def check_merged(out: Path, a: Path, b: Path) -> None:
    """Hold a union against its parts: sound, with every ID's array, and its files in nobody's hands but its own."""
    outcome = prep("verify", out, "--deep", "--json")
    assert (outcome.code, outcome.json["without_sha256"], outcome.json["linked"]) == (0, 0, [])
    union, parts = load_manifest(out), [load_manifest(part) for part in (a, b)]
    assert union.ids == sorted({id_ for part in parts for id_ in part.ids})
    for part in parts:
        for id_ in part.ids:
            np.testing.assert_array_equal(union.load(id_), part.load(id_))
    check_leaves_no_trace(out)


def test_the_union_of_two_builds(both: tuple[Path, Path], out: Path) -> None:
    before = [snapshot(part) for part in both]
    outcome = prep("merge", *both, out)
    assert (outcome.code, outcome.out) == (0, f"{out}: 5 IDs = 3 of A + 2 of B; 1 in both\n"), outcome.err
    check_merged(out, *both)
    assert load_manifest(out).classes == ("cats", "dogs", "ants")
    assert [snapshot(part) for part in both] == before


def test_the_same_bytes_come_of_it_however_it_runs(both: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for name, workers, many in (("one", "1", 20_000), ("threads", "3", 20_000), ("processes", "2", 0)):
        monkeypatch.setattr(prep_readers, "MANY_FILES", many)
        assert prep("merge", *both, tmp_path / name, "--workers", workers).code == 0
        found.append(snapshot(tmp_path / name))
    assert found[0] == found[1] == found[2]
    assert {"manifest.csv", "dataset.json", "shards/ants/0.npy"} <= set(found[0])


def test_a_dataset_merged_with_itself_is_its_copy(a: Path, out: Path) -> None:
    assert prep("merge", a, a / "manifest.csv", out).code == 0
    assert snapshot(out) == snapshot(a)


def test_a_build_goes_on_with_the_union_of_two_builds_by_one_recipe(both: tuple[Path, Path], out: Path, tmp_path: Path) -> None:
    assert prep("merge", *both, out, "--json").json["rebuildable"] is True
    outcome = prep("build-shards", tmp_path / "raw-a", out, "--json")
    assert (outcome.code, outcome.json["kept"], outcome.json["gone"]) == (0, 2 + 1, 2), outcome.err
    check_merged(out, *both)


def test_no_build_goes_on_with_a_union_under_new_ids(both: tuple[Path, Path], out: Path, tmp_path: Path) -> None:
    outcome = prep("merge", *both, out, "--prefix-b", "b/")
    assert outcome.code == 0
    assert "build-shards cannot update it" in outcome.err
    before = snapshot(out)
    check_refused(prep("build-shards", tmp_path / "raw-a", out), USAGE, "merged")
    assert snapshot(out) == before
    assert len(load_manifest(out)) == 6


# What contradicts


def _other_content(_: Path, b: Path) -> None:
    (b.parent / "raw-b" / "cats" / "1.png").unlink()
    write_image(b.parent / "raw-b" / "cats" / "1.png", seed=99)
    build(b.parent / "raw-b", b, "--checksum")


def _other_recipe(_: Path, b: Path) -> None:
    shutil.rmtree(b)
    build(b.parent / "raw-b", b, "--size", "4x4")


def _other_class_order(_: Path, b: Path) -> None:
    text = (b / "dataset.json").read_text()
    (b / "dataset.json").write_text(text.replace('"cats"', '"?"').replace('"dogs"', '"cats"').replace('"?"', '"dogs"'))


def _groups(a: Path, b: Path) -> None:
    for part, split in ((a, "train"), (b, "val")):
        lines = (part / "manifest.csv").read_text().splitlines()
        rows = [f"{lines[0]},group,split", *(f"{line},p,{split}" for line in lines[1:] if not line.startswith("cats/1,"))]
        (part / "manifest.csv").write_text("\n".join(rows) + "\n")


CONFLICTS: dict[str, tuple[Callable[[Path, Path], None], tuple[str, ...], tuple[tuple[str, ...], ...]]] = {
    "content": (_other_content, ("'cats/1'", "content", "sha256", "--prefer", "--prefix-a"), (("--prefer", "a"), ("--prefix-b", "b/"))),
    "label": (
        lambda a, b: change_manifest(b, "cats/1,cats", "cats/1,dogs"),
        ("'cats/1'", "'label'", "A has 'cats'", "B has 'dogs'"),
        (("--prefer", "b"), ("--prefix-a", "a-")),
    ),
    "name": (
        lambda a, b: change_manifest(b, "dogs/7,", "cats/0.NPY/7,"),
        ("'cats/0'", "'cats/0.NPY/7'", "--prefix"),
        (("--prefix-b", "b/"),),
    ),
    "groups": (_groups, ("'p'", "group in two splits", "A has train", "B has val", "correct the groups"), ()),
    "recipe": (_other_recipe, ("recipe", "size None", "size [4, 4]", "(6, 8, 3)", "(4, 4, 3)", "--mixed"), (("--mixed", "--prefer", "a"),)),
    "classes": (_other_class_order, ("classes 'label'", "'cats', 'dogs'", "'dogs', 'cats'", "--prefer"), (("--prefer", "b"),)),
}


@pytest.mark.parametrize(("change", "says", "resolved_by"), CONFLICTS.values(), ids=CONFLICTS.keys())
def test_a_conflict_is_told_and_nothing_is_written_unless_it_is_resolved(
    change: Callable[[Path, Path], None],
    says: tuple[str, ...],
    resolved_by: tuple[tuple[str, ...], ...],
    both: tuple[Path, Path],
    out: Path,
) -> None:
    change(*both)
    before = snapshot(both[0].parent)
    check_refused(prep("merge", *both, out), DATA, "nothing was written", *says)
    outcome = prep("merge", *both, out, "--json")
    assert outcome.code == outcome.json["exit_code"] == DATA
    assert all({"kind", "ids", "column", "a", "b"} == set(conflict) for conflict in outcome.json["conflicts"])
    assert outcome.json["conflicts"]
    assert not out.exists()
    assert snapshot(both[0].parent) == before
    for number, options in enumerate(resolved_by):
        target = out.with_name(f"resolved-{number}")
        done = prep("merge", *both, target, *options)
        assert done.code == 0, done.err
        assert prep("verify", target).code == 0


def test_every_conflict_is_listed(both: tuple[Path, Path], out: Path, tmp_path: Path) -> None:
    rows = [f"i{number:03d}" for number in range(150)]
    parts = [
        by_hand(tmp_path / name, "id,label\n" + "".join(f"{id_},{name}\n" for id_ in rows), **dict.fromkeys(rows, np.zeros(1)))
        for name in ("x", "y")
    ]
    outcome = prep("merge", *parts, out, "--json")
    assert [conflict["ids"] for conflict in outcome.json["conflicts"]] == [[id_] for id_ in rows]
    assert "... and 50 more (--json lists all of them)" in outcome.err


def test_preferring_takes_shard_and_label_of_one_side(both: tuple[Path, Path], out: Path) -> None:
    _other_content(*both)
    change_manifest(both[1], "cats/1,cats", "cats/1,dogs")
    outcome = prep("merge", *both, out, "--prefer", "b")
    assert outcome.code == 0, outcome.err
    assert "2 conflicts resolved as asked" in outcome.out
    union, preferred = load_manifest(out), load_manifest(both[1])
    np.testing.assert_array_equal(union.load("cats/1"), preferred.load("cats/1"))
    at = union.ids.index("cats/1")
    theirs = preferred.ids.index("cats/1")
    for column in ("label", "sha256", "fingerprint", "source"):
        assert union.frame[column][at] == preferred.frame[column][theirs]


# Manifests of other hands


def test_manifests_written_by_hand_get_every_column(tmp_path: Path, out: Path) -> None:
    a = by_hand(tmp_path / "x", "id,label\np,cat\nq,dog\n", p=np.zeros((2, 3)), q=np.ones((2, 3)))
    b = by_hand(tmp_path / "y", "id,label,path\nq,dog,other.npy\nr,cat,r.npy\n", other=np.ones((2, 3)), r=np.ones((2, 3)))
    assert prep("merge", a, b, out).code == 0
    check_merged(out, a, b)
    assert list(load_manifest(out).frame["shape"]) == ["2x3"] * 3


def test_arrays_without_a_shape_in_their_manifests_conflict_once_they_are_read(tmp_path: Path, out: Path) -> None:
    a = by_hand(tmp_path / "x", "id,label\np,cat\n", p=np.zeros((2, 3)))
    b = by_hand(tmp_path / "y", "id,label\nq,cat\n", q=np.zeros((2, 4)))
    check_refused(prep("merge", a, b, out), DATA, "array", "(2, 3) float64", "(2, 4) float64", "--mixed")
    assert not out.exists()
    assert prep("merge", a, b, out, "--mixed").code == 0
    check_merged(out, a, b)


def test_the_rows_of_a_pack_become_files(tmp_path: Path, out: Path) -> None:
    a = by_hand(tmp_path / "x", "id,path,row\np,pack.npy,0\nq,pack.npy,1\n", pack=np.arange(6, dtype=">i4").reshape(2, 3))
    b = by_hand(tmp_path / "y", "id\nq\n", q=np.arange(3, 6, dtype=np.int32))
    assert prep("merge", a, b, out).code == 0
    check_merged(out, a, b)


def test_failures_are_those_of_both_without_ids_that_have_a_row(both: tuple[Path, Path], out: Path) -> None:
    header = "id,source,stage,error\n"
    (both[0] / "failures.csv").write_text(header + "dogs/7,dogs/7.png,read,e\nx,x.png,read,e\n")
    (both[1] / "failures.csv").write_text(header + "x,x.png,read,e\n,y.png,find,e\n")
    assert prep("merge", *both, out, "--json").json["failures"] == 2
    assert (out / "failures.csv").read_text() == "id,source,stage,type,error\n,y.png,find,ItemError,e\nx,x.png,read,ItemError,e\n"
    assert prep("merge", *both, out.with_name("p"), "--prefix-b", "b/").code == 0
    assert "b/x,x.png" in (out.with_name("p") / "failures.csv").read_text()


# Bad input


def _flip(b: Path) -> None:
    path = b / "shards" / "dogs" / "7.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _link_out(b: Path) -> None:
    path = b / "shards" / "dogs" / "7.npy"
    path.rename(b.parent / "outside.npy")
    path.symlink_to(b.parent / "outside.npy")


BAD: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "missing": (lambda b: (b / "shards/dogs/7.npy").unlink(), ("'dogs/7' of B", "No such file")),
    "truncated": (lambda b: os.truncate(b / "shards/dogs/7.npy", 100), ("'dogs/7' of B",)),
    "flipped bit": (_flip, ("'dogs/7' of B", "sha256: expected")),
    "objects": (lambda b: np.save(b / "shards/dogs/7.npy", np.array([None]), allow_pickle=True), ("'dogs/7' of B", "Python objects")),
    "outside": (_link_out, ("'dogs/7' of B", "outside")),
    "another shape": (lambda b: change_manifest(b, "6x8x3", "8x6x3"), ("'dogs/7' of B", "expected 8x6x3, found 6x8x3")),
    "no manifest": (lambda b: (b / "manifest.csv").unlink(), ("manifest.csv", "no manifest")),
    "bad manifest": (lambda b: (b / "manifest.csv").write_text("id\nx\nx\n"), ("row 3", "'x'")),
    "foreign failures.csv": (lambda b: (b / "failures.csv").write_text("what\nx\n"), ("failures.csv", "stage")),
}


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(("damage", "says"), BAD.values(), ids=BAD.keys())
def test_a_damaged_dataset_is_named_and_nothing_is_written(
    damage: Callable[[Path], object], says: tuple[str, ...], workers: str, both: tuple[Path, Path], out: Path
) -> None:
    damage(both[1])
    # "another shape" changes the shape of the shared ID too, which would be a conflict of its own.
    check_refused(prep("merge", *both, out / "deep", "--prefer", "a", "--mixed", "--workers", workers), DATA, *says)
    assert not out.exists()


def test_a_damaged_pack_is_named(tmp_path: Path, out: Path) -> None:
    a = by_hand(tmp_path / "x", f"id,path,row,sha256\np,pack.npy,0,{'0' * 64}\n", pack=np.zeros((2, 3)))
    check_refused(prep("merge", a, a, out), DATA, "A: sha256: ID 'p', pack.npy")
    assert not out.exists()


@pytest.mark.parametrize("name", ["a", "b", "a/shards", "a/new", "."])
def test_the_union_is_never_written_over_or_into_its_parts(name: str, both: tuple[Path, Path]) -> None:
    before = snapshot(both[0].parent)
    check_refused(prep("merge", *both, both[0].parent / name), USAGE, "choose a separate folder")
    assert snapshot(both[0].parent) == before


def test_the_union_is_written_only_where_nothing_is(both: tuple[Path, Path], existing: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    check_refused(prep("merge", *both, existing), USAGE, "manifest.csv", "choose an empty or new folder")
    check_refused(prep("merge", *both, tmp_path / "file"), USAGE, "is a file")
    (tmp_path / "empty").mkdir()
    assert prep("merge", *both, tmp_path / "empty").code == 0
    check_refused(prep("merge", *both, tmp_path / "empty"), USAGE, "choose an empty or new folder")


@pytest.mark.parametrize("options", [("--prefer", "c"), ("--prefix-a", "../"), ("--workers", "0"), ("surplus",)])
def test_options_that_cannot_work(options: tuple[str, ...], both: tuple[Path, Path], out: Path) -> None:
    check_refused(prep("merge", *both, out, *options), USAGE, options[-1])
    assert not out.exists()


def test_what_failed_keeps_its_split_fold_and_group(tmp_path: Path, out: Path) -> None:
    """In both datasets, an item that had a row fails by now; the union knows of each what the next build is to give it."""
    expected: dict[str, dict[str, str]] = {"absent": {}, "absent_folds": {}, "absent_groups": {}}
    for name in "ab":
        source = tmp_path / f"raw-{name}"
        for number in range(8):
            write_image(source / "cats" / f"{name}{number}_0.png", seed=number)
            write_image(source / "dogs" / f"{name}{number}_1.png", seed=100 + number)
        flags = ("--split", "train=0.5,test=0.5", "--folds", "2", "--group-regex", "/([ab][0-9])_")
        build(source, tmp_path / name, *flags)
        frame = load_manifest(tmp_path / name).frame.set_index("id")
        id_ = frame.index[frame["split"] == "train"][0]
        (source / f"{id_}.png").write_bytes(b"")
        build(source, tmp_path / name, "--max-failures", "1")
        for key, column in zip(expected, ("split", "fold", "group"), strict=True):
            expected[key][id_] = frame.loc[id_, column]
    assert prep("merge", tmp_path / "a", tmp_path / "b", out).code == 0
    splits = load_manifest(out).metadata.splits
    assert {key: splits[key] for key in expected} == expected


# Interrupts and full disks


def no_space(*_: object, **__: object) -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")


@pytest.mark.parametrize(
    "step",
    ["prep.build.execute.copying._copy_bytes", "prep.build.stage.stage.write_manifest", "os.replace", "prep.build.stage.stage.locked"],
)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_disk_that_is_full_at_any_step_leaves_nothing(
    step: str, workers: str, both: tuple[Path, Path], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(both[0].parent)
    with monkeypatch.context() as patch:
        patch.setattr(step, no_space)
        check_refused(prep("merge", *both, out / "deep", "--workers", workers), DATA, "cannot be written")
    assert snapshot(both[0].parent) == before
    assert prep("merge", *both, out / "deep").code == 0


@pytest.mark.parametrize("way", ["not at all", "in part"])
def test_where_the_system_does_not_copy_by_itself_it_is_done_by_hand(
    way: str, both: tuple[Path, Path], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = os.copy_file_range
    calls: list[int] = []

    def refusing(source: int, target: int, _: int) -> int:
        calls.append(source)
        if way == "not at all" or len(calls) % 2 == 0:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return copy(source, target, 50)

    monkeypatch.setattr(os, "copy_file_range", refusing)
    assert prep("merge", *both, out, "--workers", "1").code == 0
    assert calls
    check_merged(out, *both)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_signal_while_shards_are_copied_leaves_nothing(number: signal.Signals, workers: str, both: tuple[Path, Path], out: Path) -> None:
    """In a process of its own, as its second copy sends the signal."""
    before = snapshot(both[0].parent)
    script = f"""
import os, prep.build.execute.copying
from prep.cli.app import main
copy, calls = prep.build.execute.copying._copy_bytes, []
def copy_bytes(*arguments):
    calls.append(1)
    if len(calls) == 2:
        os.kill(os.getpid(), {int(number)})
    copy(*arguments)
prep.build.execute.copying._copy_bytes = copy_bytes
main()
"""
    with started([sys.executable, "-c", script, "merge", *both, out, "--workers", workers]) as process:
        outcome = ended(process)
    check_refused(outcome, 128 + number, "what was there before is unchanged")
    assert snapshot(both[0].parent) == before


def test_a_stage_that_a_killed_merge_left_goes_with_the_next(both: tuple[Path, Path], out: Path) -> None:
    write_array(out / STATE_FOLDER / "build" / "shards" / "x.npy", [1.0])
    assert prep("merge", *both, out).code == 0
    check_merged(out, *both)


def test_a_merge_that_was_killed_just_before_its_record_can_be_run_again(both: tuple[Path, Path], out: Path) -> None:
    """It has made folders by then; the same command refused them."""
    script = "import os, manifests.storage.commitlog as c; from prep.cli.app import main; c.write_record = lambda *_: os._exit(9); main()"
    with started([sys.executable, "-c", script, "merge", *both, out]) as process:
        assert ended(process).code == 9
    assert (out / "shards").is_dir()
    assert prep("merge", *both, out).code == 0
    check_merged(out, *both)
