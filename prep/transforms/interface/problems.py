"""What is wrong with a recipe: each problem with its key, what was expected, and what was found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from prep.errors import SHOWN_PROBLEMS, UsageError
from prep.text import printable

_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class RecipeProblem:
    """One thing that is wrong.

    Attributes:
        key: where, such as `transforms[1].size`.
        expected: what should stand there.
        found: what stands there.
    """

    key: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{printable(self.key)}: expected {self.expected}, found {printable(self.found)}"


def found(value: object) -> str:
    """Write a value of a recipe for a message: short, and in one line."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 4]} ..."


def one_of(names: Iterable[str], wrong: str) -> str:
    """Say which names there are, the nearest to a wrong one first: `'size' (of: fit, size)`."""
    known = sorted(names)
    near = get_close_matches(wrong[:_SHOWN_CHARACTERS], known, n=1, cutoff=0.5)
    listed = ", ".join(known) or "none"
    return f"{near[0]!r} (there are: {listed})" if near else f"one of: {listed}"


def refusal(where: str, problems: Sequence[RecipeProblem]) -> UsageError:
    """Return the error that tells every problem of a recipe, a line for each."""
    if len(problems) == 1:
        return UsageError(f"{where}: {problems[0]}")
    lines = [f"{where}: {len(problems)} problems:", *(f"  {problem}" for problem in problems[:SHOWN_PROBLEMS])]
    if len(problems) > SHOWN_PROBLEMS:
        lines.append(f"  ... and {len(problems) - SHOWN_PROBLEMS} more")
    return UsageError("\n".join(lines))
