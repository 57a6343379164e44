"""The errors of `loader`; catch `LoaderError` for all of them.

LoaderError
├── OptionError          an invalid argument (also a ValueError)
├── BatchIndexError      a batch that the sequence does not have (also an IndexError)
├── SamplesError         samples that cannot make one feed: none at all, unsafe IDs, packs, several shapes
├── LabelError           labels that are missing, unknown or not of the label mode's kind
├── ShardError           a shard that is missing, damaged, unsafe or of another shape or dtype
├── ShortageError        the system has run out of files or memory, or a file server is gone: no shard's fault, and never skipped
├── DatasetChangedError  the dataset was built again, or changed otherwise, since its manifest was loaded
├── ResumeError          a state to resume from that cannot be read, written or gone on with
├── TransformError       a transform that cannot be sent to workers, or returned what no batch can be made of
└── WorkerError          worker processes that died, hung or could not start
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

SHOWN_PROBLEMS = 10
"""Items of a list that a message shows."""


class Values(Protocol):
    """A value for each sample: a list, or a column of `loader.feed.columns`."""

    def __getitem__(self, position: int, /) -> object: ...


class LoaderError(Exception):
    """Base class of all errors that `loader` raises."""


class OptionError(LoaderError, ValueError):
    """An argument that cannot be used; the message shows the value it got."""


class BatchIndexError(LoaderError, IndexError):
    """A batch number outside the pass."""


class SamplesError(LoaderError):
    """Samples that cannot be fed together, whatever the arguments."""


class LabelError(LoaderError):
    """Labels that cannot be encoded; the message names the IDs."""


class ShardError(LoaderError):
    """A shard that cannot be read as the sample it should be.

    Attributes:
        id: of the sample.
        path: of the shard.
        expected: the shape and dtype that the feed needs.
        found: what was found instead.
        advice: what to do.
    """

    def __init__(self, id_: str, path: str, expected: str, found: str, advice: str) -> None:
        # All five are passed on, so that the exception can be pickled.
        super().__init__(id_, path, expected, found, advice)
        self.id = id_
        self.path = path
        self.expected = expected
        self.found = found
        self.advice = advice

    def __str__(self) -> str:
        return f"shard {self.path} of ID {self.id!r}: expected {self.expected}, found {self.found}; {self.advice}"


class ShortageError(LoaderError):
    """The system has run out of files or memory, or a file server is gone: no shard's fault, so `on_error="skip"` does not skip it.

    Attributes:
        what: could not be read.
        errno: the system's number for it, as in the module `errno`.
        advice: what to do.
    """

    def __init__(self, what: str, errno: int, advice: str) -> None:
        # All are passed on, so that the exception can be pickled.
        super().__init__(what, errno, advice)
        self.what = what
        self.errno = errno
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.what} cannot be read: {os.strerror(self.errno)}; that is not the shard's fault, so it is not skipped; {self.advice}"


class DatasetChangedError(LoaderError):
    """A dataset that is not the one any more whose manifest was loaded; the message names the manifest."""


class TransformError(LoaderError):
    """A user's transform that cannot be sent to workers, or that returned something unusable; the message names the ID."""


class ResumeError(LoaderError):
    """A training state that cannot be read or written, or is of another training; the message names its folder."""


class WorkerError(LoaderError):
    """Worker processes that died, hung or could not start; the message names the IDs of the batch."""


def listing(items: Sequence[str], total: int | None = None) -> str:
    """Join the first items of a list for a message, and say how many more there are.

    Args:
        items: all of them, or at least the first `SHOWN_PROBLEMS`.
        total: how many there are; None for as many as were given.
    """
    more = (len(items) if total is None else total) - SHOWN_PROBLEMS
    return ", ".join(items[:SHOWN_PROBLEMS]) + (f", ... and {more} more" if more > 0 else "")


def samples_with(kind: str, wrong: npt.NDArray[np.int64], values: Values, ids: Values, paths: Values) -> str:
    """Say how many samples have a problem, and list the first of them.

    Args:
        kind: the problem.
        wrong: int64, shape (k,): positions of these samples.
        values: one a sample; shown where they are not empty.
        ids: one a sample.
        paths: one a sample.
    """
    shown = [(ids[p], paths[p], values[p]) for p in wrong[:SHOWN_PROBLEMS].tolist()]
    where = [f"ID {id_!r} ({path})" + (f" has {value!r}" if value != "" else "") for id_, path, value in shown]
    count = "1 sample" if len(wrong) == 1 else f"{len(wrong)} samples"
    return f"{count} with {kind}: {listing(where, len(wrong))}"
