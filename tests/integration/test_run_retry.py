"""`prep retry`: what failed is tried again, and of all else not one byte is touched."""

from __future__ import annotations

import csv
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import (
    STATE_FOLDER,
    build,
    check_leaves_no_trace,
    check_refused,
    ended,
    prep,
    random_pixels,
    set_age,
    snapshot,
    started,
    write_array,
    write_image,
    write_pets,
)
from hypothesis import given, settings
from PIL import Image
from test_run_adds_up import NAMES, STATES, lay_out

from manifests import load_manifest
from manifests.rows.table import strings
from prep import BuildOptions, SilentReporter, UsageError, build_shards
from prep.build.build import plan_build
from prep.build.plan.plan import ADD


def failures_of(out: Path) -> dict[str, str]:
    """Return ID -> error."""
    if not (out / "failures.csv").exists():
        return {}
    with open(out / "failures.csv", encoding="utf-8", newline="") as file:
        return {row["id"]: row["error"] for row in csv.DictReader(file)}


def write_gray(path: Path, seed: int = 0) -> None:
    Image.fromarray(random_pixels(seed, (6, 8))).save(path)


def fail(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


@pytest.fixture
def failing(pets: Path, out: Path) -> Path:
    """Pets, two of which cannot be read, and a dataset of the others in `out`."""
    fail(pets / "cats" / "one.png", pets / "dogs" / "two.png")
    assert prep("build-shards", pets, out, "--split", "train=0.5,val=0.5", "--workers", "1").code == 1
    return pets


def test_what_is_new_changed_or_gone_waits_for_the_next_build(failing: Path, out: Path) -> None:
    before, rows = snapshot(out), load_manifest(out).frame.set_index("id")
    write_image(failing / "cats" / "one.png", seed=7)
    write_image(failing / "cats" / "000.png", seed=8)  # changed
    write_image(failing / "birds" / "new.png", seed=9)
    fail(failing / "cats" / "new-and-bad.png", failing / "dogs" / "new\nname.png", failing / "cats" / "001.png")
    (failing / "dogs" / "000.bmp").unlink()
    outcome = prep("retry", out, "--json")
    assert outcome.code == 1
    assert {key: value for key, value in outcome.json.items() if key not in {"out", "failures", "relabelled"}} == {
        "found": 2,
        "added": 1,
        "rebuilt": 0,
        "moved": 0,
        "kept": 0,
        "failed": 1,
        "gone": 0,
        "removed": 0,
    }
    assert "retry: 2 of 2 raw items that failed; rows that stay as they are: 8" in outcome.err
    now = load_manifest(out).frame.set_index("id")
    assert set(now.index) == {*rows.index, "cats/one"}
    assert now.loc[rows.index].to_dict("index") == rows.to_dict("index")
    assert {name: snapshot(out)[name] for name in before if name.startswith("shards/")} == {
        name: digest for name, digest in before.items() if name.startswith("shards/")
    }
    assert failures_of(out) == {"dogs/two": "is empty (0 bytes)"}
    assert prep("verify", out).code == 0
    check_leaves_no_trace(out)
    whole = prep("build-shards", failing, out, "--json").json
    assert (whole["added"], whole["rebuilt"], whole["kept"], whole["failed"], whole["gone"]) == (1, 1, 6, 4, 1)


def test_not_even_a_build_that_pruned_lets_a_retry_remove_rows(failing: Path, out: Path) -> None:
    assert prep("build-shards", failing, out, "--prune", "--max-failures", "2").code == 0
    (failing / "dogs" / "000.bmp").unlink()
    assert prep("retry", out, "--max-failures", "2").code == 0
    assert "dogs/000" in load_manifest(out).ids


def test_a_row_whose_file_is_gone_lends_no_shard_to_an_equal_one(failing: Path, out: Path) -> None:
    assert prep("build-shards", failing, out, "--checksum", "--max-failures", "2").code == 0
    (failing / "cats" / "000.png").rename(failing / "cats" / "one.png")
    outcome = prep("retry", out, "--json")
    assert (outcome.json["added"], outcome.json["moved"]) == (1, 0)
    assert {"cats/000", "cats/one"} <= set(load_manifest(out).ids)
    assert prep("verify", out).code == 0


def test_what_is_gone_from_the_source_leaves_failures_csv(failing: Path, out: Path) -> None:
    before = snapshot(out)
    (failing / "cats" / "one.png").unlink()
    outcome = prep("retry", out)
    assert outcome.code == 1
    assert "no longer in failures.csv: 1 raw item that the source no longer has: 'cats/one.png'" in outcome.err
    assert failures_of(out) == {"dogs/two": "is empty (0 bytes)"}
    (failing / "dogs" / "two.png").unlink()
    outcome = prep("retry", out, "--json")
    assert (outcome.code, outcome.json["found"]) == (0, 0)
    assert {name: digest for name, digest in before.items() if name != "failures.csv"} == snapshot(out)


def test_what_fails_again_stays_with_its_new_reason(raw: Path, out: Path) -> None:
    """In a dataset without labels, of which not one row is new."""
    write_array(raw / "good.npy", [1.0])
    fail(raw / "bad.npy")
    assert prep("build-shards", raw, out).code == 1
    before, reason = snapshot(out), failures_of(out)["bad"]
    assert prep("retry", out).code == 1
    assert snapshot(out) == before
    (raw / "bad.npy").write_bytes(b"\x93NUMPY")
    assert prep("retry", out, "--max-failures", "1").code == 0
    assert failures_of(out).keys() == {"bad"}
    assert failures_of(out)["bad"] != reason
    assert {**snapshot(out), "failures.csv": ""} == {**before, "failures.csv": ""}


def mend_pets(raw: Path) -> None:
    """Let one work, in a class that no row has; one fail for another reason; one be gone; and one stay nameless."""
    write_image(raw / "birds" / "one.png", seed=100)
    (raw / "dogs" / "two.png").write_bytes(b"no image")
    (raw / "dogs" / "three.png").unlink()


def pets_that_fail(raw: Path) -> Path:
    write_pets(raw)
    fail(raw / "birds" / "one.png", raw / "dogs" / "two.png", raw / "dogs" / "three.png", raw / "cats" / "a\nname.png")
    return raw


def table_that_fails(raw: Path) -> Path:
    pets_that_fail(raw)
    names = [f"{folder}/{number:03d}" for folder in ("cats", "dogs") for number in range(4)]
    names += ["birds/one", "dogs/two", "dogs/three"]
    rows = [f"{name},{name.partition('/')[0]}, g{at % 3},{'train' if at % 3 else 'test'}" for at, name in enumerate(names)]
    (raw / "pets.csv").write_text("\n".join(["name,label,owner,part", *rows, "dogs/lost,dogs, g1,train", ""]))
    return raw / "pets.csv"


SOURCES: dict[str, tuple[Callable[[Path], Path], tuple[str, ...]]] = {
    "plain": (pets_that_fail, ()),
    "by content": (pets_that_fail, ("--checksum",)),
    "options": (pets_that_fail, ("--size", "4x4", "--color", "gray", "--scale", "unit")),
    "splits": (pets_that_fail, ("--split", "train=0.5,val=0.25,test=0.25", "--folds", "2", "--seed", "5")),
    "groups of paths": (pets_that_fail, ("--split", "train=0.5,test=0.5", "--group-regex", "([0-9a-z])[.]")),
    "folders": (pets_that_fail, ("--split-from-folders", "cats/dogs/birds", "--group-regex", "^(...)")),
    "groups of a table": (table_that_fails, ("--split", "train=0.5,test=0.5", "--group-by", "owner")),
    "splits of a table": (table_that_fails, ("--split-column", "part", "--group-by", "owner", "--folds", "2")),
    "tiles": (pets_that_fail, ("--recipe", "tiles.toml", "--split", "train=0.5,val=0.5")),
}


@pytest.mark.parametrize(("write", "flags"), SOURCES.values(), ids=SOURCES)
def test_where_nothing_but_the_failed_items_changed_it_is_what_a_whole_build_gives(
    write: Callable[[Path], Path], flags: tuple[str, ...], raw: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiles.toml").write_text("[[transforms]]\nname = 'tile'\nsize = [3, 4]\n")
    source = write(raw)
    if "--split" in flags:  # items that have had a row come back to its split
        for name in ("birds/one.png", "dogs/two.png", "dogs/three.png"):
            write_image(raw / name, seed=len(name))
        prep("build-shards", source, out, *flags, "--workers", "1")
        fail(raw / "birds" / "one.png", raw / "dogs" / "two.png", raw / "dogs" / "three.png")
    assert prep("build-shards", source, out, *flags, "--workers", "1").code == 1
    assert (out / "manifest.csv").exists()
    again = tmp_path / "again"
    shutil.copytree(out, again)
    mend_pets(raw)
    assert prep("retry", again, "--workers", "1").code == 1
    assert prep("build-shards", source, out, "--workers", "1", *(["--checksum"] if "--checksum" in flags else [])).code == 1
    assert snapshot(again) == snapshot(out)
    assert any(id_.startswith("birds/one") for id_ in load_manifest(again).ids)


def test_a_build_after_a_retry_has_nothing_to_do(failing: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cats/one.png", "dogs/two.png"):
        write_image(failing / name, seed=7)
    assert prep("retry", out).code == 0
    manifest = (out / "manifest.csv").stat()
    monkeypatch.setattr("prep.build.scan.scan.look_chunk", None)  # not even a header is read
    assert build(failing, out).out.startswith(f"{out}: 10 raw items found = 0 added")
    assert (out / "manifest.csv").stat().st_mtime_ns == manifest.st_mtime_ns


def test_a_table_that_says_other_things_of_the_others_changes_nothing_of_them(raw: Path, out: Path) -> None:
    table = table_that_fails(raw)
    first = ("--split-column", "part", "--group-by", "owner")
    assert prep("build-shards", table, out, *first).code == 1
    rows = load_manifest(out).frame.set_index("id")
    mend_pets(raw)
    lines = table.read_text().splitlines()
    lines[1:5] = ["cats/000,lions, g9,other", "cats/001,lions, g9,other", "new,cats, g1,train", "cats/003,cats, g7,"]
    table.write_text("\n".join([*lines, ""]))
    assert prep("retry", out).code == 1
    now = load_manifest(out).frame.set_index("id")
    assert set(now.index) == {*rows.index, "birds/one"}
    assert now.loc[rows.index].to_dict("index") == rows.to_dict("index")
    assert now.loc["birds/one", "group"] == "g2"


def test_an_id_like_a_samples_of_the_failed_item_is_not_taken_for_one(raw: Path, out: Path) -> None:
    for number in range(8):
        write_array(raw / f"cat-{number:04d}.npy", [float(number)])
    fail(raw / "cat.npy", raw / "dog.npy")
    assert prep("build-shards", raw, out, "--split", "train=0.5,val=0.5").code == 1
    rows = load_manifest(out).frame.set_index("id")
    for mended, left in (("dog", 1), ("cat", 0)):
        write_array(raw / f"{mended}.npy", [9.0])
        outcome = prep("retry", out, "--json")
        assert (outcome.json["added"], outcome.json["failed"]) == (1, left)
        now = load_manifest(out).frame.set_index("id")
        assert now.loc[rows.index].to_dict("index") == rows.to_dict("index")
        assert mended in now.index


def test_a_name_that_can_be_an_id_by_now_is_taken_by_its_file(failing: Path, out: Path) -> None:
    path = out / "failures.csv"
    path.write_text(path.read_text().replace("cats/one,", ","))
    write_image(failing / "cats" / "one.png", seed=7)
    assert prep("retry", out, "--max-failures", "1").code == 0
    assert "cats/one" in load_manifest(out).ids
    assert failures_of(out).keys() == {"dogs/two"}


def test_ids_that_could_be_a_samples_of_what_failed_are_refused_as_by_a_build(raw: Path, out: Path, tmp_path: Path) -> None:
    (tmp_path / "halves_of_test.py").write_text("def halves(image):\n    return [image[:3], image[3:]] if image.max() else image\n")
    (tmp_path / "recipe.toml").write_text("[[transforms]]\nname = 'halves_of_test:halves'\n")
    Image.new("RGB", (8, 6)).save(raw / "a-0000.png")
    fail(raw / "a.png")
    assert prep("build-shards", raw, out, "--recipe", tmp_path / "recipe.toml", "--max-failures", "1").code == 0
    before = snapshot(out)
    write_image(raw / "a.png")
    for command in (("retry", out), ("build-shards", raw, out)):
        check_refused(prep(*command), 1, "could also be that of a sample of another raw item", "'a-0000'")
    assert snapshot(out) == before


def test_an_id_that_a_row_without_its_file_has_in_other_letters_is_refused_as_by_a_build(raw: Path, out: Path) -> None:
    for name in ("Cat", "dog"):
        write_image(raw / f"{name}.png")
    build(raw, out)
    (raw / "Cat.png").unlink()
    fail(raw / "cat.png")
    assert prep("build-shards", raw, out, "--max-failures", "1").code == 0
    before = snapshot(out)
    write_image(raw / "cat.png")
    for command in (("retry", out), ("build-shards", raw, out)):
        check_refused(prep(*command), 1, "the raw item of one is gone", "'Cat'", "'cat'")
    assert snapshot(out) == before


def test_what_would_change_the_recipe_of_the_others_needs_a_whole_build(raw: Path, out: Path) -> None:
    for number in range(3):
        write_gray(raw / f"{number}.png", seed=number)
    fail(raw / "bad.png")
    assert prep("build-shards", raw, out).code == 1
    before = snapshot(out)
    Image.fromarray(np.full((6, 8), 70, np.uint16)).save(raw / "bad.png")
    outcome = prep("retry", out)
    check_refused(outcome, 1, "run build-shards on the whole source", "images of several depths")
    assert len([line for line in outcome.err.splitlines() if line.startswith("error: ")]) == 1
    assert snapshot(out) == before
    check_leaves_no_trace(out)
    write_gray(raw / "bad.png")
    assert prep("retry", out).code == 0


def test_what_failed_is_built_in_the_channels_of_the_others_whatever_it_is(raw: Path, out: Path) -> None:
    """All rows are of grey images, in one channel although the header of one that fails says colour."""
    for number in range(3):
        write_gray(raw / f"{number}.png", seed=number)
    torn = write_image(raw / "bad.png", shape=(64, 64, 3))
    whole = torn.read_bytes()
    torn.write_bytes(whole[:2000])
    assert prep("build-shards", raw, out).code == 1
    assert set(load_manifest(out).frame["shape"]) == {"6x8x1"}
    torn.write_bytes(whole)
    outcome = prep("retry", out)
    assert outcome.code == 0
    assert "though 1 of 4 images is in colour: 'bad" in outcome.err
    assert set(load_manifest(out).frame["shape"]) == {"6x8x1", "64x64x1"}


def test_an_image_in_colour_joins_others_in_colour_that_are_gone_or_changed_by_now(failing: Path, out: Path) -> None:
    """The recipe is that of the dataset, whatever became of its raw files."""
    for path in failing.rglob("0*"):
        path.unlink()
        if path.name == "000.png":
            write_gray(path)
    write_gray(failing / "cats" / "one.png")
    assert prep("retry", out, "--max-failures", "1").code == 0
    assert set(load_manifest(out).frame["shape"]) == {"6x8x3"}


def test_what_a_build_that_was_ended_has_done_is_not_thrown_away(failing: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "somewhere")

    write_image(failing / "cats" / "one.png", seed=7)
    for command in (("retry", out), ("build-shards", failing, out)):
        write_image(failing / "cats" / "new.png", seed=9)
        with monkeypatch.context() as patch:
            patch.setattr("prep.build.stage.stage.write_metadata", no_space)
            check_refused(prep(*command), 1, "No space left on device", "the same command goes on from there")
        before = snapshot(out / STATE_FOLDER)
        if command[0] == "retry":
            outcome = prep("retry", out, "--max-failures", "1")
            assert "going on: 1 item" in outcome.err
            assert outcome.code == 0
        else:
            check_refused(prep("retry", out), 2, "a build that was ended has left finished items", "run build-shards again first")
            assert {name for name in snapshot(out / STATE_FOLDER) if name.startswith("build")} == {
                name for name in before if name.startswith("build")
            }
    outcome = prep("build-shards", failing, out, "--max-failures", "1")
    assert "going on: 1 item" in outcome.err
    assert outcome.code == 0


def test_after_a_retry_that_was_killed_once_its_shards_were_in_place(failing: Path, out: Path) -> None:
    """Its stage was still there, with a part that tells of shards that are nowhere to be lost any more."""
    write_image(failing / "cats" / "one.png", seed=7)
    script = "import os, manifests.storage.commitlog as c; from prep.cli.app import main; c.sync_folder = lambda _: os._exit(9); main()"
    with started([sys.executable, "-c", script, "retry", out, "--workers", "1"]) as process:
        assert ended(process).code == 9
    assert list((out / STATE_FOLDER).glob("build*/parts/*.part"))
    write_image(failing / "dogs" / "two.png", seed=8)
    outcome = prep("retry", out)
    assert outcome.code == 0, outcome.err
    assert len(load_manifest(out)) == 10
    check_leaves_no_trace(out)


@pytest.mark.parametrize("content", [b"id,source\na,b\n", b'"', b"\xff\xfe"])
def test_a_failures_csv_that_cannot_be_read_is_said_in_one_line(content: bytes, failing: Path, out: Path) -> None:
    (out / "failures.csv").write_bytes(content)
    check_refused(prep("retry", out), 1, "failures.csv", "run build-shards")
    assert prep("build-shards", failing, out, "--max-failures", "2").code == 0
    assert len(failures_of(out)) == 2


def test_in_python_it_is_an_option(failing: Path, out: Path) -> None:
    write_image(failing / "cats" / "one.png", seed=7)
    options = BuildOptions(only_failed=True)
    prepared = plan_build(failing, out, options, report=SilentReporter())
    assert strings(prepared.plan.some(ADD)["id"]) == ["cats/one"]
    assert [failure.id for failure in prepared.failures] == ["dogs/two"]
    assert build_shards(failing, out, options, report=SilentReporter()).added == 1
    write_image(failing / "dogs" / "two.png", seed=8)
    assert build_shards(failing, out, options, report=SilentReporter()).added == 1
    before = snapshot(out)
    summary = build_shards(failing, out, options, report=SilentReporter())
    assert (summary.found, summary.gone) == (0, 0)
    assert snapshot(out) == before
    with pytest.raises(UsageError, match="is not a dataset"):
        build_shards(failing, out.with_name("nowhere"), options, report=SilentReporter())
    for given_too in ({"prune": True}, {"whole": True}):
        with pytest.raises(UsageError, match="only_failed"):
            BuildOptions(only_failed=True, **given_too)  # type: ignore[arg-type]


def test_events_tell_of_no_failure_but_those_of_the_retry(failing: Path, out: Path) -> None:
    fail(failing / "dogs" / "no\nname.png")
    assert prep("build-shards", failing, out).code == 1
    fail(failing / "dogs" / "new\nname.png")
    outcome = prep("retry", out, "--progress", "json", "--json")
    told = [event["source"] for event in map(json.loads, outcome.err.splitlines()) if event["event"] == "failure"]
    assert sorted(told) == ["cats/one.png", r"dogs/no\nname.png", "dogs/two.png"]
    assert sorted(told) == [failure["source"] for failure in outcome.json["failures"]]


@settings(max_examples=40)
@given(STATES, STATES)
def test_each_item_that_failed_is_counted_once_and_no_other_is(first: dict[str, str], then: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        raw, out = Path(folder, "raw"), Path(folder, "out")
        raw.mkdir()
        write_array(raw / "always.npy", [5.0, 1.0])
        set_age(raw / "always.npy", 10)
        lay_out(raw, first)
        build_shards(raw, out, BuildOptions(workers=1), report=SilentReporter())
        rows = load_manifest(out).frame.set_index("id")
        lay_out(raw, then)
        tried = {name for name in NAMES if first[name] == "bad" and then[name] != "absent"}
        summary = build_shards(raw, out, BuildOptions(workers=1, only_failed=True), report=SilentReporter())
        bad = {name for name in tried if then[name] == "bad"}
        assert (summary.found, summary.added, summary.failed) == (len(tried), len(tried - bad), len(bad))
        now = load_manifest(out).frame.set_index("id")
        assert set(now.index) == {*rows.index, *(tried - bad)}
        assert now.loc[rows.index].to_dict("index") == rows.to_dict("index")
        assert failures_of(out).keys() == bad
