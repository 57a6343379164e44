"""`ManifestSequence` for legacy Keras (`tf_keras`): the only file that imports it. It does not import Keras 3."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, ClassVar, Self

import tf_keras

from loader.batches.manifest_batches import ManifestBatches
from loader.errors import OptionError
from loader.feed.feed import Batch
from loader.feed.index.index import Index
from loader.feed.options import FeedOptions, WorkerOptions
from loader.passes.counter import PassCounter
from loader.passes.legacy_epochs import EpochCounter

_REMEMBERED = 16
"""Generators of Keras that are remembered: those of epochs that `steps_per_epoch` ended early are never asked again."""


class ManifestSequence(ManifestBatches, tf_keras.utils.Sequence):  # type: ignore[misc]  # Keras ships no types
    """Batches of a manifest's samples, for `fit`, `evaluate` and `predict` of legacy Keras (`TF_USE_LEGACY_KERAS=1`).

    ```python
    train = ManifestSequence.from_ids(partition["train"], labels, dim=(32, 32, 3), batch_size=64, n_classes=8, shuffle=True)
    model.fit(train, use_multiprocessing=True, workers=10, max_queue_size=10)
    ```

    Each epoch is the next pass, and its batches come in the order that the seed and the pass fix, whatever `fit` is told
    about shuffling and workers. With `steps_per_epoch` an epoch goes on where the one before it ended; for more steps than
    a pass has, pass `repeat=True` to the sequence and more than one worker to `fit`.

    What `fit`, `evaluate` and `predict` are told about workers says how many of the feed's own there are, one for each
    processor at most, unless the sequence was told itself; Keras' own pool, which would fork the process, is not started.

    The arguments are those of `ManifestBatches`.
    """

    is_shell: ClassVar[bool] = True
    _passes: EpochCounter

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__getitem__" in vars(cls):
            cls.__getitem__ = _walking(vars(cls)["__getitem__"])  # type: ignore[method-assign]  # see `_walking`

    def __len__(self) -> int:
        """Return the number of batches in a pass."""
        enqueuer = _asking_enqueuer(self)
        if enqueuer is not None:
            self._serve_enqueuer(enqueuer)
        return super().__len__()

    def on_epoch_end(self) -> None:
        """Note that an epoch ended: the next batch belongs to the next pass. Keras calls it, or whoever walks by hand."""
        caller = _caller_of(self, "on_epoch_end")
        if caller is not None and isinstance(caller.f_locals.get("self"), tf_keras.utils.OrderedEnqueuer):
            return  # it says so when its last batch was taken, too early or too late; `fit` says it again
        self._delivery.ledger.pause()
        ended = None if caller is None or not _is_keras(caller) else _ended_epoch(caller)
        if ended is None or not self._passes.finish(ended[0], goes_on=ended[1]):
            self._passes.end_epoch(self._limit)

    def _assemble(self, index: Index, options: FeedOptions, worker_options: WorkerOptions) -> None:
        super()._assemble(index, options, worker_options)
        if len(self) != self.whole_pass:
            raise OptionError(f"{type(self).__name__} overrides __len__, and legacy Keras takes whole passes; use drop_remainder=True")
        self._walks: dict[FrameType, Iterator[Batch]] = {}

    def _pass_counter(self) -> PassCounter:
        return EpochCounter(self._feed.num_batches, repeat=self._repeat)

    def _serve_enqueuer(self, enqueuer: Any) -> None:
        """Give one of Keras' enqueuers, before it starts its workers, somebody in their place."""
        pool = _InPlaceOfPool(self, enqueuer)
        enqueuer.executor_fn = lambda _: pool
        given = WorkerOptions()
        mine = self._delivery.options
        if (mine.workers, mine.use_multiprocessing, mine.max_queue_size) == (
            given.workers,
            given.use_multiprocessing,
            given.max_queue_size,
        ):
            self._delivery.employ(
                WorkerOptions(
                    workers=min(enqueuer.workers, _processors()),
                    use_multiprocessing=enqueuer.use_multiprocessing,
                    max_queue_size=max(1, enqueuer.queue.maxsize),
                    timeout=mine.timeout,
                )
            )


