"""What a feed can be told, checked when it is said."""

from __future__ import annotations

import operator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loader.errors import OptionError
from manifests.npyfile import NUMERIC_KINDS


@dataclass(frozen=True, kw_only=True)
class FeedOptions:
    """What decides the content of the batches.

    Attributes:
        batch_size: samples in a batch; a pass's last batch may have fewer.
        shuffle: a new order in each pass instead of the samples' own.
        seed: any integer, of any size and sign; fixes the order of every pass.
        dtype: that X is converted to; None keeps the shards' own.
        drop_remainder: leave out a pass's last batch when it is not full.
    """

    batch_size: int = 32
    shuffle: bool = False
    seed: int = 0
    dtype: npt.DTypeLike | None = None
    drop_remainder: bool = False

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            OptionError: a value cannot be used.
        """
        _check_integer("batch_size", self.batch_size, minimum=1)
        _check_integer("seed", self.seed, minimum=None)
        _check_flag("shuffle", self.shuffle)
        _check_flag("drop_remainder", self.drop_remainder)
        if self.dtype is not None:
            _check_dtype(self.dtype)


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """Who does the reading; nothing of it changes a batch.

    Attributes:
        workers: processes or threads that read ahead; 0 of them, or 1 thread, read in the caller's own thread.
        use_multiprocessing: processes instead of threads.
        max_queue_size: batches that may wait ready.
    """

    workers: int = 1
    use_multiprocessing: bool = False
    max_queue_size: int = 10

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            OptionError: a value cannot be used.
        """
        _check_integer("workers", self.workers, minimum=0)
        _check_integer("max_queue_size", self.max_queue_size, minimum=1)
        _check_flag("use_multiprocessing", self.use_multiprocessing)


def _check_integer(name: str, value: object, *, minimum: int | None) -> None:
    kind = {None: "an integer", 0: "an integer from 0", 1: "a positive integer"}[minimum]
    if isinstance(value, bool) or not hasattr(value, "__index__") or (minimum is not None and operator.index(value) < minimum):
        raise OptionError(f"{name} must be {kind}, got {value!r}")


def _check_flag(name: str, value: object) -> None:
    if not isinstance(value, bool | np.bool_):
        raise OptionError(f"{name} must be True or False, got {value!r}")


def _check_dtype(value: npt.DTypeLike) -> None:
    try:
        dtype = np.dtype(value)
    except TypeError as error:
        raise OptionError(f"dtype must be the name of a NumPy dtype such as 'float32', got {value!r}") from error
    if dtype.kind not in NUMERIC_KINDS:
        raise OptionError(f"dtype must be numeric, got {value!r}")
