"""What a feed can be told, checked when it is said."""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, SupportsFloat, SupportsIndex, TypedDict, get_args

import numpy as np
import numpy.typing as npt

from loader.errors import OptionError
from loader.feed.targets.labels import LabelMode
from loader.feed.transforms import Transform
from manifests.format.npyfile import NUMERIC_KINDS

OnError = Literal["raise", "skip"]
"""What becomes of a sample whose shard cannot be read."""


@dataclass(frozen=True, kw_only=True)
class FeedOptions:
    """What decides the content of the batches, apart from the samples and the user's functions.

    Attributes:
        batch_size: samples in a batch, of all processes together; a pass's last batch may have fewer.
        shuffle: a new order in each pass instead of the samples' own.
        seed: any integer, of any size and sign; fixes the order of every pass.
        dtype: that X is converted to; None keeps the shards' own.
        drop_remainder: leave out a pass's last batch when it is not full.
        process_index: which of the processes this one is, from 0.
        process_count: processes that share each batch.
        pad_to: shape that each sample is brought to; None for none.
        pad_value: what fills it up.
        on_error: whether a shard that cannot be read is an error, or another sample of the pass stands for it.
        keep_cached: False for telling the kernel that it need not keep what was read in memory.
    """

    batch_size: int = 32
    shuffle: bool = False
    seed: int = 0
    dtype: npt.DTypeLike | None = None
    drop_remainder: bool = False
    process_index: int = 0
    process_count: int = 1
    pad_to: Sequence[int] | None = None
    pad_value: float = 0.0
    on_error: OnError = "raise"
    keep_cached: bool = True

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            OptionError: a value cannot be used.
        """
        check_integer("batch_size", self.batch_size, minimum=1)
        check_integer("seed", self.seed, minimum=None)
        check_flag("shuffle", self.shuffle)
        check_flag("drop_remainder", self.drop_remainder)
        check_flag("keep_cached", self.keep_cached)
        if self.dtype is not None:
            _check_dtype(self.dtype)
        check_integer("process_count", self.process_count, minimum=1)
        check_integer("process_index", self.process_index, minimum=0)
        if self.process_index >= self.process_count:
            raise OptionError(f"process_index must be below process_count, got {self.process_index} of {self.process_count}")
        if self.process_count > self.batch_size:
            raise OptionError(
                f"batch_size is that of all processes together and must be at least process_count={self.process_count}, "
                f"got {self.batch_size}"
            )
        if self.pad_to is not None:
            _check_shape("pad_to", self.pad_to)
        check_number("pad_value", self.pad_value)
        if self.on_error not in get_args(OnError):
            raise OptionError(f"on_error must be one of {', '.join(map(repr, get_args(OnError)))}, got {self.on_error!r}")


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """Who makes the batches; nothing of it changes one.

    Attributes:
        workers: processes or threads that work ahead; 0 of them, or 1 thread, work in the caller's own thread.
        use_multiprocessing: processes instead of threads; None for threads, or one process once it is worth its start.
        max_queue_size: batches that may wait ready.
        timeout: seconds that a worker process may take for one batch.
    """

    workers: int = 1
    use_multiprocessing: bool | None = None
    max_queue_size: int = 10
    timeout: float = 120.0

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            OptionError: a value cannot be used.
        """
        check_integer("workers", self.workers, minimum=0)
        check_integer("max_queue_size", self.max_queue_size, minimum=1)
        if self.use_multiprocessing is not None:
            check_flag("use_multiprocessing", self.use_multiprocessing)
        if not 0 < check_number("timeout", self.timeout) < math.inf:
            raise OptionError(f"timeout must be a positive number of seconds, got {self.timeout!r}")


class SequenceOptions(TypedDict, total=False):
    """The arguments that every way to make a sequence takes; see `ManifestSequence`."""

    batch_size: int
    shuffle: bool
    seed: int
    label_mode: LabelMode
    class_names: Sequence[str] | None
    class_weight: Mapping[int | str, float] | None
    dtype: npt.DTypeLike | None
    drop_remainder: bool
    repeat: bool
    transform: Transform | None
    batch_transform: Transform | None
    pad_to: Sequence[int] | None
    pad_value: float
    process_index: int
    process_count: int
    on_error: OnError
    keep_cached: bool
    workers: int
    use_multiprocessing: bool | None
    max_queue_size: int
    timeout: float


def check_integer(name: str, value: Any, *, minimum: int | None) -> int:
    """Return an integer, or refuse what is none.

    Raises:
        OptionError: it is no integer, or below the minimum, which is 0, 1 or None.
    """
    kind = {None: "an integer", 0: "an integer from 0", 1: "a positive integer"}[minimum]
    try:
        integer = None if isinstance(value, bool) else operator.index(value)
    except TypeError:  # arrays have an __index__ that not all of them can use
        integer = None
    if integer is None or (minimum is not None and integer < minimum):
        raise OptionError(f"{name} must be {kind}, got {value!r}")
    return integer


def check_flag(name: str, value: object) -> bool:
    """Return a flag, or refuse what is none.

    Raises:
        OptionError: it is neither True nor False.
    """
    if not isinstance(value, bool | np.bool_):
        raise OptionError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def check_number(name: str, value: object) -> float:
    """Return a number, or refuse what is none.

    Raises:
        OptionError: it is none.
    """
    if not isinstance(value, bool | np.bool_ | str | bytes) and isinstance(value, SupportsFloat):
        with contextlib.suppress(TypeError, ValueError, OverflowError):  # arrays have a __float__ that not all of them can use
            return float(value)
    raise OptionError(f"{name} must be a number, got {value!r}")


def _check_dtype(value: npt.DTypeLike) -> None:
    try:
        dtype = np.dtype(value)
    except TypeError as error:
        raise OptionError(f"dtype must be the name of a NumPy dtype such as 'float32', got {value!r}") from error
    if dtype.kind not in NUMERIC_KINDS:
        raise OptionError(f"dtype must be numeric, got {value!r}")


def _check_shape(name: str, value: object) -> None:
    axes = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
    if not axes or not all(isinstance(axis, SupportsIndex) and operator.index(axis) > 0 for axis in axes):
        raise OptionError(f"{name} must be positive integers such as (224, 224, 3), got {value!r}")
