"""Links and pipes that a stranger has put into a dataset: nothing behind them is read, changed or deleted, and nothing waits for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from command_line import build, check_leaves_no_trace, check_refused, prep, snapshot, write_image

from manifests import load_manifest


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A folder of the user's outside the dataset."""
    folder = tmp_path / "theirs"
    (folder / "logs").mkdir(parents=True)
    for number in range(30):
        (folder / f"run-{number:02d}.log").write_text(f"log {number}")
        (folder / f"20200102T03{number:02d}06.000000Z.log").write_text(f"log {number}")
    return folder


def test_a_link_in_the_place_of_the_logs_costs_no_file_behind_it(raw: Path, existing: Path, theirs: Path) -> None:
    before = snapshot(theirs)
    logs = existing / ".prep" / "logs"
    logs.rename(existing.parent / "old-logs")
    logs.symlink_to(theirs)
    write_image(existing.parent / "good" / "cats" / "new.png", seed=7)
    build(existing.parent / "good", existing)
    assert snapshot(theirs) == before


@pytest.mark.parametrize("target", ["folder", "nothing"])
def test_a_link_in_the_place_of_the_state_is_refused(target: str, pets: Path, out: Path, theirs: Path) -> None:
    before = snapshot(theirs)
    out.mkdir()
    (out / ".prep").symlink_to(theirs if target == "folder" else theirs / "missing")
    check_refused(prep("build-shards", pets, out), 1, str(out / ".prep"), "is a link")
    assert snapshot(theirs) == before


@pytest.mark.parametrize("name", ["state.arrow", "moments.arrow"])
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_link_or_a_pipe_in_the_place_of_a_file_of_the_state(kind: str, name: str, existing: Path, theirs: Path) -> None:
    """It is not read, and nobody waits for it; the next build writes the file anew."""
    good, path = existing.parent / "good", existing / ".prep" / name
    path.rename(theirs / name)
    if kind == "link":
        path.symlink_to(theirs / name)
    else:
        os.mkfifo(path)
    before = snapshot(theirs)
    assert prep("plan", good, existing).code == 0
    write_image(good / "cats" / "new.png", seed=7)
    build(good, existing)
    assert snapshot(theirs) == before
    assert path.is_file()
    assert not path.is_symlink()
    build(good, existing.parent / "fresh", "--split", "train=0.5,val=0.5")
    assert {*load_manifest(existing).ids} == {*load_manifest(existing.parent / "fresh").ids}


@pytest.mark.parametrize("folder", ["shards", "shards/cats"])
@pytest.mark.parametrize("fresh", [True, False])
def test_a_folder_of_shards_that_leads_out_is_refused_before_any_work(
    fresh: bool, folder: str, pets: Path, out: Path, theirs: Path
) -> None:
    """It was found once the new state held and could not be put in place: from then on nobody could open the dataset."""
    if not fresh:
        build(pets, out)
        (out / folder).rename(out.parent / "moved")
        write_image(pets / "cats" / "new.png", seed=7)
    (out / folder).parent.mkdir(parents=True, exist_ok=True)
    (theirs / "empty").mkdir()
    (out / folder).symlink_to(theirs / "empty")
    before = snapshot(theirs)
    outcome = prep("build-shards", pets, out, "--workers", "1")
    check_refused(outcome, 1, str(out / folder), "through a link")
    assert "kept: the same command" not in outcome.err
    assert snapshot(theirs) == before
    check_leaves_no_trace(out)
    (out / folder).unlink()
    if not fresh:
        (out.parent / "moved").rename(out / folder)
    build(pets, out)
    assert len(load_manifest(out)) == 8 + (not fresh)
