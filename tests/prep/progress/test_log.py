from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from manifests.format.schema import STATE_FOLDER
from prep.progress.log import KEPT_LOGS, LoggedReporter
from prep.progress.report import SilentReporter
from prep.sources.listing import Failure


class Calendar:
    """A second later each time it is asked."""

    def __init__(self) -> None:
        self._now = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)

    def __call__(self) -> datetime:
        now = self._now
        self._now += timedelta(seconds=1)
        return now


def test_all_that_is_told_is_written_also_what_came_before_there_was_a_place(tmp_path: Path) -> None:
    report = LoggedReporter(SilentReporter(), now=Calendar())
    report.note("early\nnote")
    with report.opened(tmp_path / STATE_FOLDER):
        report.failed(Failure(id="a", source="a.png", stage="read", error="is empty", type="OSError"))
        with report.progress(1200, "build") as advance:
            advance(1)
        report.log("done")
    [log] = (tmp_path / STATE_FOLDER / "logs").iterdir()
    assert log.name == "20300102T030406.000000Z.log"
    assert log.read_text() == (
        "2030-01-02T03:04:05Z early\\nnote\n"
        "2030-01-02T03:04:07Z failed: a.png: read: OSError: is empty\n"
        "2030-01-02T03:04:08Z build: 1,200 items\n"
        "2030-01-02T03:04:09Z done\n"
    )


@pytest.mark.parametrize(("error", "said"), [(KeyboardInterrupt(), "KeyboardInterrupt"), (ValueError("why"), "ValueError: why")])
def test_how_it_ended_is_its_last_line(error: BaseException, said: str, tmp_path: Path) -> None:
    report = LoggedReporter(SilentReporter())
    with pytest.raises(type(error)), report.opened(tmp_path / STATE_FOLDER):
        raise error
    [log] = (tmp_path / STATE_FOLDER / "logs").iterdir()
    assert log.read_text().endswith(f"Z ended by {said}\n")


def test_so_many_logs_are_kept(tmp_path: Path) -> None:
    now = Calendar()
    for _ in range(KEPT_LOGS + 5):
        with LoggedReporter(SilentReporter(), now=now).opened(tmp_path / STATE_FOLDER):
            pass
    names = sorted(path.name for path in (tmp_path / STATE_FOLDER / "logs").iterdir())
    assert len(names) == KEPT_LOGS
    assert names[0] == "20300102T030410.000000Z.log"


@pytest.mark.parametrize("blocked", ["logs", "."])
def test_a_folder_that_cannot_be_written_is_no_error(blocked: str, tmp_path: Path) -> None:
    state = tmp_path / STATE_FOLDER
    if blocked == ".":
        state.write_text("")
    else:
        state.mkdir()
        (state / blocked).write_text("")
    with (report := LoggedReporter(SilentReporter())).opened(state):
        report.note("x")
    report.note("after the end")


@pytest.mark.parametrize("link", ["logs", "."])
def test_a_link_is_not_followed(link: str, tmp_path: Path) -> None:
    """It would lead to logs of somebody else's, of which the oldest would go."""
    others = tmp_path / "others" / "logs"
    others.mkdir(parents=True)
    for number in range(KEPT_LOGS + 5):
        (others / f"20200102T03{number:02d}06.000000Z.log").write_text("theirs")
    state = tmp_path / STATE_FOLDER
    if link == ".":
        state.symlink_to(others.parent)
    else:
        state.mkdir()
        (state / "logs").symlink_to(others)
    with (report := LoggedReporter(SilentReporter())).opened(state):
        report.note("x")
    assert [path.read_text() for path in others.iterdir()] == ["theirs"] * (KEPT_LOGS + 5)


def test_files_of_other_names_stay(tmp_path: Path) -> None:
    folder = tmp_path / STATE_FOLDER / "logs"
    folder.mkdir(parents=True)
    names = {f"training-{number:02d}.log" for number in range(KEPT_LOGS + 5)}
    for name in names:
        (folder / name).touch()
    with LoggedReporter(SilentReporter(), now=Calendar()).opened(folder.parent):
        pass
    assert names < {path.name for path in folder.iterdir()}
