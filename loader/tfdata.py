"""Batches as a `tf.data.Dataset`. TensorFlow is imported when one is asked for, and nowhere else in the project."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from loader.feed import Batch, Feed
from loader.labels import targets
from loader.tree import Tree, mapped


def dataset_of(feed: Feed, walk: Callable[[], Iterator[Batch]], *, length: int | None) -> Any:
    """Return the batches as a `tf.data.Dataset`, with shapes as static as they are.

    Args:
        feed: whose batches.
        walk: yields those of one iteration over the dataset.
        length: batches in an iteration; None for no end.

    Returns:
        Its elements are the batches, with tuples in place of lists. The batch axis is static if all batches are of one size.

    Raises:
        ImportError: TensorFlow is not installed.
        ShardError, TransformError: as for `Feed.batch`; with transforms, batch 0 of pass 0 tells the shapes.
    """
    try:
        import tensorflow as tf  # noqa: PLC0415  # users of other backends have none
    except ImportError as error:
        raise ImportError("as_tf_dataset needs TensorFlow: pip install 'shardfeed[tensorflow]'") from error

    rows = len(feed.positions(0, 0))

    def specified(array: Any) -> Any:
        # What a batch transform makes of the batch axis is its own affair.
        axis = feed.constant_rows if len(array.shape[:1]) and array.shape[0] in {0, rows} else None
        return tf.TensorSpec((axis, *array.shape[1:]) if array.ndim else (), tf.as_dtype(array.dtype))

    def batches() -> Iterator[Batch]:
        return map(_without_lists, walk())

    dataset = tf.data.Dataset.from_generator(batches, output_signature=mapped(specified, _without_lists(example(feed))))
    count = tf.data.INFINITE_CARDINALITY if length is None else length
    options = tf.data.Options()
    # Each process gets its own part of every batch (`process_index`); TensorFlow would give each every n-th batch of that.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.apply(tf.data.experimental.assert_cardinality(count)).with_options(options).prefetch(tf.data.AUTOTUNE)


def example(feed: Feed) -> Batch:
    """Return a batch that has the shapes, but for the batch axis, and dtypes of all of them, and holds anything."""
    transforms = feed.transforms
    if feed.shape is None or feed.options.pad_to is not None or transforms.sample is not None or transforms.batch is not None:
        return feed.batch(0, 0).batch
    x = np.empty((0, *feed.shape), feed.dtype)
    codes, weights = feed.index.codes, feed.index.weights
    if codes is None:
        return x
    y = targets(codes, np.empty(0, np.int64))
    return (x, y) if weights is None else (x, y, weights[:0])


def _without_lists(tree: Tree) -> Tree:
    """Return a tree with tuples in place of lists, which TensorFlow takes for arrays."""
    if isinstance(tree, dict):
        return {name: _without_lists(part) for name, part in tree.items()}
    return tuple(map(_without_lists, tree)) if isinstance(tree, list | tuple) else tree