class _InPlaceOfPool:
    """What an enqueuer takes for a pool of workers: batches are made when, and where, they are taken out of its queue.

    So they come in one order, whatever index is asked for, and who works ahead is the feed's own affair.
    """

    def __init__(self, sequence: ManifestSequence, enqueuer: Any) -> None:
        self._enqueuer = enqueuer
        self._left = None if sequence.repeats else sequence._limit  # noqa: SLF001  # of the same file's class
        self._batches = iter(sequence)

    def apply_async(self, *_: Any) -> Self:
        """Return what is asked for the batch when its turn comes."""
        return self

    def get(self) -> Any:
        """Return the next batch."""
        batch = next(self._batches)
        if self._left is not None:
            self._left -= 1
            if not self._left:
                # Or else the enqueuer begins the next pass at once, of which TensorFlow's buffer takes batches that nobody uses.
                self._enqueuer.stop_signal.set()
        return batch

    def close(self) -> None:
        """Do nothing: the enqueuer closes a pool after each pass, and a walk may go on."""


def _walking(getitem: Callable[[Any, int], Batch]) -> Callable[[Any, int], Batch]:
    """Return a `__getitem__` that gives a generator in which Keras walks the next batch of its own walk.

    Keras names the batches there in an order that it shuffles itself, and no epoch of its goes on behind the one before.
    """

    @functools.wraps(getitem)
    def walking(self: Any, index: int) -> Batch:
        caller = sys._getframe(1) if hasattr(sys, "_getframe") else None  # noqa: SLF001  # documented, if underlined
        if caller is None or not _walks_through(caller, self):
            return getitem(self, index)
        walks: dict[FrameType, Iterator[Batch]] = self._walks
        if caller not in walks:
            walks[caller] = self._batches(by_keras=True)
            if len(walks) > _REMEMBERED:
                del walks[next(iter(walks))]
        return next(walks[caller])

    return walking


def _walks_through(frame: FrameType, sequence: ManifestSequence) -> bool:
    """Return whether a frame is that of a generator in which Keras walks through a sequence, without workers."""
    return bool(frame.f_code.co_flags & inspect.CO_GENERATOR) and _is_keras(frame) and frame.f_locals.get("x") is sequence


ManifestSequence.__getitem__ = _walking(ManifestBatches.__getitem__)  # type: ignore[method-assign]  # of this class alone


def _asking_enqueuer(sequence: ManifestSequence) -> Any | None:
    """Return the enqueuer that asks for a sequence's length, which it does before it starts its workers; None if somebody else asks."""
    caller = _caller_of(sequence, "__len__")
    enqueuer = None if caller is None or not _is_keras(caller) else caller.f_locals.get("self")
    return enqueuer if isinstance(enqueuer, tf_keras.utils.OrderedEnqueuer) else None


def _ended_epoch(frame: FrameType) -> tuple[int, bool] | None:
    """Return how many steps the epoch had that just ended, and whether the same `fit` goes on with another; None if nothing tells."""
    for caller in _callers(frame):
        if caller.f_code.co_name == "enumerate_epochs":
            loop, epoch = caller.f_locals["self"], caller.f_locals["epoch"]
            return int(loop.inferred_steps), epoch + 1 < loop._epochs  # noqa: SLF001  # nothing else tells it
    return None


def _caller_of(sequence: ManifestSequence, method: str) -> FrameType | None:
    """Return the frame that called a sequence's method, be it through a subclass's own."""
    frame = sys._getframe(1) if hasattr(sys, "_getframe") else None  # noqa: SLF001  # documented, if underlined
    for caller in () if frame is None else _callers(frame):
        if caller.f_code.co_name != method or caller.f_locals.get("self") is not sequence:
            return caller
    return None


def _callers(frame: FrameType) -> Iterator[FrameType]:
    caller = frame.f_back
    while caller is not None:
        yield caller
        caller = caller.f_back


def _is_keras(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] == "tf_keras"


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
