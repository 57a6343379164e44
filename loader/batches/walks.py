"""Walking through the batches of a sequence: by a loop, by Keras, by number, or as a `tf.data.Dataset`; and the IDs that go with them."""

from __future__ import annotations

import itertools
import operator
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

from loader.batches.facts import BatchFacts
from loader.batches.overrides import makes_batches, standard
from loader.errors import BatchIndexError, OptionError
from loader.feed.feed import Batch
from loader.feed.options import check_integer
from loader.feed.transforms import Transforms
from loader.passes.counter import PassCounter, Walk, following
from loader.passes.index_with_pass import BatchIndex, OverridePasses
from loader.tfdata import INFINITE, dataset_of, examples


class BatchWalks(BatchFacts):
    """Hands over the batches of pass after pass, whoever asks for them and in which way."""

    _passes: PassCounter
    _override_passes: OverridePasses
    _warned: set[str]

    def __len__(self) -> int:
        """Return the number of batches in a pass."""
        return self._feed.num_batches

    def __getitem__(self, index: int) -> Batch:
        """Return batch `index` of the current pass; negative numbers count from the end.

        An override of it gets an `index` that knows its pass: `super().__getitem__(index)` and `self.ids(index)` are of the same
        samples, in `fit` and in a loop, whatever else goes on with the sequence at the same time.

        Returns:
            (X, y), or X if `label_mode` is None (as ((X1, X2),) if a transform makes several inputs of it), or (X, y, weights) with
            `sample_weight` or `class_weight`; the caller's own arrays.

        Raises:
            BatchIndexError: there is no such batch.
            ShardError: a shard is missing, damaged, unsafe, or of another shape or dtype.
            TransformError: a transform returned what no batch can be made of. What it raises itself comes as it is, with
                the sample's ID and, from a worker, the traceback there as notes.
            WorkerError: worker processes died or hung twice at this batch, or cannot be started.
        """
        number = self._from_start(index)
        if isinstance(index, BatchIndex) and index.walk is not None and index.walk.sequence == id(self):
            return self._delivery.walked(index.pass_, number, index.walk)
        asked = index.pass_ if isinstance(index, BatchIndex) else self._override_passes.pass_of_thread(self._passes.current())
        if asked is not None:
            more, batch = divmod(number, self._feed.num_batches)
            return self._delivery.requested(asked + more, batch)
        pass_, batch, is_next = self._passes.request(number)
        self._warn_of_repetition()
        # Those behind it, also of the next pass: an epoch hardly comes alone.
        return self._delivery.requested(pass_, batch, following(pass_, batch, self._limit) if is_next else None)

    def __iter__(self) -> Iterator[Batch]:
        """Walk through the next pass, or through all that follow if `repeat` is set."""
        return self._batches()

    @property
    def pass_number(self) -> int:
        """The pass, from 0, that batches asked for by hand belong to; after `fit` and `predict` the one that just ran.

        With `repeat` it is the one that the last walk began with. Setting it lets the next epoch be that pass, as
        `fit(initial_epoch=...)` may want it.
        """
        current = self._passes.current()
        asked = self._override_passes.pass_of_thread(current)
        return current if asked is None else asked

    @pass_number.setter
    def pass_number(self, number: int) -> None:
        self._passes.jump(check_integer("pass_number", number, minimum=0) * self._feed.num_batches)

    @property
    def next_batch(self) -> int:
        """The batch that the next epoch begins with, counted through all passes.

        Batch b of pass p is p * n + b, with n the batches of a whole pass, also where `__len__` is overridden.

        Setting it lets the next epoch begin there, in the middle of a pass too, and end with that pass. No batch before it is
        read. `loader.ResumeCallback` does so for `fit`; a training loop of one's own stores it with the weights.
        """
        return self._passes.upcoming()

    @next_batch.setter
    def next_batch(self, number: int) -> None:
        self._passes.jump(check_integer("next_batch", number, minimum=0))

    def resume_at(self, next_batch: int, then: int | None = None) -> None:
        """Let the next walk begin at a batch, counted through all passes, and the one after it at another.

        It is for `ResumeCallback`: others may have walked through the sequence after the walk that is gone on with began.

        Args:
            next_batch: see the property.
            then: None for the pass behind it.
        """
        self._passes.jump(next_batch, then)

    def ids(self, index: int | None = None) -> list[str]:
        """Return the IDs of the current pass in the order in which they are delivered, or those of one batch.

        After `predict` the predictions line up with `ids()`, but for a walk that `next_batch` let begin in the middle of a pass.
        With `on_error="skip"`, a sample that could not be read is replaced by the one that stands for it; of a batch that was not
        read yet nobody knows.

        Args:
            index: of the batch, as for `sequence[index]`; None for all batches, one after the other.

        Raises:
            BatchIndexError: there is no such batch.
        """
        if index is None:
            pass_ = self.pass_number
            return [id_ for batch in range(self._limit) for id_ in self._ids(pass_, batch)]
        number = self._from_start(index)
        if isinstance(index, BatchIndex):
            pass_, walk = index.pass_, index.walk
            if (
                walk is not None
                and walk.sequence == id(self)
                and walk.delivered != (pass_, number)
                and self._feed.options.on_error == "skip"
            ):
                raise OptionError("with on_error='skip' the samples of a batch are known when it was read; ask for it before its ids")
        else:
            asked = self._override_passes.pass_of_thread(self._passes.current())
            is_person = threading.current_thread() is threading.main_thread()
            pass_ = self._passes.pass_of(number, is_person=is_person) if asked is None else asked
        more, batch = divmod(number, self._feed.num_batches)
        return self._ids(pass_ + more, batch)

    def as_tf_dataset(self) -> Any:
        """Return the batches as a `tf.data.Dataset` with static shapes, for those who work with one; `fit` takes it too.

        Each iteration over it is the next pass, from its first batch to its last, or without end if `repeat` is set, also when
        several run at once or one is broken off. The batch axis is static if no batch is smaller than the others. It reads ahead
        as the sequence does, with the same workers, and prefetches.

        Returns:
            A `tf.data.Dataset`; its elements are what `sequence[i]` is, with tuples in place of lists.

        Raises:
            ImportError: TensorFlow is not installed.
            ShardError, TransformError: with transforms, first batches tell the shapes, and cannot be made.
        """
        return self._dataset(by_keras=False)

    def _ids(self, pass_: int, batch: int) -> list[str]:
        """Return a batch's IDs, with those that stand for samples that could not be read."""
        return self._feed.ids(pass_, batch, self._delivery.ledger.unreadable)

    @property
    def _limit(self) -> int:
        """How many batches of each pass are walked through: all, unless `__len__` is overridden.

        Raises:
            OptionError: there are not so many.
        """
        limit = len(self)
        if not 0 < limit <= self._feed.num_batches:
            raise OptionError(
                f"{type(self).__name__}.__len__ returned {limit}, expected 1 to {self._feed.num_batches}, the batches that a pass has"
            )
        return limit

    def _batches(self, *, by_keras: bool = False) -> Iterator[Batch]:
        """Yield the batches of the next pass, which begins with the first one, whatever others ask for meanwhile."""
        yield from self._batches_of(self._start(by_keras=by_keras))

    def _start(self, *, by_keras: bool) -> Walk:
        """Begin a walk."""
        walk = self._passes.start(None if self._repeat else self._limit, by_keras=by_keras)
        walk.sequence = id(self)
        return walk

    def _batches_of(self, walk: Walk) -> Iterator[Batch]:
        """Yield the batches of a walk."""
        self._delivery.begin(walk)
        try:
            for pass_, batch in walk.batches():
                if walk.by_keras:
                    self._passes.note_asked(walk)
                yield self._overridden(pass_, batch, walk) if makes_batches(type(self)) else self._delivery.walked(pass_, batch, walk)
        finally:
            self._delivery.end(walk)

    def _overridden(self, pass_: int, batch: int, walk: Walk) -> Batch:
        """Return what an override makes of a batch."""
        with self._override_passes.asking(pass_):
            return standard(self[BatchIndex.of(batch, pass_, walk)], type(self).__name__)

    def _dataset(self, *, by_keras: bool) -> Any:
        """Return a `tf.data.Dataset` of which each iteration is a walk."""
        # A walk of Keras' may begin in the middle of a pass.
        length = INFINITE if self._repeat else None if by_keras else self._limit

        def begin() -> tuple[int | None, Iterator[Batch]]:
            walk = self._start(by_keras=by_keras)
            return walk.length, self._batches_of(walk)

        return dataset_of(self._feed, begin, self._examples(), length=length)

    def _examples(self) -> list[Batch]:
        """Return batches that have the shapes and dtypes of all: made up where those are known, else the first two."""
        if not makes_batches(type(self)):
            return examples(self._feed)
        first = divmod(self._passes.upcoming(), self._feed.num_batches)
        look = Walk(0, 0, self._limit, self._feed.num_batches, sequence=id(self))
        keys = [first, *itertools.islice(following(*first, self._limit), min(2, self._limit) - 1)]
        return [self._overridden(*key, look) for key in keys]

    def _warn_of_repetition(self) -> None:
        """Warn whoever walks by number through the same pass again and again, as torch's DataLoader does."""
        if "repetition" in self._warned or not (self._feed.options.shuffle or self._feed.transforms != Transforms()):
            return
        worker = getattr(sys.modules.get("torch.utils.data"), "get_worker_info", lambda: None)()
        if worker is not None or self._passes.is_repeated(self._limit):
            self._warned.add("repetition")
            warnings.warn(
                f"batches are asked for by their number, and on_epoch_end is not called, so each epoch has the samples of pass "
                f"{self._passes.current()} in the same order; iterate over the sequence instead: each loop is the next pass "
                "(with torch's DataLoader: from an IterableDataset)",
                stacklevel=3,
            )

    def _from_start(self, index: int) -> int:
        """Return a batch's number from the pass's beginning."""
        index = int(operator.index(index))
        if self._repeat and index >= 0:
            return index
        limit = self._limit
        if not -limit <= index < limit:
            raise BatchIndexError(f"no batch {index}; the sequence has {limit}, from 0")
        return index % limit
