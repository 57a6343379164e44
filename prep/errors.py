"""The errors of `prep`; catch `PrepError` for all of them.

PrepError
├── UsageError     options or paths that cannot work, whatever the data
├── SourceError    raw data as a whole that cannot be used: nothing found, a table with problems, two files of one ID
├── ConflictError  two datasets that contradict each other, which nothing resolves unasked
├── OutputError    the output folder cannot be written, or another build holds it
├── WorkerError    worker processes die or run out of what the system gives them, whatever item they are at
├── StoppedError   a build ended early, as it was asked to
└── ItemError      one raw item that cannot be used; a build notes it and goes on
    └── StageError  the same, with the stage at which it failed
"""

from __future__ import annotations

from collections.abc import Sequence

from manifests.text import terminal_text

SHOWN_PROBLEMS = 100
"""How many problems a message spells out."""


class PrepError(Exception):
    """Base of every error that `prep` raises on purpose."""


class UsageError(PrepError):
    """Options or paths that cannot work, whatever the data."""


class SourceError(PrepError):
    """Raw data that as a whole cannot be used.

    Attributes:
        problems: each problem on its own, when there are several.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        self.problems = tuple(problems)
        lines = [message, *(f"  {terminal_text(problem)}" for problem in self.problems[:SHOWN_PROBLEMS])]
        if len(self.problems) > SHOWN_PROBLEMS:
            lines.append(f"  ... and {len(self.problems) - SHOWN_PROBLEMS} more")
        super().__init__("\n".join(lines))


class ConflictError(PrepError):
    """Two datasets that contradict each other.

    Attributes:
        conflicts: each contradiction, as data.
    """

    def __init__(self, message: str, conflicts: Sequence[object]) -> None:
        self.message = message
        self.conflicts = tuple(conflicts)
        lines = [message, *(f"  {terminal_text(str(conflict))}" for conflict in self.conflicts[:SHOWN_PROBLEMS])]
        if len(self.conflicts) > SHOWN_PROBLEMS:
            lines.append(f"  ... and {len(self.conflicts) - SHOWN_PROBLEMS:,} more (--json lists all of them)")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type[ConflictError], tuple[str, tuple[object, ...]]]:
        """Pickle by the arguments."""
        return type(self), (self.message, self.conflicts)


class OutputError(PrepError):
    """The output folder cannot be written, or another build holds it."""


class WorkerError(PrepError):
    """Worker processes die or run out of what the system gives them, whatever item they are at."""


class StoppedError(PrepError):
    """A build ended early, as it was asked to: too many items failed."""


class ItemError(PrepError):
    """One raw item that cannot be used."""


class StageError(ItemError):
    """One raw item that cannot be used, and where on its way it failed.

    Attributes:
        stage: `read`, `transform` or `write`.
    """

    def __init__(self, stage: str, message: str) -> None:
        self.stage = stage
        super().__init__(message)

    def __reduce__(self) -> tuple[type[StageError], tuple[str, str]]:
        """Pickle by the arguments."""
        return type(self), (self.stage, str(self))
