"""`ManifestBatches`: what the sequences for Keras 3 and for legacy Keras share, without importing either."""

from __future__ import annotations

import inspect
import itertools
import operator
import sys
import threading
import warnings
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, Unpack

import numpy as np
import numpy.typing as npt

from loader.doctor.stats import Ledger, Stats
from loader.errors import BatchIndexError, OptionError, TransformError
from loader.feed.feed import Batch, Feed, Key
from loader.feed.identity import Identity, identity_of
from loader.feed.index.class_weight import with_class_weight
from loader.feed.index.from_ids import index_of_ids
from loader.feed.index.from_manifest import index_of_manifest
from loader.feed.index.index import Index
from loader.feed.options import FeedOptions, OnError, SequenceOptions, WorkerOptions, check_flag, check_integer
from loader.feed.targets.labels import LabelMode
from loader.feed.transforms import Transform, Transforms
from loader.passes.counter import PassCounter, Walk, following
from loader.passes.index_with_pass import BatchIndex, OverridePasses
from loader.tfdata import INFINITE, dataset_of, examples
from loader.workers.companion import Companion
from loader.workers.pickling import Hook
from loader.workers.threads import Threads
from loader.workers.workers import Workers
from manifests.manifest import Manifest

Readers = Workers | Threads | Companion
"""Who makes batches ahead."""

_NOT_COPIED = frozenset({"_feed", "_passes", "_readers", "_leader", "_ledger", "_override_passes", "_walks", "_warned"})
"""Attributes that hold on to files, threads or locks, or to what has happened; a copy makes its own."""


