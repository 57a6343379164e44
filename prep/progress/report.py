"""Reporters: notes, failures and a progress bar on stderr, never on stdout."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TextIO

from manifests.text import terminal_text
from prep.sources.listing import Failure

if TYPE_CHECKING:
    from tqdm import tqdm

Advance = Callable[..., object]
"""Called with how many items are done since the last call and, if any, how many of them failed."""

PLAIN_SECONDS = 30.0
"""Between two lines of progress where there is no terminal."""


def write_stderr(line: str) -> None:
    """Write a line to stderr, which may be closed or on a full disk: that nobody can read it is no reason to end a build."""
    stream = sys.stderr
    with suppress(OSError, ValueError, AttributeError):  # AttributeError: it was closed before Python started, and is None
        try:
            stream.write(f"{line}\n")
            stream.flush()
        except OSError:
            _drop_unwritten(stream)


def _drop_unwritten(stream: TextIO) -> None:
    """Let go of what a stream cannot write: else whoever flushes it next fails, Python itself at its end."""
    descriptor = stream.fileno()
    kept, nowhere = os.dup(descriptor), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, descriptor)
        stream.flush()
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)
        os.close(nowhere)


class Reporter(Protocol):
    """Where notes, failures and progress go."""

    def note(self, text: str) -> None:
        """Tell one thing, in one line."""

    def failed(self, failure: Failure) -> None:
        """Tell of one raw item that failed, as it happens; all of them are in the summary too."""

    def progress(self, total: int, what: str) -> AbstractContextManager[Advance]:
        """Show that `total` items are under way; the block gets a function to call with the numbers just done and failed."""


class StderrReporter:
    """Notes as lines on stderr, and progress as a bar; as a line now and then when stderr is no terminal and this no notebook.

    Of nothing to do there is no bar.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, bar: bool | None = None) -> None:
        """Choose how to show progress.

        Args:
            clock: seconds, from any start.
            bar: whether to show a bar; None finds out.
        """
        self._clock = clock
        self._bar = bar

    def note(self, text: str) -> None:
        """Write a line, above the bar if there is one."""
        bars = sys.modules.get("tqdm.std")  # where nobody has made a bar, there is none
        with nullcontext() if bars is None else bars.tqdm.external_write_mode(file=sys.stderr):
            write_stderr(terminal_text(text))

    def failed(self, failure: Failure) -> None:
        """Say nothing: the bar counts failures, and the command lists them at its end."""

    @contextmanager
    def progress(self, total: int, what: str) -> Iterator[Advance]:
        """Show a bar with rate, time left and failures, or a line now and then that says the same."""
        shell = _notebook_shell()
        is_terminal = sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()
        if not (shell is not None or is_terminal if self._bar is None else self._bar):
            yield PlainProgress(total, what, self.note, self._clock)
            return
        if not total:
            yield lambda *_: None
            return
        failed = 0
        with _bar(total, what, shell) as bar:

            def advance(count: int, failures: int = 0, /) -> None:
                nonlocal failed
                failed += failures
                if failures:
                    bar.set_postfix({"failed": failed}, refresh=False)
                bar.update(count)

            yield advance


class Pace:
    """How fast items are done.

    Attributes:
        done: items.
        failed: of them.
    """

    def __init__(self, total: int, clock: Callable[[], float]) -> None:
        """Start the clock."""
        self.total = total
        self.done = 0
        self.failed = 0
        self._clock = clock
        self._begun = clock()

    def add(self, count: int, failures: int) -> float:
        """Count items that are done; return the time."""
        self.done += count
        self.failed += failures
        return self._clock()

    def rate(self) -> float:
        """Return items per second since the start; 0 if no time has gone by."""
        elapsed = self._clock() - self._begun
        return self.done / elapsed if elapsed > 0 else 0.0

    def seconds_left(self) -> float | None:
        """Return how long the rest takes at the pace so far; None if there is no pace yet."""
        rate = self.rate()
        return (self.total - self.done) / rate if rate else None


class PlainProgress:
    """Progress in lines without control characters, for a log file: one every `PLAIN_SECONDS`, none for what is soon done."""

    def __init__(self, total: int, what: str, write: Callable[[str], object], clock: Callable[[], float]) -> None:
        """Start the clock."""
        self._what = what
        self._write = write
        self._pace = Pace(total, clock)
        self._next = clock() + PLAIN_SECONDS

    def __call__(self, count: int, failures: int = 0, /) -> None:
        """Count items that are done, and write a line if it is time."""
        pace = self._pace
        now = pace.add(count, failures)
        if now < self._next:
            return
        self._next = now + PLAIN_SECONDS
        left = pace.seconds_left()
        share = f" ({pace.done / pace.total:.0%})" if pace.total else ""
        text = f"{self._what}: {pace.done:,} of {pace.total:,} items{share}, {pace.rate():,.1f}/s, {pace.failed:,} failed"
        self._write(text if left is None else f"{text}, {timedelta(seconds=round(left))} left")


class SilentReporter:
    """Tells nothing."""

    def note(self, text: str) -> None:
        """Drop a line."""

    def failed(self, failure: Failure) -> None:
        """Drop a failure."""

    @contextmanager
    def progress(self, total: int, what: str) -> Iterator[Advance]:  # noqa: ARG002  # the protocol's
        """Show nothing."""
        yield lambda *_: None


def _bar(total: int, what: str, shell: Any) -> tqdm[NoReturn]:
    """Return a bar, in a notebook if there is its shell, else on stderr. Both are slow to import, and a log file does without."""
    if shell is not None:
        from prep.progress.notebook_bar import NotebookBar  # noqa: PLC0415

        return NotebookBar(shell, total=total, desc=what, unit="item")
    # Not tqdm.auto, which warns in a notebook's kernel that has no widgets.
    from tqdm import tqdm  # noqa: PLC0415

    return tqdm(total=total, desc=what, unit="item", file=sys.stderr, leave=False, dynamic_ncols=True)


def _notebook_shell() -> Any:
    """Return IPython's shell if this is the kernel of a notebook, whose stderr is no terminal; else None."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell if hasattr(shell, "kernel") else None
