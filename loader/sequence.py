"""`ManifestSequence`: a feed as Keras wants it. The only file of the project that imports Keras."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import keras
import numpy.typing as npt

from loader.errors import BatchIndexError, OptionError
from loader.feed import Batch, Feed
from loader.index import Index, index_of_ids, index_of_manifest
from loader.labels import LabelMode
from loader.options import FeedOptions, WorkerOptions
from loader.passes import PassCounter
from loader.threads import Threads
from loader.workers import Workers
from manifests.manifest import Manifest


class ManifestSequence(keras.utils.PyDataset):  # type: ignore[misc]  # Keras ships no types
    """Batches of a manifest's samples, for `fit`, `evaluate` and `predict` on every backend of Keras 3.

    ```python
    manifest = load_manifest("data")
    train = ManifestSequence(manifest.split("train"), batch_size=64, shuffle=True, seed=0)
    model.fit(train, validation_data=ManifestSequence(manifest.split("val"), batch_size=64))
    ```

    A batch depends on the manifest, the seed, the number of the pass, and its own number, and on nothing else: neither
    on the order of calls nor on global random state. A new sequence is in pass 0, and each epoch of `fit` is the next
    pass. A person who walks through the batches by hand calls `on_epoch_end()` between two passes.

    During an epoch batches come in the pass's own order, also where `fit` asks for them in an order that it shuffles
    itself, as it does by default. Outside of one, `sequence[i]` is batch i of the current pass.
    """

    def __init__(
        self,
        manifest: Manifest | Index,
        *,
        batch_size: int = 32,
        shuffle: bool = False,
        seed: int = 0,
        label_mode: LabelMode = "categorical",
        class_names: Sequence[str] | None = None,
        dtype: npt.DTypeLike | None = None,
        drop_remainder: bool = False,
        workers: int = 1,
        use_multiprocessing: bool = False,
        max_queue_size: int = 10,
    ) -> None:
        """Check the arguments, encode all labels, and open the dataset's folder.

        Args:
            manifest: the samples, in the order in which they come when not shuffled. Or an index of them, whose labels
                are encoded: `label_mode` and `class_names` do not count then.
            batch_size: samples in a batch; a pass's last batch may have fewer.
            shuffle: a new order in each pass, fixed by `seed`. Off, as evaluating and predicting want it; training
                wants it on.
            seed: any integer, of any size and sign.
            label_mode: Keras' words. `categorical`: y is one-hot, float32, (batch, n_classes). `int`: int32, (batch,).
                `binary`: float32, (batch, 1), for exactly two classes. `multi_hot`: float32, (batch, n_classes), for
                labels like `a;b`. None: batches are X alone.
            class_names: all classes in index order, instead of the manifest's own; each label must be one of them.
            dtype: that X is converted to, by value and without scaling; None keeps the shards' own.
            drop_remainder: leave out a pass's last batch when it is not full.
            workers: processes or threads that read ahead during an epoch. 0, and 1 without `use_multiprocessing`, read in
                the thread that asks for the batch. The batches are the same, whatever the number.
            use_multiprocessing: processes instead of threads. They are fresh interpreters, start with the first epoch, stay
                over epochs, and need no `if __name__ == "__main__"` in the caller's script.
            max_queue_size: batches that may be under way or wait ready.

        Raises:
            OptionError: an argument cannot be used.
            SamplesError: the manifest has no rows, lies in packs, or its samples differ in shape or dtype.
            LabelError: labels cannot be encoded; their IDs are named.
            ShardError: the manifest does not say the samples' shape and dtype, and the first shard cannot be read.
        """
        # Keras' own workers pickle every batch, and hang when one of them dies.
        super().__init__(workers=1, use_multiprocessing=False, max_queue_size=10)
        self._worker_options = WorkerOptions(workers=workers, use_multiprocessing=use_multiprocessing, max_queue_size=max_queue_size)
        options = FeedOptions(batch_size=batch_size, shuffle=shuffle, seed=seed, dtype=dtype, drop_remainder=drop_remainder)
        if isinstance(manifest, Manifest):
            manifest = index_of_manifest(manifest, label_mode=label_mode, class_names=class_names)
        elif not isinstance(manifest, Index):
            raise OptionError(f"manifest must be a Manifest, as manifests.load_manifest returns it, got {manifest!r:.100}")
        self._feed = Feed(manifest, options)
        self._passes = PassCounter(self._feed.num_batches)
        self._readers = _readers(self._feed, self._worker_options)

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
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int = 0,
        label_mode: LabelMode = "categorical",
        class_names: Sequence[str] | None = None,
        dtype: npt.DTypeLike | None = None,
        drop_remainder: bool = False,
        workers: int = 1,
        use_multiprocessing: bool = False,
        max_queue_size: int = 10,
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
            batch_size: samples in a batch.
            shuffle: on, as in the tutorial.
            seed: as for the constructor, like the rest.
            label_mode: see there.
            class_names: names of the classes in index order; None names them by their index.
            dtype: see there.
            drop_remainder: see there; the tutorial's generator always leaves a batch out that is not full.
            workers: see there.
            use_multiprocessing: see there.
            max_queue_size: see there.

        Raises:
            OptionError: an argument cannot be used.
            SamplesError: there are no IDs, or unsafe ones; all of them are listed.
            LabelError: IDs have no label, or one that is no class; they are listed.
            ShardError: the first shard, whose dtype is taken, cannot be read or has another shape.
        """
        index = index_of_ids(
            list_IDs,
            labels,
            data_dir=data_dir,
            dim=dim,
            n_channels=n_channels,
            n_classes=n_classes,
            label_mode=label_mode,
            class_names=class_names,
        )
        return cls(
            index,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            dtype=dtype,
            drop_remainder=drop_remainder,
            workers=workers,
            use_multiprocessing=use_multiprocessing,
            max_queue_size=max_queue_size,
        )

    def __len__(self) -> int:
        """Return the number of batches in a pass."""
        return self._feed.num_batches

    def __getitem__(self, index: int) -> Batch:
        """Read batch `index` of the current pass, or while an epoch runs the next one of it; negative numbers count from the end.

        Returns:
            (X, y), or X if `label_mode` is None; fresh arrays.

        Raises:
            BatchIndexError: there is no such batch.
            ShardError: a shard is missing, damaged, unsafe, or of another shape or dtype.
        """
        index = self._from_start(index)
        pass_, batch, walks = self._passes.serve(self._from_start(index))
        if self._readers is None or not walks:
            return self._feed.batch(pass_, batch)
        return self._readers.take((pass_, batch), self._after(pass_, batch))

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
        """The pass, from 0, that batches asked for now belong to; after `fit` and `predict` the one that just ran."""
        return self._passes.current()

    def close(self) -> None:
        """End the workers; the next epoch would start new ones.

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

        After `predict` the predictions line up with `ids()`. While an epoch runs, batches are handed out in this order too,
        whatever index is named: batch i is then the i-th that is asked for.

        Args:
            index: of the batch, as for `sequence[index]`; None for all batches, one after the other.

        Raises:
            BatchIndexError: there is no such batch.
        """
        pass_ = self.pass_number
        if index is not None:
            return self._feed.ids(pass_, self._from_start(index))
        return [id_ for batch in range(len(self)) for id_ in self._feed.ids(pass_, batch)]

    def on_epoch_begin(self) -> None:
        """Note that an epoch begins; Keras calls it."""
        self._passes.begin()

    def on_epoch_end(self) -> None:
        """Note that an epoch ended: the next batch belongs to the next pass. Keras calls it, or whoever walks by hand."""
        self._passes.end()

    def _after(self, pass_: int, batch: int) -> Iterator[tuple[int, int]]:
        """Yield the batches that will be wanted after one: of this pass and, as an epoch hardly comes alone, of the next."""
        yield from ((pass_, later) for later in range(batch + 1, len(self)))
        yield from ((pass_ + 1, later) for later in range(len(self)))

    def _from_start(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise BatchIndexError(f"no batch {index}; the sequence has {len(self)}, from 0")
        return index % len(self)


def _readers(feed: Feed, options: WorkerOptions) -> Workers | Threads | None:
    """Return who reads ahead; None if nobody does."""
    if options.use_multiprocessing and options.workers > 0:
        return Workers(feed, options.workers, options.max_queue_size)
    if options.workers > 1:
        return Threads(feed, options.workers, options.max_queue_size)
    return None
