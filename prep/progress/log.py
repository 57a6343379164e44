"""The log of a build, kept below the dataset's `.prep/logs/`; it never makes a build fail."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from manifests.files.regularfile import open_state_file, opened_folder
from manifests.text import terminal_text
from prep.progress.report import Advance, Reporter
from prep.sources.listing import Failure

LOG_FOLDER = "logs"

KEPT_LOGS = 20
"""Logs of so many builds are kept; older ones go."""


_NAME = re.compile(r"\d{8}T\d{6}\.\d{6}Z\.log")


def _utc_now() -> datetime:
    return datetime.now(UTC)


class LoggedReporter:
    """A reporter that writes all that it passes on to a log too; what is said before the log has a place is not lost."""

    def __init__(self, inner: Reporter, *, now: Callable[[], datetime] = _utc_now) -> None:
        """Wrap a reporter."""
        self._inner = inner
        self._now = now
        self._waiting: list[str] = []
        self._file: IO[str] | None = None

    @contextlib.contextmanager
    def opened(self, state_folder: Path) -> Iterator[None]:
        """Write to a new log below a folder while the block runs; how the block ended is its last line."""
        with contextlib.suppress(OSError):
            self._file = _new_log(state_folder / LOG_FOLDER, self._now())
        for line in self._waiting:
            self._append(line)
        self._waiting.clear()
        try:
            yield
        except BaseException as error:
            self.log(f"ended by {type(error).__name__}: {error}".rstrip(": "))
            raise
        finally:
            if self._file is not None:
                with contextlib.suppress(OSError):
                    self._file.close()

    def log(self, text: str) -> None:
        """Write a line to the log alone."""
        line = f"{self._now():%Y-%m-%dT%H:%M:%SZ} {terminal_text(text)}\n"
        if self._file is None:
            self._waiting.append(line)
        else:
            self._append(line)

    def note(self, text: str) -> None:
        """Tell and write a line."""
        self.log(text)
        self._inner.note(text)

    def failed(self, failure: Failure) -> None:
        """Tell and write a failure."""
        self.log(f"failed: {failure.source}: {failure.stage}: {failure.type}: {failure.error}")
        self._inner.failed(failure)

    def progress(self, total: int, what: str) -> AbstractContextManager[Advance]:
        """Show progress, and write that it begins."""
        self.log(f"{what}: {total:,} items")
        return self._inner.progress(total, what)

    def _append(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            if self._file is not None:
                self._file.write(line)
                self._file.flush()


def _new_log(folder: Path, now: datetime) -> IO[str]:
    """Open a log named by the time, and remove those too many."""
    with opened_folder(folder, make=True) as descriptor:
        listed = os.open(os.curdir, os.O_RDONLY | os.O_DIRECTORY, dir_fd=descriptor)
        try:
            old = sorted(name for name in os.listdir(listed) if _NAME.fullmatch(name))
        finally:
            os.close(listed)
        for name in old[: max(0, len(old) - KEPT_LOGS + 1)]:
            os.unlink(name, dir_fd=descriptor)
    # Two builds within a microsecond of each other share a log.
    path = folder / f"{now:%Y%m%dT%H%M%S.%fZ}.log"
    return open(path, "a", encoding="utf-8", errors="backslashreplace", opener=open_state_file)
