"""`tf.data` over per-ID files: as its guides write it, and in a way that turned out to be faster where files are small."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
from pipelines import HEADER_BYTES, Begin, Files, Open

N_CLASSES = 10

PARALLEL = {"AUTOTUNE": tf.data.AUTOTUNE, "4 at a time": 4}


def a_file_a_call(files: Files) -> dict[str, tf.data.Dataset]:
    """Return pipelines whose parallel `map` reads one file a call, and which batch what it returns."""

    def read(path: Any, label: Any) -> tuple[Any, Any]:
        return tf.reshape(_elements(path), files.shape), tf.one_hot(label, N_CLASSES)

    def dataset(parallel: int) -> tf.data.Dataset:
        samples = _shuffled(files).map(read, num_parallel_calls=parallel, deterministic=False)
        return samples.batch(files.batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)

    return {f"a file a `map` call, {name}": dataset(parallel) for name, parallel in PARALLEL.items()}


def a_batch_a_call(files: Files) -> dict[str, tf.data.Dataset]:
    """Return pipelines that batch the paths first: a call of the parallel `map` reads all files of a batch."""

    def read(paths: Any, labels: Any) -> tuple[Any, Any]:
        x = tf.stack([_elements(path) for path in tf.unstack(paths)])  # (batch, elements)
        return tf.reshape(x, (files.batch_size, *files.shape)), tf.one_hot(labels, N_CLASSES)

    def dataset(parallel: int) -> tf.data.Dataset:
        batches = _shuffled(files).batch(files.batch_size, drop_remainder=True)
        return batches.map(read, num_parallel_calls=parallel, deterministic=False).prefetch(tf.data.AUTOTUNE)

    return {f"a batch of files a `map` call, {name}": dataset(parallel) for name, parallel in PARALLEL.items()}


def walks(datasets: dict[str, tf.data.Dataset]) -> dict[str, Open]:
    """Return what opens each of the pipelines for walking."""

    @contextmanager
    def open_(dataset: tf.data.Dataset) -> Iterator[Begin]:
        yield lambda: iter(dataset)

    def opens(dataset: tf.data.Dataset) -> Callable[[], Any]:
        return lambda: open_(dataset)

    return {name: opens(dataset) for name, dataset in datasets.items()}


def _shuffled(files: Files) -> tf.data.Dataset:
    """Return (path, label) pairs, all of them in a new order in each pass."""
    return tf.data.Dataset.from_tensor_slices((files.paths, files.labels)).shuffle(len(files.paths))


def _elements(path: Any) -> Any:
    """Read a shard's elements, flat; dropping the header after decoding copies nothing."""
    return tf.io.decode_raw(tf.io.read_file(path), tf.float32)[HEADER_BYTES // tf.float32.size :]
