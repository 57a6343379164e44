"""The errors of `manifests`; catch `ManifestError` for all of them.

ManifestError
├── InvalidManifestError   a manifest or dataset.json with problems, all of them listed
├── NoManifestError        no manifest where one was expected
├── UnknownNameError       an ID, split or column that the manifest does not have
├── UnfinishedCommitError  a dataset that was left amid a changeover and cannot be brought to its end from here
└── ArrayFileError         a .npy file that is missing, damaged, unsafe or of another shape or dtype
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from manifests.text import terminal_text

SHOWN_PROBLEMS = 100
"""How many problems a message spells out; `InvalidManifestError.problems` holds every one."""


class ManifestError(Exception):
    """Base of every error that `manifests` raises on purpose."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong with a manifest.

    Attributes:
        kind: a short word to select by, for example `duplicate-id`.
        message: one sentence: what was found, what was expected.
        row: line of the file where the row starts, the header being line 1; None if it is not about a row.
        column: the column's name; None if it is not about a column.
    """

    kind: str
    message: str
    row: int | None = None
    column: str | None = None

    def __str__(self) -> str:
        where = [] if self.row is None else [f"row {self.row}"]
        where += [] if self.column is None else [f"column {self.column!r}"]
        return f"{', '.join(where)}: {self.message}" if where else self.message


class InvalidManifestError(ManifestError):
    """A manifest that breaks the contract.

    Attributes:
        what: the file that has the problems.
        problems: every problem found, in the order of the rows.
    """

    def __init__(self, what: str, problems: Sequence[Problem]) -> None:
        self.what = what
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        lines = [f"{what}: {count}"]
        lines += [f"  {terminal_text(str(problem))}" for problem in self.problems[:SHOWN_PROBLEMS]]
        if len(self.problems) > SHOWN_PROBLEMS:
            lines.append(f"  ... and {len(self.problems) - SHOWN_PROBLEMS} more (error.problems has all of them)")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type[InvalidManifestError], tuple[str, tuple[Problem, ...]]]:
        """Pickle by the arguments, so that the error survives its way out of a worker process."""
        return type(self), (self.what, self.problems)


class NoManifestError(ManifestError):
    """There is no manifest at the path that was given."""


class UnknownNameError(ManifestError, KeyError):
    """An ID, split or column that the manifest does not have."""

    __str__ = Exception.__str__  # KeyError would show the message's repr


class UnfinishedCommitError(ManifestError):
    """A dataset that a killed process left amid its changeover, and that cannot be brought to the end of it from here."""


class ArrayFileError(ManifestError):
    """A `.npy` file that cannot be read as the array it should hold."""
