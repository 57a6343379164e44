from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from prep.progress.events import JsonReporter
from prep.progress.report import StderrReporter
from prep.sources.listing import Failure

FAILURE = Failure(id="a", source="a.png", stage="read", error="is empty", type="ItemError")


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", captured.err)
    return captured.err.splitlines()


def test_without_a_terminal_a_line_comes_every_30_seconds(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with StderrReporter(clock=clock).progress(1000, "build") as advance:
        for _ in range(7):
            clock.now += 10
            advance(100, 1)
    assert lines_of(capsys) == [
        "build: 300 of 1,000 items (30%), 10.0/s, 3 failed, 0:01:10 left",
        "build: 600 of 1,000 items (60%), 10.0/s, 6 failed, 0:00:40 left",
    ]


def test_what_is_soon_done_says_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with StderrReporter(clock=clock).progress(1000, "build") as advance:
        clock.now += 29.9
        advance(1000)
    assert lines_of(capsys) == []


@pytest.mark.parametrize("total", [0, 5])
def test_no_pace_is_no_error(total: int, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with StderrReporter(clock=clock).progress(total, "build") as advance:
        clock.now += 60
        advance(0)
    [line] = lines_of(capsys)
    assert "0.0/s" in line
    assert "left" not in line


def test_the_bar_counts_items_and_failures(capsys: pytest.CaptureFixture[str]) -> None:
    with StderrReporter(bar=True).progress(8, "build") as advance:
        advance(3)
        advance(3, 2)
    err = capsys.readouterr().err
    assert "build" in err
    assert "6/8" in err or "0/8" in err  # a bar is drawn at its start, and then not too often
    assert "\r" in err


def test_a_note_is_a_line_of_its_own_beside_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = StderrReporter(bar=True)
    with reporter.progress(8, "build") as advance:
        advance(3)
        reporter.note("a \x1b note")
    assert "\ra \\x1b note\n" in capsys.readouterr().err.replace("\r ", "\r").replace(" \r", "\r")


@pytest.mark.parametrize("tell", [lambda reporter: reporter.note("x"), lambda reporter: reporter.failed(FAILURE)])
def test_events_are_json(tell: Callable[[JsonReporter], Any], capsys: pytest.CaptureFixture[str]) -> None:
    tell(JsonReporter())
    [line] = lines_of(capsys)
    assert json.loads(line) in (
        {"event": "note", "text": "x"},
        {"event": "failure", "id": "a", "source": "a.png", "stage": "read", "type": "ItemError", "error": "is empty"},
    )


def test_progress_events_come_each_second_and_at_both_ends(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with JsonReporter(clock=clock).progress(10, "build") as advance:
        for _ in range(5):
            clock.now += 0.5
            advance(2, 1)
    events = [json.loads(line) for line in lines_of(capsys)]
    assert [(event["done"], event["failed"]) for event in events] == [(0, 0), (4, 2), (8, 4), (10, 5)]
    assert events[1] == {
        "event": "progress",
        "what": "build",
        "done": 4,
        "total": 10,
        "failed": 2,
        "items_per_second": 4.0,
        "seconds_left": 1.5,
    }


def test_the_last_event_comes_in_spite_of_an_error(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        with JsonReporter(clock=clock).progress(10, "build") as advance:
            advance(7)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert [json.loads(line)["done"] for line in lines_of(capsys)] == [0, 7]
