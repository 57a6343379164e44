"""Notes, failures and progress as JSON lines on stderr, for a program that watches a build."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from prep.progress.report import Advance, Pace, write_stderr
from prep.sources.listing import Failure

EVENT_SECONDS = 1.0
"""Between two events of progress; the first and the last always come."""


class JsonReporter:
    """One JSON object a line, each with `event`: `note`, `failure` or `progress`."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Take a clock: seconds, from any start."""
        self._clock = clock

    def note(self, text: str) -> None:
        """Write a `note` with its `text`."""
        _write({"event": "note", "text": text})

    def failed(self, failure: Failure) -> None:
        """Write a `failure` with the columns of failures.csv."""
        _write({"event": "failure", **asdict(failure)})

    @contextmanager
    def progress(self, total: int, what: str) -> Iterator[Advance]:
        """Write `progress` with `what`, `done`, `total`, `failed`, `items_per_second` and `seconds_left`, each second at most."""
        pace = Pace(total, self._clock)
        due = self._clock() + EVENT_SECONDS

        def write() -> None:
            left = pace.seconds_left()
            _write(
                {
                    "event": "progress",
                    "what": what,
                    "done": pace.done,
                    "total": total,
                    "failed": pace.failed,
                    "items_per_second": round(pace.rate(), 3),
                    "seconds_left": None if left is None else round(left, 1),
                }
            )

        def advance(count: int, failures: int = 0, /) -> None:
            nonlocal due
            now = pace.add(count, failures)
            if now >= due:
                due = now + EVENT_SECONDS
                write()

        write()
        try:
            yield advance
        finally:
            write()


def _write(event: dict[str, Any]) -> None:
    write_stderr(json.dumps(event, ensure_ascii=True))
