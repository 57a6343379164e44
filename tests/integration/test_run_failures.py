"""Bad items among good ones: the good ones are built, the bad ones are written down, and the numbers add up."""

from __future__ import annotations

import csv
import errno
import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Outcome, build, check_leaves_no_trace, check_refused, prep, set_age, snapshot, write_array, write_image, write_pets

from manifests import load_manifest


def failures_of(out: Path) -> list[dict[str, str]]:
    with open(out / "failures.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def check_adds_up(summary: dict[str, Any]) -> None:
    assert summary["found"] == summary["added"] + summary["rebuilt"] + summary["kept"] + summary["failed"]
    assert summary["failed"] == len(summary["failures"])


def build_json(*arguments: str | Path) -> Outcome:
    outcome = prep("build-shards", *arguments, "--workers", "1", "--json")
    check_adds_up(outcome.json)
    return outcome


def test_one_bad_image_does_not_end_the_build(pets: Path, out: Path) -> None:
    (pets / "cats" / "bad.png").write_bytes(b"")
    outcome = build_json(pets, out)
    check_refused(outcome, 1, "failed: cats/bad.png: read: is empty (0 bytes)")
    assert "dropped" not in outcome.err
    assert outcome.json | {"failures": []} == {
        "out": str(out),
        "found": 9,
        "added": 8,
        "rebuilt": 0,
        "moved": 0,
        "kept": 0,
        "failed": 1,
        "gone": 0,
        "removed": 0,
        "failures": [],
        "relabelled": [],
    }
    assert failures_of(out) == [
        {"id": "cats/bad", "source": "cats/bad.png", "stage": "read", "type": "ItemError", "error": "is empty (0 bytes)"}
    ]
    assert len(load_manifest(out)) == 8
    assert prep("verify", out).code == 0
    assert "read 1" in prep("inspect", out).out


@pytest.mark.parametrize(("allowed", "code"), [(0, 1), (1, 1), (2, 0), (3, 0)])
def test_max_failures_decides_the_exit_code_and_nothing_else(allowed: int, code: int, pets: Path, out: Path) -> None:
    (pets / "cats" / "bad.png").write_bytes(b"")
    (pets / "dogs" / "bad.jpg").write_bytes(b"hello")
    outcome = prep("build-shards", pets, out, "--max-failures", str(allowed))
    assert outcome.code == code
    assert len(load_manifest(out)) == 8
    assert [row["source"] for row in failures_of(out)] == ["cats/bad.png", "dogs/bad.jpg"]
    assert "8 added" in outcome.out
    assert "2 failed" in outcome.out


def test_every_failure_has_its_stage(raw: Path, out: Path) -> None:
    write_array(raw / "x" / "good.npy", np.ones(3))
    write_array(raw / "x" / "huge.npy", np.full(3, 1e30))
    (raw / "x" / "torn.npy").write_bytes(b"\x93NUMPY")
    (raw / "labels.csv").write_text("id,label\nx/good,1\nx/huge,1\nx/torn,1\nx/lost,1\n")
    outcome = build_json(raw / "labels.csv", out, "--dtype", "uint8")
    assert outcome.code == 1
    assert {row["id"]: row["stage"] for row in failures_of(out)} == {"x/huge": "transform", "x/lost": "find", "x/torn": "read"}
    reasons = {row["id"]: row["error"] for row in failures_of(out)}
    assert "1e+30 does not fit uint8" in reasons["x/huge"]
    assert "no file 'x/lost'" in reasons["x/lost"]


def test_a_truncated_image_fails_alone_with_any_number_of_workers(pets: Path, out: Path) -> None:
    path = write_image(pets / "cats" / "half.png", shape=(64, 64, 3))
    path.write_bytes(path.read_bytes()[:2000])
    for workers in ("1", "2"):
        outcome = prep("build-shards", pets, out, "--workers", workers)
        check_refused(outcome, 1, "failed: cats/half.png: read: cannot be decoded", "truncated")
        assert [row["id"] for row in failures_of(out)] == ["cats/half"]


def test_a_file_that_a_table_names_twice_over_is_not_guessed(raw: Path, out: Path) -> None:
    for folder in ("one", "two"):
        write_image(raw / folder / "a.png")
    write_image(raw / "one" / "b.png")
    (raw / "train.csv").write_text("image,label\na,x\nb,y\n")
    check_refused(build_json(raw / "train.csv", out), 1, "could be any of 2 files", "one/a.png", "two/a.png")
    assert load_manifest(out).ids == ["b"]


def test_hostile_names_reach_neither_the_terminal_nor_the_csv_raw(pets: Path, out: Path) -> None:
    write_image(pets / "cats" / "\x1b]0;owned\x07.png")
    write_image(pets / "cats" / "two\nlines.png")
    outcome = prep("build-shards", pets, out)
    check_refused(outcome, 1, r"\x1b]0;owned\x07.png", r"two\nlines.png")
    assert [row["id"] for row in failures_of(out)] == ["", ""]
    assert [row["stage"] for row in failures_of(out)] == ["find", "find"]
    assert b"\x1b" not in (out / "failures.csv").read_bytes()


def test_many_failures_are_all_written_but_not_all_told(pets: Path, out: Path) -> None:
    for number in range(30):
        (pets / "cats" / f"bad{number:02d}.png").write_bytes(b"")
    outcome = prep("build-shards", pets, out)
    told = [line for line in outcome.err.splitlines() if line.startswith("failed: ")]
    assert len(told) == 21
    assert "10 more" in told[-1]
    assert str(out / "failures.csv") in told[-1]
    assert len(failures_of(out)) == 30


def test_a_fixed_item_leaves_failures_csv_at_the_next_build(pets: Path, out: Path) -> None:
    for name in ("one", "two"):
        (pets / "cats" / f"{name}.png").write_bytes(b"")
    assert build_json(pets, out).code == 1
    write_image(pets / "cats" / "one.png", seed=5)
    assert build_json(pets, out).json["added"] == 1
    assert [row["id"] for row in failures_of(out)] == ["cats/two"]
    write_image(pets / "cats" / "two.png", seed=6)
    last = build_json(pets, out)
    assert (last.code, last.json["added"], last.json["kept"]) == (0, 1, 9)
    assert not (out / "failures.csv").exists()


def test_an_item_that_has_become_bad_leaves_the_dataset_for_failures_csv(pets: Path, out: Path) -> None:
    assert build_json(pets, out).code == 0
    (pets / "cats" / "000.png").write_bytes(b"")
    outcome = build_json(pets, out)
    assert (outcome.code, outcome.json["kept"], outcome.json["failed"], outcome.json["gone"]) == (1, 7, 1, 0)
    assert "dropped: 1 row whose raw item fails now: 'cats/000'" in outcome.err
    assert "cats/000" not in load_manifest(out).ids
    assert not (out / "shards" / "cats" / "000.npy").exists()
    assert prep("verify", out).code == 0


def test_when_every_item_has_become_bad_the_dataset_stays(pets: Path, out: Path) -> None:
    assert build_json(pets, out).code == 0
    before = snapshot(out)
    for path in pets.rglob("*.*"):
        path.write_bytes(b"")
        set_age(path, 5)
    check_refused(prep("build-shards", pets, out), 1, "none of 8 raw items can be used", "cats/000.png", "dogs/003.bmp", "0 bytes")
    check_refused(prep("build-shards", pets, out, "--prune", "--max-failures", "100"), 1, "none of 8 raw items can be used")
    assert snapshot(out) == before


def test_when_every_value_is_too_great_nothing_is_written(raw: Path, out: Path) -> None:
    write_array(raw / "a.npy", np.full(3, 300))
    check_refused(
        prep("build-shards", raw, out, "--dtype", "uint8"),
        1,
        "none of 1 raw item",
        "a.npy: transform",
        "300 does not fit uint8",
    )
    assert not out.exists()


def test_plan_tells_the_failures_that_it_can_see_and_writes_nothing(tmp_path: Path, out: Path) -> None:
    raw = write_pets(tmp_path / "raw")
    (raw / "cats" / "bad.png").write_bytes(b"")
    outcome = prep("plan", raw, out, "--json")
    assert outcome.code == 0
    assert [failure["source"] for failure in outcome.json["failed"]] == ["cats/bad.png"]
    assert "failed: cats/bad.png" in outcome.err
    assert not out.exists()


def test_an_item_that_failed_for_a_while_comes_back_to_the_split_it_had(raw: Path, out: Path) -> None:
    """Else a sample of the training split could turn up in the test split."""
    for number in range(30):
        write_array(raw / f"{number:02d}.npy", np.full(3, number))
    assert prep("build-shards", raw, out, "--split", "train=0.8,val=0.1,test=0.1").code == 0
    was = load_manifest(out).frame.set_index("id")["split"].to_dict()
    for number in range(0, 30, 3):
        path = raw / f"{number:02d}.npy"
        sound = path.read_bytes()
        path.write_bytes(b"")
        write_array(raw / f"more-{number:02d}.npy", np.full(3, number))
        assert prep("build-shards", raw, out).code == 1
        assert prep("build-shards", raw, out).code == 1
        path.write_bytes(sound)
        assert prep("build-shards", raw, out).code == 0
    now = load_manifest(out).frame.set_index("id")["split"].to_dict()
    assert {id_: now[id_] for id_ in was} == was
    assert "absent" not in (out / "dataset.json").read_text()


OPENERS = {
    "a.png": "prep.readers.images.pixels.open_regular",
    "a.npy": "manifests.format.npyfile.open_regular",
    "a.npz": "prep.readers.arrays.open_regular",
    "by content": "prep.build.scan.headers.open_regular",
}


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO], ids=errno.errorcode.get)
@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("kind", OPENERS)
def test_what_the_system_runs_out_of_is_no_items_fault(
    kind: str, at: int, number: int, raw: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither while headers are read nor while shards are made; but a disk that fails at one file is that file's."""
    for name in ("x", "y"):
        write_image(raw / f"{name}.png") if kind == "a.png" else write_array(raw / f"{name}.npy", [1.0, 2.0])
        if kind == "a.npz":
            np.savez(raw / f"{name}.npz", np.ones(3))
            (raw / f"{name}.npy").unlink()
    sound: Callable[[Path], Any] = importlib.import_module(OPENERS[kind].rpartition(".")[0]).open_regular
    calls = 0

    def open_regular(path: Path) -> Any:
        nonlocal calls
        calls += 1
        if calls >= at:
            raise OSError(number, os.strerror(number), str(path))
        return sound(path)

    flags = ["--checksum"] if kind == "by content" else []
    with monkeypatch.context() as patch:
        patch.setattr(OPENERS[kind], open_regular)
        outcome = prep("build-shards", raw, out, "--workers", "1", "--max-failures", "2", *flags)
    if calls < at:
        assert outcome.code == 0
        return
    if number == errno.EIO:
        assert outcome.code == (0 if (out / "manifest.csv").exists() else 1)
        assert "cannot be" in outcome.err
        return
    check_refused(outcome, 1, os.strerror(number), "not the raw item's fault")
    assert len([line for line in outcome.err.splitlines() if line.startswith(("error: ", "failed: "))]) == 1
    assert not (out / "manifest.csv").exists()
    build(raw, out, *flags)
    assert len(load_manifest(out)) == 2


@pytest.mark.slow
def test_nor_is_it_in_worker_processes(pets: Path, existing: Path, tmp_path: Path) -> None:
    before = snapshot(existing)
    (tmp_path / "short_of_test.py").write_text("import os\n\n\ndef short(image):\n    raise OSError(24, os.strerror(24), 'somewhere')\n")
    (tmp_path / "recipe.toml").write_text("[[transforms]]\nname = 'short_of_test:short'\n")
    outcome = prep("build-shards", pets, existing, "--prune", "--recipe", tmp_path / "recipe.toml", "--workers", "2")
    check_refused(outcome, 1, "Too many open files", "not the raw item's fault", "ulimit -n")
    assert snapshot(existing) == before
    check_leaves_no_trace(existing)


def test_what_is_remembered_of_splits_is_not_taken_for_nothing_when_it_cannot_be_read(
    pets: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the folders that are splits would pass for classes, if the next look at the file goes well."""
    for name in ("train", "val"):
        write_pets(pets / name, per_class=1)
    build(pets, out, "--split-from-folders", "train/val")
    before = snapshot(out)

    def too_many(_: Path) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), "dataset.json")

    with monkeypatch.context() as patch:
        patch.setattr("prep.build.recipe.last_build.read_metadata", too_many)
        check_refused(prep("build-shards", pets, out), 1, "dataset.json: cannot be read: Too many open files")
    assert snapshot(out) == before
    build(pets, out)
    assert snapshot(out) == before