class ManifestBatches:
    """Batches of a manifest's samples, pass after pass: what both kinds of `ManifestSequence` share.

    A batch depends on the manifest, the seed, the number of the pass, and its own number, and on nothing else: neither
    on the order of calls nor on global random state.

    Attributes:
        is_shell: true in the class that adds Keras' own base, and only said there; what is below it is the user's.
    """

    is_shell: ClassVar[bool] = False

    def __init__(
        self,
        manifest: Manifest | Index,
        *,
        batch_size: int = 32,
        shuffle: bool = False,
        seed: int = 0,
        label_mode: LabelMode = "auto",
        label: str | Sequence[str] = "label",
        class_names: Sequence[str] | None = None,
        sample_weight: str | None = None,
        class_weight: Mapping[int | str, float] | None = None,
        sampling: str | None = None,
        dtype: npt.DTypeLike | None = None,
        drop_remainder: bool = False,
        repeat: bool = False,
        transform: Transform | None = None,
        batch_transform: Transform | None = None,
        pad_to: Sequence[int] | None = None,
        pad_value: float = 0.0,
        process_index: int = 0,
        process_count: int = 1,
        on_error: OnError = "raise",
        keep_cached: bool = True,
        workers: int = 1,
        use_multiprocessing: bool | None = None,
        max_queue_size: int = 10,
        timeout: float = 120.0,
    ) -> None:
        """Check the arguments, encode all labels, and open the dataset's folder.

        Args:
            manifest: the samples, in the order in which they come when not shuffled. Or an index of them, whose labels
                are encoded: `label_mode`, `class_names`, `sample_weight` and `sampling` do not count then, and `label` is refused.
            batch_size: samples in a batch; a pass's last batch may have fewer.
            shuffle: a new order in each pass, fixed by `seed`. Off, as evaluating and predicting want it; training
                wants it on.
            seed: any integer, of any size and sign.
            label_mode: Keras' words. `categorical`: y is one-hot, float32, (batch, n_classes). `int`: int32, (batch,).
                `binary`: float32, (batch, 1), for exactly two classes. `multi_hot`: float32, (batch, n_classes), for
                labels like `a;b`, or for several columns of 0 and 1. `float`: the labels are numbers, as in a regression; y is
                float32, (batch,), or (batch, columns) for several columns. None: batches are X alone. `auto`, the default:
                `categorical` for classes, `float` for numbers, as `manifest.label_kind(column)` tells them apart, and
                `multi_hot` for several columns of 0 and 1.
            label: the column that holds the labels, or a list of several that make one y, in its order: all of numbers, or all
                of 0 and 1, each of which is a class by the column's name.
            class_names: all classes in index order, instead of the manifest's own; each label must be one of them.
            sample_weight: the column with each sample's weight in the loss; batches are then (X, y, weights), the
                weights float32, (batch,).
            class_weight: class, by its index or name -> weight in the loss of each of its samples; 1 for classes that are left out.
                Batches are then (X, y, weights). In place of `fit`'s argument, which Keras does not hand on to a sequence.
            sampling: None gives each sample once a pass. `balanced` draws each class equally often, and a column's name
                draws samples in proportion to the weights in it; then a pass has as many draws as there are samples, some
                samples come several times in it and others in another pass. Needs `shuffle=True`.
            dtype: that X is converted to, by value and without scaling, before any transform; None keeps the shards' own.
            drop_remainder: leave out a pass's last batch when it is not full.
            repeat: go on from pass to pass without end; `fit` then needs `steps_per_epoch`, and its epochs run over the
                passes' ends.
            transform: `transform(x, y, rng)` returns (x, y) for one sample, or x alone where there are no labels; in the
                workers. x is what the shard holds, y what `label_mode` makes of its label, without the batch axis, and
                `rng` a `numpy.random.Generator` that depends on (seed, pass, sample) alone. See `transform` below.
            batch_transform: the same for whole batches, as arrays or whatever `transform` returns; it may return weights
                as a third part. Its `rng` depends on (seed, pass, batch).
            pad_to: shape that each sample is brought to after `transform`, for samples of several shapes.
            pad_value: what stands behind a padded sample's own elements.
            process_index: which of `process_count` processes this one is, in training on several machines or devices.
            process_count: each process gets its part of every batch, so `batch_size` is that of all of them together, and
                batch k holds the same samples for any number of processes.
            on_error: `raise`, or `skip` to let another sample of the same pass stand for one that cannot be read; see
                `skipped`.
            keep_cached: False tells the system that what was read need not be kept in memory; for data far larger than
                it, read once a pass, beside other programs that need the memory more.
            workers: processes or threads that work ahead. With 0 batches are made in the thread that asks for them. The batches
                are the same, whatever the number.
            use_multiprocessing: True for processes: fresh interpreters that start with the first epoch, stay over epochs, serve
                all sequences of the process, and need no `if __name__ == "__main__"` in its script. False for threads, of
                which one is the one that asks. None, the default, is False; but while `fit`, `evaluate` or `predict` walks
                through a sequence with `workers=1` and without transforms, one process helps as soon as reading has
                taken as long as its start takes.
            max_queue_size: batches that may be under way or wait ready.
            timeout: seconds after which a worker process that gives no answer is replaced.

        Raises:
            OptionError: an argument cannot be used.
            SamplesError: the manifest has no rows, lies in packs, or its samples differ in dtype, or in shape without
                anything that gives them one.
            LabelError: labels or weights cannot be used, or labels are not of the mode's kind; their IDs are named.
            ShardError: the manifest does not say the samples' shape and dtype, and the first shard cannot be read.
        """
        present = set(vars(self))
        self._begin_as_keras_wants()
        self._worker_options = WorkerOptions(
            workers=workers, use_multiprocessing=use_multiprocessing, max_queue_size=max_queue_size, timeout=timeout
        )
        options = FeedOptions(
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            dtype=dtype,
            drop_remainder=drop_remainder,
            process_index=process_index,
            process_count=process_count,
            pad_to=pad_to,
            pad_value=pad_value,
            on_error=on_error,
            keep_cached=keep_cached,
        )
        if isinstance(manifest, Manifest):
            manifest = index_of_manifest(
                manifest, label_mode=label_mode, label=label, class_names=class_names, sample_weight=sample_weight, sampling=sampling
            )
        elif not isinstance(manifest, Index):
            raise OptionError(f"manifest must be a Manifest, as manifests.load_manifest returns it, got {manifest!r:.100}")
        elif label != "label":
            raise OptionError(f"label names columns of a manifest, and there is none here, got {label!r}")
        if class_weight is not None:
            manifest = with_class_weight(manifest, class_weight)
        if manifest.cumulative is not None and not shuffle:
            raise OptionError(f"sampling draws samples in random order and needs shuffle=True, got sampling={sampling!r}, shuffle=False")
        self._given = (transform, batch_transform)
        self._repeat = check_flag("repeat", repeat)
        self._assemble(manifest, options)
        self._own_names = frozenset(vars(self)) - present

    def _assemble(self, index: Index, options: FeedOptions) -> None:
        """Make the parts that hold on to files, threads and locks."""
        transform, batch_transform = self._given
        transforms = Transforms(sample=self._function(transform, "transform"), batch=self._function(batch_transform, "batch_transform"))
        self._feed = Feed(index, options, transforms)
        self._passes = self._pass_counter()
        self._readers = _readers(self._feed, self._worker_options)
        self._leader: Walk | None = None
        self._ledger = Ledger()
        self._override_passes = OverridePasses()
        self._warned: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy, or a pickle, is made of: it has workers of its own, and begins with the same pass."""
        parts = {name: value for name, value in vars(self).items() if name not in _NOT_COPIED}
        return parts | {"_parts": (self._feed.index, self._feed.options, self._passes.upcoming())}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make a copy."""
        index, options, upcoming = state.pop("_parts")
        vars(self).update(state)
        self._assemble(index, options)
        self._passes.jump(upcoming)

    @classmethod
    def from_ids(
        cls,
        list_IDs: Sequence[str],  # noqa: N803  # the name that readers of the tutorial know
        labels: Mapping[str, int | str | float] | None,
        *,
        data_dir: str | Path = "data",
        dim: Sequence[int] | int | None = (32, 32, 32),
        n_channels: int | None = 1,
        n_classes: int | None = None,
        sample_weight: Mapping[str, float] | None = None,
        sampling: Literal["balanced"] | None = None,
        **options: Unpack[SequenceOptions],
    ) -> Self:
        """Make a sequence without a manifest, of shards `data_dir/<ID>.npy` and a dict of labels.

        Args:
            list_IDs: the samples, in the order in which they come when not shuffled. An ID may stand more than once.
            labels: ID -> class index from 0, or name if `class_names` are given, or number with `label_mode="float"`. May be None
                if `label_mode` is.
            data_dir: the shards' folder.
            dim: the sample's axes but for the channels; X is (batch, *dim, n_channels). None: the shape of the first
                shard, whatever `n_channels` is.
            n_channels: length of the last axis; with 1, shards of shape `dim` are read too. None: as in the first shard.
            n_classes: number of classes; None: of `class_names`, else one more than the highest label.
            sample_weight: ID -> weight in the loss.
            sampling: as for the constructor, without its columns.
            options: the constructor's other arguments, with its defaults but for three, as in the tutorial: `shuffle` is on,
                `class_names` names the classes of `labels` in index order, and labels are classes unless `label_mode` is `float`.

        Raises:
            OptionError: an argument cannot be used.
            SamplesError: there are no IDs, or unsafe ones; all of them are listed.
            LabelError: IDs have no label or weight, or one that is none; they are listed.
            ShardError: the first shard, whose dtype is taken, cannot be read or has another shape.
        """
        index = index_of_ids(
            list_IDs,
            labels,
            data_dir=data_dir,
            dim=dim,
            n_channels=n_channels,
            n_classes=n_classes,
            label_mode=options.get("label_mode", "auto"),
            class_names=options.get("class_names"),
            sample_weight=sample_weight,
            sampling=sampling,
        )
        options.setdefault("shuffle", True)
        return cls(index, **options)

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
            return self._walked(index.pass_, number, index.walk)
        asked = index.pass_ if isinstance(index, BatchIndex) else self._override_passes.pass_of_thread(self._passes.current())
        if asked is not None:
            more, batch = divmod(number, self._feed.num_batches)
            return self._delivered(asked + more, batch, None)
        pass_, batch, is_next = self._passes.request(number)
        self._warn_of_repetition()
        is_next &= self._leader is None
        readers = None if isinstance(self._readers, Companion) or not is_next else self._readers
        return self._delivered(pass_, batch, readers, ahead=self._after(pass_, batch) if is_next else None)

    def __iter__(self) -> Iterator[Batch]:
        """Walk through the next pass, or through all that follow if `repeat` is set."""
        return self._batches()

    def __repr__(self) -> str:
        feed = self._feed
        return (
            f"<{type(self).__name__}: {len(feed.index)} samples {feed.shape} {feed.dtype}, {len(self)} batches of {self.batch_size}; "
            f"{'' if self.label_mode == 'float' else f'{len(self.class_names)} classes, '}label_mode {self.label_mode!r}; "
            f"{'shuffled by seed ' + str(feed.options.seed) if feed.options.shuffle else 'in order'}>"
        )

    @property
    def batch_size(self) -> int:
        """Samples in a batch."""
        return self._feed.options.batch_size

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in index order: column k of a one-hot y stands for `class_names[k]`; empty where y is numbers."""
        return self._feed.index.classes

    @property
    def whole_pass(self) -> int:
        """How many batches a whole pass has, also where `__len__` is overridden."""
        return self._feed.num_batches

    @property
    def repeats(self) -> bool:
        """Whether the passes follow each other without end."""
        return self._repeat

    @property
    def label_mode(self) -> LabelMode:
        """How labels reach the model; never `auto`, but what that came to."""
        codes = self._feed.index.codes
        return None if codes is None else codes.label_mode

    @property
    def n_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    @property
    def n_samples(self) -> int:
        """How many samples there are; a pass delivers each once, unless `drop_remainder` leaves some out."""
        return len(self._feed.index)

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

    @property
    def workers(self) -> int:
        """Processes or threads that work ahead, as it was passed; none of them is Keras' own."""
        return self._worker_options.workers

    @workers.setter
    def workers(self, value: int) -> None:
        self._employ(replace(self._worker_options, workers=value))

    @property
    def use_multiprocessing(self) -> bool | None:
        """Whether they are processes, as it was passed."""
        return self._worker_options.use_multiprocessing

    @use_multiprocessing.setter
    def use_multiprocessing(self, value: bool | None) -> None:
        self._employ(replace(self._worker_options, use_multiprocessing=value))

    @property
    def max_queue_size(self) -> int:
        """Batches that may be under way or wait ready, as it was passed."""
        return self._worker_options.max_queue_size

    @max_queue_size.setter
    def max_queue_size(self, value: int) -> None:
        self._employ(replace(self._worker_options, max_queue_size=value))

    def resume_at(self, next_batch: int, then: int | None = None) -> None:
        """Let the next walk begin at a batch, counted through all passes, and the one after it at another.

        It is for `ResumeCallback`: others may have walked through the sequence after the walk that is gone on with began.

        Args:
            next_batch: see the property.
            then: None for the pass behind it.
        """
        self._passes.jump(next_batch, then)

    def identity(self) -> Identity:
        """Return what decides the batches, as a dict that JSON can hold: equal for two sequences that give the same ones.

        Samples and labels are in it by their digests. What shards hold and what transforms do is not in it, nor is what changes
        no batch, such as the number of workers.
        """
        return identity_of(self._feed)

    @property
    def skipped(self) -> int:
        """How many samples could not be read, so that others stood for them; see `skipped_ids`."""
        return self._ledger.skipped

    @property
    def skipped_ids(self) -> dict[str, str]:
        """The IDs of samples that could not be read, with the reason; the first thousand."""
        return dict(self._ledger.reasons)

    def stats(self) -> Stats:
        """Return what the feed has done so far, and where the time went."""
        restarts = 0 if self._readers is None else self._readers.restarts
        return self._ledger.stats(max_queue_size=self._worker_options.max_queue_size, restarts=restarts)

    def transform(self, x: Any, y: Any, rng: np.random.Generator) -> Any:
        """Change one sample; for subclasses to override. Without an override, and without the argument, nothing is called.

        It runs in the workers, where `self` is not the sequence itself but has the subclass's methods and whatever its
        `__init__` put on the instance, so what it sets on `self` is not seen elsewhere. The script or module that the subclass
        stands in is not imported there.

        Args:
            x: shape `sample_shape`.
            y: what `label_mode` makes of the sample's label, without the batch axis; None without labels.
            rng: depends on (seed, pass, sample) alone.

        Returns:
            (x, y), or x alone where there are no labels; arrays, or dicts, lists and tuples of arrays.
        """
        del rng
        return x, y

    def batch_transform(self, X: Any, Y: Any, rng: np.random.Generator) -> Any:  # noqa: N803  # as in the tutorial: a whole batch
        """Change a batch; for subclasses to override, in the same way as `transform`.

        Returns:
            (X, Y), or (X, Y, weights), or X alone where there are no labels.
        """
        del rng
        return X, Y

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

    def close(self) -> None:
        """Use the workers no longer, which ends them if no other sequence does; the next epoch would start new ones.

        The interpreter's end does it too, and so do a few minutes without an epoch: TensorFlow holds on to every sequence
        that it was given, so that garbage collection may never come.
        """
        if self._readers is not None:
            self._readers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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
            if walk is not None and walk.sequence == id(self) and walk.delivered != (pass_, number) and self._skips:
                raise OptionError("with on_error='skip' the samples of a batch are known when it was read; ask for it before its ids")
        else:
            asked = self._override_passes.pass_of_thread(self._passes.current())
            is_person = threading.current_thread() is threading.main_thread()
            pass_ = self._passes.pass_of(number, is_person=is_person) if asked is None else asked
        more, batch = divmod(number, self._feed.num_batches)
        return self._ids(pass_ + more, batch)

    @property
    def _skips(self) -> bool:
        return self._feed.options.on_error == "skip"

    def _ids(self, pass_: int, batch: int) -> list[str]:
        """Return a batch's IDs, with those that stand for samples that could not be read."""
        return self._feed.ids(pass_, batch, self._ledger.unreadable)

    def _begin_as_keras_wants(self) -> None:
        """Begin as the base class that the shell adds asks for."""

    def _pass_counter(self) -> PassCounter:
        return PassCounter(self._feed.num_batches, repeat=self._repeat)

    def _employ(self, options: WorkerOptions) -> None:
        """Let others work ahead than those who did."""
        if options != self._worker_options:
            self.close()
            self._worker_options = options
            self._readers = _readers(self._feed, options)

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

    @classmethod
    def _shell(cls) -> type[ManifestBatches]:
        """Return the class that has Keras' base; those below it are the user's."""
        return next(class_ for class_ in cls.__mro__ if "is_shell" in vars(class_))

    @property
    def _is_overridden(self) -> bool:
        """Whether a subclass makes the batches itself."""
        return type(self).__getitem__ is not self._shell().__getitem__

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
        self._leader = walk
        try:
            for pass_, batch in walk.batches():
                if walk.by_keras:
                    self._passes.note_asked(walk)
                yield self._overridden(pass_, batch, walk) if self._is_overridden else self._walked(pass_, batch, walk)
        finally:
            if self._leader is walk:
                self._leader = None

    def _overridden(self, pass_: int, batch: int, walk: Walk) -> Batch:
        """Return what an override makes of a batch."""
        with self._override_passes.asking(pass_):
            return _standard(self[BatchIndex.of(batch, pass_, walk)], type(self).__name__)

    def _walked(self, pass_: int, batch: int, walk: Walk) -> Batch:
        """Return a batch that a walk is at.

        Those who read ahead forget what they have read when they are asked for something else, so they serve one walk: the last
        that was begun, until it ends.
        """
        if self._leader is None and walk.served:
            self._leader = walk
        leads = self._leader is walk and walk.delivered != (pass_, batch)  # an override may ask for its batch once more
        walk.delivered = (pass_, batch)
        readers = self._readers if leads and (walk.by_keras or not isinstance(self._readers, Companion)) else None
        return self._delivered(pass_, batch, readers, ahead=following(pass_, batch, walk.limit) if leads else None)

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
        if not self._is_overridden:
            return examples(self._feed)
        first = divmod(self._passes.upcoming(), self._feed.num_batches)
        look = Walk(0, 0, self._limit, self._feed.num_batches, sequence=id(self))
        keys = [first, *itertools.islice(following(*first, self._limit), min(2, self._limit) - 1)]
        return [self._overridden(*key, look) for key in keys]

    def _delivered(self, pass_: int, batch: int, readers: Readers | None, ahead: Iterable[Key] | None = None) -> Batch:
        """Return a batch, and write down what it took.

        Args:
            pass_: number of the pass.
            batch: number within it.
            readers: who reads this batch, and the next ones ahead; None for the feed itself.
            ahead: the batches that are likely to be asked for next; None if nobody knows.
        """
        asked = self._ledger.asked(walks=ahead is not None)
        ready = 0
        if readers is None or ahead is None:
            produced = self._feed.batch(pass_, batch, following=None if ahead is None else next(iter(ahead)))
        else:
            ready = readers.ready
            produced = readers.take((pass_, batch), ahead)
        if produced.skipped and not self._ledger.skipped:
            warnings.warn(
                f"{produced.skipped[0][1]}. Another sample stands for it, as on_error='skip' says; `skipped` counts them", stacklevel=3
            )
        self._ledger.handed_over(asked, produced.samples, ready, produced.seconds, produced.skipped)
        return produced.batch

    def _after(self, pass_: int, batch: int) -> Iterator[Key]:
        """Yield the batches behind one: of this pass and, as an epoch hardly comes alone, of the next."""
        return following(pass_, batch, self._limit)

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

    def _function(self, given: Transform | None, name: str) -> Transform | None:
        """Return a transform that was given as an argument or by overriding a method; None if neither was."""
        is_own = inspect.ismethod(given) and given.__self__ is self
        is_overridden = getattr(type(self), name) is not getattr(ManifestBatches, name)
        if name in vars(self) or (given is not None and is_overridden and not is_own):
            raise OptionError(f"{name} is given twice: pass it as an argument, or override the method in a subclass")
        if given is not None and not is_own:
            if not callable(given):
                raise OptionError(f"{name} must be a function of (x, y, rng), got {given!r}")
            return given
        name = given.__name__ if is_own and given is not None else name
        if given is None and getattr(type(self), name) is getattr(ManifestBatches, name):
            return None
        return Hook(owner=weakref.ref(self), name=name, base=self._shell(), attributes=ManifestBatches._users_attributes)

    def _users_attributes(self) -> dict[str, Any]:
        """Return what a subclass put on the instance, and what it may want to know of the sequence."""
        known = {"batch_size": self.batch_size, "class_names": self.class_names, "n_classes": self.n_classes, "label_mode": self.label_mode}
        return known | {name: value for name, value in vars(self).items() if name not in self._own_names and name != "_own_names"}

    def _from_start(self, index: int) -> int:
        """Return a batch's number from the pass's beginning."""
        index = int(operator.index(index))
        if self._repeat and index >= 0:
            return index
        limit = self._limit
        if not -limit <= index < limit:
            raise BatchIndexError(f"no batch {index}; the sequence has {limit}, from 0")
        return index % limit


def _standard(batch: Any, name: str) -> Batch:
    """Return what an override returned as a tuple without parts that are None, which Keras takes for the end of the batch."""
    if not isinstance(batch, list | tuple):
        return batch
    parts = list(batch)
    while len(parts) > 1 and parts[-1] is None:
        parts.pop()
    if any(part is None for part in parts):
        raise TransformError(f"{name}.__getitem__ returned None for one of {len(batch)} parts, expected (X,), (X, y) or (X, y, weights)")
    return tuple(parts)


def _readers(feed: Feed, options: WorkerOptions) -> Readers | None:
    """Return who reads ahead; None if nobody does."""
    if options.use_multiprocessing and options.workers > 0:
        return Workers(feed, options.workers, options.max_queue_size, options.timeout)
    if options.workers > 1:
        return Threads(feed, options.workers, options.max_queue_size)
    # What a transform does beside returning a batch, such as counting, would be done elsewhere from one batch to the next.
    if options.use_multiprocessing is None and options.workers == 1 and feed.transforms == Transforms():
        return Companion(feed, options.max_queue_size, options.timeout)
    return None
