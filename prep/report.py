"""Telling the user what was detected and how far a command is: always on stderr, never on stdout."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from tqdm.auto import tqdm

from prep.text import printable


class Reporter(Protocol):
    """Where notes and progress go."""

    def note(self, text: str) -> None:
        """Tell one thing, in one line."""

    def progress(self, total: int, what: str) -> AbstractContextManager[Callable[[int], object]]:
        """Show that `total` items are under way; the block gets a function to call with the number just done."""


class StderrReporter:
    """Notes as lines and progress as a bar on stderr; no bar when stderr is no terminal."""

    def note(self, text: str) -> None:
        """Write a line."""
        print(printable(text), file=sys.stderr)  # noqa: T201  # this is where notes are printed

    @contextmanager
    def progress(self, total: int, what: str) -> Iterator[Callable[[int], object]]:
        """Show a bar."""
        with tqdm(total=total, desc=what, unit="item", file=sys.stderr, disable=None, leave=False, dynamic_ncols=True) as bar:
            yield bar.update


class SilentReporter:
    """Tells nothing."""

    def note(self, text: str) -> None:
        """Drop a line."""

    @contextmanager
    def progress(self, total: int, what: str) -> Iterator[Callable[[int], object]]:  # noqa: ARG002  # the protocol's
        """Show nothing."""
        yield lambda _: None
