"""Batches as a `tf.data.Dataset`: the only file that imports TensorFlow, and only when a dataset is made."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from loader.errors import TransformError
from loader.feed.feed import Batch, Feed
from loader.feed.targets.labels import targets
from loader.feed.tree import Tree, filled, form, leaves
from manifests.format.npyfile import AnyArray

INFINITE = -1
"""The length of a walk without end, as TensorFlow has it."""

_ENDLESS = (1 << 63) - 1
"""Batches of a walk without end."""


def dataset_of(
    feed: Feed, begin: Callable[[], tuple[int | None, Iterator[Batch]]], examples: Sequence[Batch], *, length: int | None
) -> Any:
    """Return the batches as a `tf.data.Dataset`, with shapes as static as they are.

    Args:
        feed: whose batches.
        begin: begins an iteration over the dataset: returns how many batches it has, None for no end, and an iterator of them.
        examples: one or two batches, with the shapes and dtypes of all.
        length: batches in an iteration, or `INFINITE`; None for whatever the walk has.

    Returns:
        Its elements are the batches, with tuples in place of lists. The batch axis is static if all batches are of one size.

    Raises:
        ImportError: TensorFlow is not installed.
    """
    try:
        import tensorflow as tf  # noqa: PLC0415  # users of other backends have none
    except ImportError as error:
        raise ImportError("as_tf_dataset needs TensorFlow: pip install 'shardfeed[tensorflow]'") from error

    walks = _Walks(tf, begin, _specs(tf, feed, examples))
    dataset = tf.data.Dataset.from_generator(walks.begin, output_signature=(tf.TensorSpec((), tf.int64),) * 2).flat_map(walks.dataset)
    if length is not None:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(length))
    options = tf.data.Options()
    if feed.options.process_count > 1:
        # Each process gets its own part of every batch; TensorFlow would give each every n-th batch of that.
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.with_options(options).prefetch(tf.data.AUTOTUNE)


def examples(feed: Feed) -> list[Batch]:
    """Return one or two batches that have the shapes, but for the batch axis, and dtypes of all of them, and hold anything.

    Raises:
        ShardError, TransformError: as for `Feed.batch`; with transforms, the first batches of pass 0 tell the shapes.
    """
    transforms = feed.transforms
    if feed.shape is None or feed.options.pad_to is not None or transforms.sample is not None or transforms.batch is not None:
        return [feed.batch(0, batch).batch for batch in range(min(2, feed.num_batches))]
    x = np.empty((0, *feed.shape), feed.dtype)
    codes, weights = feed.index.codes, feed.index.weights
    if codes is None:
        return [x]
    y = targets(codes, np.empty(0, np.int64))
    return [(x, y) if weights is None else (x, y, weights[:0])]


def _specs(tf: Any, feed: Feed, batches: Sequence[Batch]) -> Any:
    """Return a tree of `tf.TensorSpec` for some batches, with None for axes whose length differs."""
    rows = len(feed.positions(0, 0))

    def spec(*arrays: Any) -> Any:
        lengths = [set(axis) for axis in zip(*(array.shape for array in arrays), strict=True)]
        axes = [axis.pop() if len(axis) == 1 else None for axis in lengths]
        if axes:  # what a batch transform makes of the batch axis is its own affair
            axes[0] = feed.constant_rows if axes[0] in {0, None, rows} else None
        return tf.TensorSpec(axes, tf.as_dtype(arrays[0].dtype))

    return tf.nest.map_structure(spec, *map(_plain, batches))


class _Walks:
    """Walks that TensorFlow takes its batches from."""

    def __init__(self, tf: Any, begin: Callable[[], tuple[int | None, Iterator[Batch]]], specs: Tree) -> None:
        self._tf = tf
        self._begin = begin
        self._form = form(specs)
        self._specs = leaves(specs)
        self._axes = [(spec.dtype.as_numpy_dtype, spec.shape.as_list()) for spec in self._specs]
        self._walks: dict[int, Iterator[Batch]] = {}
        self._numbers = itertools.count()

    def begin(self) -> Iterator[tuple[int, int]]:
        """Yield the number of a new walk and how many batches it has, and end it when TensorFlow lets go of its iterator."""
        number = next(self._numbers)
        length, self._walks[number] = self._begin()
        try:
            yield number, _ENDLESS if length is None else length
        finally:
            del self._walks[number]

    def dataset(self, number: Any, length: Any) -> Any:
        """Return the batches of a walk as a dataset."""
        tf = self._tf

        def batch(_: Any) -> Any:
            arrays = tf.numpy_function(self._next, [number], [spec.dtype for spec in self._specs])
            arrays = list(arrays) if isinstance(arrays, list | tuple) else [arrays]
            for array, spec in zip(arrays, self._specs, strict=True):
                array.set_shape(spec.shape)
            return filled(self._form, arrays)

        return tf.data.Dataset.range(length).map(batch)

    def _next(self, number: Any) -> list[AnyArray]:
        """Return the arrays of a walk's next batch.

        Raises:
            TransformError: they are not as the examples were.
        """
        batch = _plain(next(self._walks[int(number)]))
        arrays: list[AnyArray] = leaves(batch)
        if form(batch) != self._form:
            raise TransformError(f"a batch is {form(batch)}, expected {self._form} as the first ones (arrays by number); return one form")
        for array, (dtype, axes) in zip(arrays, self._axes, strict=True):
            if array.dtype != dtype or len(axes) != array.ndim or any(a not in {None, b} for a, b in zip(axes, array.shape, strict=True)):
                raise TransformError(
                    f"a batch has shape {array.shape} and dtype {array.dtype}, expected {tuple(axes)} and {np.dtype(dtype)} as in the "
                    "first ones; return one shape and dtype in every batch"
                )
        return arrays


def _plain(tree: Tree) -> Tree:
    """Return a tree of NumPy arrays, with tuples in place of lists, which TensorFlow takes for arrays, and its own order of dicts."""
    if isinstance(tree, dict):
        return {name: _plain(tree[name]) for name in sorted(tree)}
    if isinstance(tree, list | tuple):
        return tuple(map(_plain, tree))
    array = np.asarray(tree)  # an override may return tensors of any library
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
