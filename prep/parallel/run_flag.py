"""A run's flag: a file that is there while the run goes on, so that work of it ends soon wherever it is, and late work does not begin."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

FLAG_NAME = "running"

_LOOK_SECONDS = 0.25
"""Between two looks at a flag: each may be a question to another machine."""


@dataclass(frozen=True)
class RunFlag:
    """The flag of one run.

    Attributes:
        path: of the file, on a disk that all workers share.
        token: what is in it; no other run has the same.
    """

    path: Path
    token: str

    @classmethod
    def put_up(cls, folder: Path) -> RunFlag:
        """Begin a run whose flag lies in a folder.

        Raises:
            OSError: the folder cannot be written.
        """
        flag = cls(folder.absolute() / FLAG_NAME, secrets.token_hex(16))
        flag.path.write_text(flag.token, encoding="ascii")
        return flag

    def take_down(self) -> None:
        """Tell all who work for the run to stop."""
        self.path.unlink(missing_ok=True)

    def is_up(self) -> bool:
        """Return whether the run goes on, as far as this process can see; a network file system asks its server when a file is opened."""
        try:
            return self.path.read_text(encoding="ascii") == self.token
        except (OSError, ValueError):
            return False


class Heed:
    """What this thread knows of the flag of the run that it works for."""

    def __init__(self, flag: RunFlag) -> None:
        self.is_down = not flag.is_up()
        self._flag = flag
        self._looked = time.monotonic()

    def look(self) -> bool:
        """Return whether the flag is down; it never goes up again."""
        if not self.is_down and time.monotonic() >= self._looked + _LOOK_SECONDS:
            self.is_down = not self._flag.is_up()
            self._looked = time.monotonic()
        return self.is_down


class _Current(threading.local):
    heed: Heed | None = None


_current = _Current()


@contextmanager
def heeding(flag: RunFlag) -> Iterator[Heed]:
    """Let `is_called_off`, asked by this thread within the block, say whether a flag is down."""
    before, _current.heed = _current.heed, Heed(flag)
    try:
        yield _current.heed
    finally:
        _current.heed = before


def is_called_off() -> bool:
    """Return whether what this thread does is for a run that is over."""
    return _current.heed is not None and _current.heed.look()
