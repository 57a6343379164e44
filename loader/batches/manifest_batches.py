"""`ManifestBatches`: what the sequences for Keras 3 and for legacy Keras share, without importing either."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, Unpack

import numpy as np
import numpy.typing as npt

from loader.batches.delivery import Delivery
from loader.batches.overrides import transform_of
from loader.batches.walks import BatchWalks
from loader.errors import OptionError
from loader.feed.feed import Feed
from loader.feed.index.class_weight import with_class_weight
from loader.feed.index.from_ids import index_of_ids
from loader.feed.index.from_manifest import index_of_manifest
from loader.feed.index.index import Index
from loader.feed.index.manifest_watch import ManifestWatch
from loader.feed.options import FeedOptions, OnError, SequenceOptions, WorkerOptions, check_flag
from loader.feed.targets.labels import LabelMode
from loader.feed.transforms import Transform, Transforms
from loader.passes.counter import PassCounter
from loader.passes.index_with_pass import OverridePasses
from manifests.manifest import Manifest

_NOT_COPIED = frozenset({"_feed", "_passes", "_delivery", "_override_passes", "_walks", "_warned"})
"""Attributes that hold on to files, threads or locks, or to what has happened; a copy makes its own."""


class ManifestBatches(BatchWalks):
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
        worker_options = WorkerOptions(
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
        self._watch = None
        if isinstance(manifest, Manifest):
            self._watch = ManifestWatch.of(manifest)
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
        self._assemble(manifest, options, worker_options)
        self._own_names = frozenset(vars(self)) - present

    def _assemble(self, index: Index, options: FeedOptions, worker_options: WorkerOptions) -> None:
        """Make the parts that hold on to files, threads and locks."""
        sample, batch = (
            transform_of(self, given, name, ManifestBatches, ManifestBatches._users_attributes)
            for name, given in zip(("transform", "batch_transform"), self._given, strict=True)
        )
        self._feed = Feed(index, options, Transforms(sample=sample, batch=batch))
        self._passes = self._pass_counter()
        self._delivery = Delivery(self._feed, worker_options, self._watch)
        self._override_passes = OverridePasses()
        self._warned: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy, or a pickle, is made of: it has workers of its own, and begins with the same pass."""
        parts = {name: value for name, value in vars(self).items() if name not in _NOT_COPIED}
        return parts | {"_parts": (self._feed.index, self._feed.options, self._delivery.options, self._passes.upcoming())}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make a copy."""
        *parts, upcoming = state.pop("_parts")
        vars(self).update(state)
        self._assemble(*parts)
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

    def __repr__(self) -> str:
        feed = self._feed
        return (
            f"<{type(self).__name__}: {len(feed.index)} samples {feed.shape} {feed.dtype}, {len(self)} batches of {self.batch_size}; "
            f"{'' if self.label_mode == 'float' else f'{len(self.class_names)} classes, '}label_mode {self.label_mode!r}; "
            f"{'shuffled by seed ' + str(feed.options.seed) if feed.options.shuffle else 'in order'}>"
        )

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

    def close(self) -> None:
        """Use the workers no longer, which ends them if no other sequence does; the next epoch would start new ones.

        The interpreter's end does it too, so do a few minutes without an epoch, and a sequence that nobody walks through lets go
        of all that it has when several others are used: TensorFlow holds on to every sequence that it was given, so that garbage
        collection may never come.
        """
        self._delivery.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin_as_keras_wants(self) -> None:
        """Begin as the base class that the shell adds asks for."""

    def _pass_counter(self) -> PassCounter:
        return PassCounter(self._feed.num_batches, repeat=self._repeat)

    def _users_attributes(self) -> dict[str, Any]:
        """Return what a subclass put on the instance, and what it may want to know of the sequence."""
        known = {"batch_size": self.batch_size, "class_names": self.class_names, "n_classes": self.n_classes, "label_mode": self.label_mode}
        return known | {name: value for name, value in vars(self).items() if name not in self._own_names and name != "_own_names"}
