"""`ManifestBatches`: all that a sequence is but for its base class, which Keras and legacy Keras have one of each. It knows neither."""

from __future__ import annotations

import inspect
import itertools
import threading
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, Unpack

import numpy as np
import numpy.typing as npt

from loader.companion import Companion
from loader.errors import BatchIndexError, OptionError
from loader.feed import Batch, Feed
from loader.identity import Identity, identity_of
from loader.index import Index, index_of_ids, index_of_manifest
from loader.labels import LabelMode
from loader.options import FeedOptions, OnError, SequenceOptions, WorkerOptions, check_flag, check_integer
from loader.passes import PassCounter
from loader.portable import Hook
from loader.stats import Ledger, Stats
from loader.tfdata import dataset_of
from loader.threads import Threads
from loader.transforms import Transform, Transforms
from loader.walker import asking_generator, is_keras
from loader.workers import Workers
from manifests.manifest import Manifest

Readers = Workers | Threads | Companion
"""Who makes batches ahead."""


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
        label_mode: LabelMode = "categorical",
        class_names: Sequence[str] | None = None,
        sample_weight: str | None = None,
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
                are encoded: `label_mode`, `class_names`, `sample_weight` and `sampling` do not count then.
            batch_size: samples in a batch; a pass's last batch may have fewer.
            shuffle: a new order in each pass, fixed by `seed`. Off, as evaluating and predicting want it; training
                wants it on.
            seed: any integer, of any size and sign.
            label_mode: Keras' words. `categorical`: y is one-hot, float32, (batch, n_classes). `int`: int32, (batch,).
                `binary`: float32, (batch, 1), for exactly two classes. `multi_hot`: float32, (batch, n_classes), for
                labels like `a;b`. None: batches are X alone.
            class_names: all classes in index order, instead of the manifest's own; each label must be one of them.
            sample_weight: the column with each sample's weight in the loss; batches are then (X, y, weights), the
                weights float32, (batch,).
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
            LabelError: labels or weights cannot be used; their IDs are named.
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
                manifest, label_mode=label_mode, class_names=class_names, sample_weight=sample_weight, sampling=sampling
            )
        elif not isinstance(manifest, Index):
            raise OptionError(f"manifest must be a Manifest, as manifests.load_manifest returns it, got {manifest!r:.100}")
        if manifest.cumulative is not None and not shuffle:
            raise OptionError(f"sampling draws samples in random order and needs shuffle=True, got sampling={sampling!r}, shuffle=False")
        transforms = Transforms(sample=self._function(transform, "transform"), batch=self._function(batch_transform, "batch_transform"))
        self._feed = Feed(manifest, options, transforms)
        self._repeat = check_flag("repeat", repeat)
        self._passes = self._pass_counter()
        self._readers = _readers(self._feed, self._worker_options)
        self._ledger = Ledger()
        self._is_read_ahead = threading.Lock()
        self._own_names = frozenset(vars(self)) - present

    @classmethod
    def from_ids(
        cls,
        list_IDs: Sequence[str],  # noqa: N803  # the name that readers of the tutorial know
        labels: Mapping[str, int | str] | None,
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
            labels: ID -> class index from 0, or name if `class_names` are given. May be None if `label_mode` is.
            data_dir: the shards' folder.
            dim: the sample's axes but for the channels; X is (batch, *dim, n_channels). None: the shape of the first
                shard, whatever `n_channels` is.
            n_channels: length of the last axis; with 1, shards of shape `dim` are read too. None: as in the first shard.
            n_classes: number of classes; None: of `class_names`, else one more than the highest label.
            sample_weight: ID -> weight in the loss.
            sampling: as for the constructor, without its columns.
            options: the constructor's other arguments, with its defaults but for two, as in the tutorial: `shuffle` is on,
                and `class_names` names the classes of `labels` in index order.

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
            label_mode=options.get("label_mode", "categorical"),
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

        Keras, and a `for` loop over the sequence, get the pass's batches in their own order instead, also where `fit` names
        them in an order that it shuffles itself, as it does by default: else nobody could work ahead.

        Returns:
            (X, y), or X if `label_mode` is None, or (X, y, weights) with `sample_weight`; the caller's own arrays.

        Raises:
            BatchIndexError: there is no such batch.
            ShardError: a shard is missing, damaged, unsafe, or of another shape or dtype.
            TransformError: a transform returned what no batch can be made of. What it raises itself comes as it is, with
                the sample's ID and, from a worker, the traceback there as notes.
            WorkerError: worker processes died or hung twice at this batch, or cannot be started.
        """
        walker = asking_generator(self, index)
        pass_, batch, goes_on = self._passes.serve(self._from_start(index), walker)
        helps = goes_on and (not isinstance(self._readers, Companion) or is_keras(walker))
        return self._delivered(pass_, batch, self._readers if helps else None, walks=goes_on)

    def __iter__(self) -> Iterator[Batch]:
        """Walk through the next pass, or through all that follow if `repeat` is set."""
        length = self._passes.length(asking_generator(self))
        for index in itertools.count() if length is None else range(length):
            yield self[index]

    def __repr__(self) -> str:
        feed = self._feed
        return (
            f"<{type(self).__name__}: {len(feed.index)} samples {feed.shape} {feed.dtype}, {len(self)} batches of {self.batch_size}; "
            f"{len(self.class_names)} classes, label_mode {self.label_mode!r}; "
            f"{'shuffled by seed ' + str(feed.options.seed) if feed.options.shuffle else 'in order'}>"
        )

    @property
    def batch_size(self) -> int:
        """Samples in a batch."""
        return self._feed.options.batch_size

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in index order: column k of a one-hot y stands for `class_names[k]`."""
        return self._feed.index.classes

    @property
    def repeats(self) -> bool:
        """Whether the passes follow each other without end."""
        return self._repeat

    @property
    def label_mode(self) -> LabelMode:
        """How labels reach the model."""
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
        return self._passes.current()

    @pass_number.setter
    def pass_number(self, number: int) -> None:
        self._passes.jump(check_integer("pass_number", number, minimum=0) * len(self))

    @property
    def next_batch(self) -> int:
        """The batch that the next epoch begins with, counted through all passes: batch b of pass p is p * len(self) + b.

        Setting it lets the next epoch begin there, in the middle of a pass too, and end with that pass. No batch before it is
        read. `loader.ResumeCallback` does so for `fit`; a training loop of one's own stores it with the weights.
        """
        return self._passes.upcoming()

    @next_batch.setter
    def next_batch(self, number: int) -> None:
        self._passes.jump(check_integer("next_batch", number, minimum=0))

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
            OptionError: `__getitem__` is overridden, which nobody would call.
            ShardError, TransformError: with transforms, a first batch tells the shapes, and cannot be made.
        """
        if type(self).__getitem__ is not ManifestBatches.__getitem__:
            raise OptionError(
                f"as_tf_dataset takes batches from the feed, so {type(self).__name__}.__getitem__ would not be called; "
                "override batch_transform instead"
            )
        return dataset_of(self._feed, self._walk, length=None if self._repeat else len(self))

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

        After `predict` the predictions line up with `ids()`.

        Args:
            index: of the batch, as for `sequence[index]`; None for all batches, one after the other.

        Raises:
            BatchIndexError: there is no such batch.
        """
        pass_ = self.pass_number
        if index is not None:
            more, batch = divmod(self._from_start(index), len(self))
            return self._feed.ids(pass_ + more, batch)
        return [id_ for batch in range(len(self)) for id_ in self._feed.ids(pass_, batch)]

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

    def _walk(self) -> Iterator[Batch]:
        """Yield the batches of the next pass, whatever others ask for meanwhile."""
        first, length = self._passes.claim()
        # Readers forget what was read ahead when they are asked for something else, so each of two walks has its own.
        is_free = self._is_read_ahead.acquire(blocking=False)
        readers = self._readers if is_free else _readers(self._feed, self._worker_options)
        try:
            for number in itertools.count(first) if length is None else range(first, first + length):
                yield self._delivered(*divmod(number, len(self)), readers, walks=True)
        finally:
            if is_free:
                self._is_read_ahead.release()

    def _delivered(self, pass_: int, batch: int, readers: Readers | None, *, walks: bool) -> Batch:
        """Return a batch, and write down what it took.

        Args:
            pass_: number of the pass.
            batch: number within it.
            readers: who reads this batch, and the next ones ahead; None for the feed itself.
            walks: whether the next batch is likely to be asked for next.
        """
        asked = self._ledger.asked(walks=walks)
        ready = 0
        if readers is None:
            produced = self._feed.batch(pass_, batch, following=next(self._after(pass_, batch)) if walks else None)
        else:
            ready = readers.ready
            produced = readers.take((pass_, batch), self._after(pass_, batch))
        if produced.skipped and not self._ledger.skipped:
            warnings.warn(
                f"{produced.skipped[0][1]}. Another sample stands for it, as on_error='skip' says; `skipped` counts them", stacklevel=3
            )
        self._ledger.handed_over(asked, produced.samples, ready, produced.seconds, produced.skipped)
        return produced.batch

    def _after(self, pass_: int, batch: int) -> Iterator[tuple[int, int]]:
        """Yield the batches that will be wanted after one: of this pass and, as an epoch hardly comes alone, of the next."""
        number = pass_ * len(self) + batch
        return (divmod(later, len(self)) for later in itertools.count(number + 1))

    def _function(self, given: Transform | None, name: str) -> Transform | None:
        """Return a transform that was given as an argument or by overriding a method; None if neither was."""
        is_own = inspect.ismethod(given) and given.__self__ is self
        if given is not None and not is_own:
            if not callable(given):
                raise OptionError(f"{name} must be a function of (x, y, rng), got {given!r}")
            return given
        name = given.__name__ if is_own and given is not None else name
        if given is None and getattr(type(self), name) is getattr(ManifestBatches, name):
            return None
        shell = next(class_ for class_ in type(self).__mro__ if "is_shell" in vars(class_))
        return Hook(owner=weakref.ref(self), name=name, base=shell, attributes=ManifestBatches._users_attributes)

    def _users_attributes(self) -> dict[str, Any]:
        """Return what a subclass put on the instance, and what it may want to know of the sequence."""
        known = {"batch_size": self.batch_size, "class_names": self.class_names, "n_classes": self.n_classes, "label_mode": self.label_mode}
        return known | {name: value for name, value in vars(self).items() if name not in self._own_names and name != "_own_names"}

    def _from_start(self, index: int) -> int:
        """Return a batch's number from the pass's beginning."""
        if self._repeat and index >= 0:
            return index
        if not -len(self) <= index < len(self):
            raise BatchIndexError(f"no batch {index}; the sequence has {len(self)}, from 0")
        return index % len(self)


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
