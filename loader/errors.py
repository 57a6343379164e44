"""The errors of `loader`; catch `LoaderError` for all of them.

LoaderError
├── OptionError        an argument that cannot be used (also a ValueError)
├── BatchIndexError    a batch that the sequence does not have (also an IndexError)
├── SamplesError       samples that cannot make one feed: none at all, unsafe IDs, packs, several shapes
├── LabelError         labels that are missing, unknown or not of the label mode's kind
├── ShardError         a shard that is missing, damaged, unsafe or of another shape or dtype
├── ResumeError        a state to resume from that cannot be read, written or gone on with
├── TransformError     a transform that cannot be sent to workers, or returned what no batch can be made of
└── WorkerError        worker processes that died, hung or could not start
"""

from __future__ import annotations

from collections.abc import Sequence

SHOWN_PROBLEMS = 10
"""How many of a list's items a message spells out."""


class LoaderError(Exception):
    """Base of every error that `loader` raises on purpose."""


class OptionError(LoaderError, ValueError):
    """An argument that cannot be used; the message shows the value it got."""


class BatchIndexError(LoaderError, IndexError):
    """A batch number outside the pass."""


class SamplesError(LoaderError):
    """Samples that cannot make one feed, whatever the arguments."""


class LabelError(LoaderError):
    """Labels that cannot be encoded; the message names the IDs."""


class ShardError(LoaderError):
    """A shard that cannot be read as the sample it should be.

    Attributes:
        id: of the sample.
        path: of the shard, as it was opened.
        expected: shape and dtype that the feed needs.
        found: what is there instead.
        advice: what to do about it.
    """

    def __init__(self, id_: str, path: str, expected: str, found: str, advice: str) -> None:
        # The five arguments are the exception's own, so that it survives pickling between processes.
        super().__init__(id_, path, expected, found, advice)
        self.id = id_
        self.path = path
        self.expected = expected
        self.found = found
        self.advice = advice

    def __str__(self) -> str:
        return f"shard {self.path} of ID {self.id!r}: expected {self.expected}, found {self.found}; {self.advice}"


class TransformError(LoaderError):
    """A user's transform cannot be sent to workers, or returned what no batch can be made of; the message names the ID."""


class ResumeError(LoaderError):
    """A training's state cannot be read or written, or belongs to another training; the message names its folder."""


class WorkerError(LoaderError):
    """Worker processes died or hung at a batch, whose IDs are named, or could not start."""


def listing(items: Sequence[str], total: int | None = None) -> str:
    """Join the first items of a list for a message, saying how many more there are.

    Args:
        items: all of them, or at least the first `SHOWN_PROBLEMS`.
        total: how many there are; None for as many as were given.
    """
    more = (len(items) if total is None else total) - SHOWN_PROBLEMS
    return ", ".join(items[:SHOWN_PROBLEMS]) + (f", ... and {more} more" if more > 0 else "")
