"""The same bytes under two labels: what a build, a plan and `prep verify` say after a file was moved to another class folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import build, prep, set_age, snapshot, write_array, write_image

from manifests import load_manifest

MOVED = "1 item that is gone from the source has the same bytes as an item under another label: 'cats/001' (cats) -> 'dogs/001' (dogs)"
PAIR = {"gone": "cats/001", "gone_label": "cats", "id": "dogs/001", "label": "dogs", "by": "bytes"}


@pytest.fixture
def moved(raw: Path, out: Path) -> Path:
    """A source whose cat 001 turned out to be a dog after the build."""
    for number in range(4):
        set_age(write_image(raw / "cats" / f"{number:03d}.png", seed=number), 1_000 + number)
        set_age(write_image(raw / "dogs" / f"{number:03d}.bmp", seed=100 + number), 2_000 + number)
    (raw / "dogs" / "001.bmp").unlink()
    build(raw, out, "--split", "train=0.5,val=0.5")
    (raw / "cats" / "001.png").rename(raw / "dogs" / "001.png")
    return raw


def test_a_plan_says_what_moves_under_another_label(moved: Path, out: Path) -> None:
    before = snapshot(out)
    outcome = prep("plan", moved, out, "--json")
    assert outcome.json["relabelled"] == [{**PAIR, "by": "size and time"}]
    assert "has the same bytes, or size and time, as an item under another label: 'cats/001' (cats) -> 'dogs/001' (dogs)" in outcome.err
    assert snapshot(out) == before


@pytest.mark.parametrize("flags", [(), ("--checksum",)])
def test_a_build_says_what_moved_under_another_label_until_the_old_row_is_gone(flags: tuple[str, ...], moved: Path, out: Path) -> None:
    for _ in range(2):  # the second has nothing to do
        outcome = build(moved, out, *flags, "--json")
        assert outcome.json["relabelled"] == [PAIR]
        assert f"warning: {MOVED}" in outcome.err
        assert "the old row stays, so the dataset has it under both labels; pass --prune to remove it" in outcome.err
    assert "1 gone but kept (1 of which under another label too)" in build(moved, out, *flags).out
    assert MOVED in prep("plan", moved, out, *flags).err
    assert prep("plan", moved, out, *flags, "--json").json["relabelled"] == [PAIR]
    pruned = build(moved, out, "--prune", "--json")
    assert pruned.json["relabelled"] == []
    assert "warning" not in pruned.err
    assert "cats/001" not in load_manifest(out).ids
    assert prep("verify", out).code == 0


def test_it_is_an_event_for_a_program_that_watches(moved: Path, out: Path) -> None:
    events = [json.loads(line) for line in build(moved, out, "--progress", "json").err.splitlines()]
    assert [event["event"] for event in events if MOVED in event.get("text", "")] == ["note"]


def test_a_content_that_the_plan_knows_is_told_as_such(raw: Path, out: Path) -> None:
    write_image(raw / "cats" / "001.png", seed=1)
    write_image(raw / "dogs" / "000.png", seed=2)
    build(raw, out, "--checksum")
    (raw / "cats" / "001.png").rename(raw / "dogs" / "001.png")
    assert prep("plan", raw, out, "--checksum", "--json").json["relabelled"] == [PAIR]


def test_a_move_within_a_label_a_new_file_and_one_that_is_only_gone_are_no_news(moved: Path, out: Path) -> None:
    (moved / "dogs" / "001.png").rename(moved / "cats" / "renamed.png")
    write_image(moved / "dogs" / "new.png", seed=500)
    (moved / "dogs" / "000.bmp").unlink()
    assert prep("plan", moved, out, "--json").json["relabelled"] == []
    outcome = build(moved, out, "--json")
    assert (outcome.json["gone"], outcome.json["relabelled"]) == (2, [])
    assert "warning" not in outcome.err


def test_the_first_ten_are_named_and_all_are_counted(raw: Path, out: Path) -> None:
    for number in range(12):
        write_image(raw / "cats" / f"{number:03d}.png", seed=number)
    write_image(raw / "dogs" / "x.png", seed=99)
    build(raw, out)
    for number in range(12):
        (raw / "cats" / f"{number:03d}.png").rename(raw / "dogs" / f"{number:03d}.png")
    outcome = build(raw, out, "--json")
    assert len(outcome.json["relabelled"]) == 12
    assert "warning: 12 items that are gone" in outcome.err
    assert "'cats/009' (cats) -> 'dogs/009' (dogs) and 2 more; the old rows stay" in outcome.err


def test_of_items_of_several_samples_all_samples_count(raw: Path, out: Path, tmp_path: Path) -> None:
    """One image is moved as a whole; another is gone, and has but its plain tile in common with one of another class."""
    (tmp_path / "recipe.toml").write_text("[[transforms]]\nname = 'tile'\nsize = [2]\n")
    plain = np.zeros(2)
    write_array(raw / "cats" / "moved.npy", [*plain, 1.0, 2.0])
    write_array(raw / "cats" / "gone.npy", [*plain, 3.0, 4.0])
    write_array(raw / "dogs" / "stays.npy", [*plain, 5.0, 6.0])
    build(raw, out, "--recipe", tmp_path / "recipe.toml")
    assert prep("verify", out, "--json").json["contradictions"] == []
    (raw / "cats" / "moved.npy").rename(raw / "dogs" / "moved.npy")
    (raw / "cats" / "gone.npy").unlink()
    expected = [{"gone": "cats/moved", "gone_label": "cats", "id": "dogs/moved", "label": "dogs"}]
    planned = prep("plan", raw, out, "--json").json["relabelled"]
    assert planned == [{**expected[0], "by": "size and time"}]
    assert build(raw, out, "--json").json["relabelled"] == [{**expected[0], "by": "bytes"}]


def test_verify_tells_the_same_bytes_under_two_labels_and_leaks_counts_them(moved: Path, out: Path) -> None:
    build(moved, out)
    told = prep("verify", out, "--quick", "--json")
    assert told.code == 0
    assert "labels: 1 ID has the same bytes as an ID with another label: 'dogs/001'; --leaks lists them" in told.err
    (finding,) = told.json["contradictions"]
    assert (finding["kind"], finding["id"], finding["path"]) == ("label", "dogs/001", "shards/dogs/001.npy")
    assert "has the bytes of ID 'cats/001', which has the label 'cats', and the label 'dogs' itself" in finding["message"]
    counted = prep("verify", out, "--leaks", "--no-near", "--json")
    assert (counted.code, counted.json["findings"]) == (1, [finding])
    assert "labels:" not in counted.err


def test_the_same_bytes_under_one_label_or_with_measurements_are_no_contradiction(raw: Path, out: Path) -> None:
    for name in "abc":
        write_array(raw / f"{name}.npy", [1.0])
    labels = raw.parent / "labels.csv"
    for number, values in enumerate(("0.25,0.5,0.25", "x,x,x")):
        labels.write_text("id,label\n" + "".join(f"{id_},{value}\n" for id_, value in zip("abc", values.split(","), strict=True)))
        shutil.rmtree(out, ignore_errors=True)
        build(raw, out, "--labels", labels)
        assert prep("verify", out, "--json").json["contradictions"] == [], number
