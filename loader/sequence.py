"""`ManifestSequence` for Keras 3: a feed as a `keras.utils.PyDataset`, driven by Keras in one of two ways.

With releases of Keras that were tried, the sequence is its own data adapter: Keras asks it for an iterator for each walk. With any other
it is a `PyDataset` and nothing else: Keras asks for batches by number, and each is honoured.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from typing import Any, ClassVar

import keras
import numpy as np

from loader.batches.manifest_batches import ManifestBatches
from loader.errors import OptionError
from loader.feed.feed import Batch
from loader.feed.targets.labels import are_sorted
from loader.feed.tree import mapped
from loader.keras_adapter import adapter_class, call_arguments
from loader.passes.counter import PassCounter

_DataAdapter = adapter_class()
_IS_ADAPTER = _DataAdapter is not None
_Bases: Any = (keras.utils.PyDataset,) if _DataAdapter is None else (_DataAdapter, keras.utils.PyDataset)


class ManifestSequence(ManifestBatches, *_Bases):  # type: ignore[misc]  # Keras ships no types
    """Batches of a manifest's samples, for `fit`, `evaluate` and `predict` on every backend of Keras 3.

    ```python
    manifest = load_manifest("data")
    train = ManifestSequence(manifest.split("train"), batch_size=64, shuffle=True, seed=0)
    model.fit(train, validation_data=ManifestSequence(manifest.split("val"), batch_size=64))
    ```

    A batch depends on the manifest, the seed, the number of the pass, and its own number, and on nothing else: neither
    on the order of calls nor on global random state. A new sequence is in pass 0; each walk through it is the next pass: an
    epoch of `fit`, or several of them with `steps_per_epoch`, an `evaluate` or `predict`, a `for` loop. In these, batches come
    in the pass's own order, also where `fit` is left to shuffle, as it is by default.
    `sequence[i]` by hand is batch i of the current pass, and `on_epoch_end()` by hand goes on to the next.

    The arguments are those of `ManifestBatches`.
    """

    is_shell: ClassVar[bool] = True

    def _pass_counter(self) -> PassCounter:
        return PassCounter(self._feed.num_batches, repeat=self._repeat, keras_requests=not _IS_ADAPTER)

    def _begin_as_keras_wants(self) -> None:
        if type(self).num_batches is not ManifestSequence.num_batches:
            raise OptionError(f"{type(self).__name__} overrides num_batches, which only Keras asks for; override __len__ instead")
        # Keras' own workers pickle every batch, and hang when one of them dies.
        keras.utils.PyDataset.__init__(self, workers=1, use_multiprocessing=False, max_queue_size=10)

    @property
    def num_batches(self) -> int | None:
        """How many batches there are to walk through: those of a pass, or None for no end if `repeat` is set.

        Raises:
            OptionError: `fit` was given something that it does not hand on.
        """
        self._refuse_what_is_lost()
        self._warn_of_sorted_labels()
        self._passes.note_length()
        return None if self._repeat else self._limit

    def on_epoch_begin(self) -> None:
        """Note that an epoch begins; Keras calls it.

        Raises:
            OptionError: Keras shares the data out among processes in a way that would not give each its part.
        """
        self._check_distribution()
        self._delivery.ledger.pause()
        self._passes.begin_epoch()

    def on_epoch_end(self) -> None:
        """Note that an epoch ended; Keras calls it, or whoever asks for batches by number, to go on to the next pass."""
        self._delivery.ledger.pause()
        self._passes.end_epoch(self._limit)

    def as_tf_dataset(self) -> Any:  # noqa: D102  # as in the class below
        distribution = _distribution_of_processes()
        if distribution is not None and self._feed.options.process_count > 1:
            raise OptionError(
                f"{type(distribution).__name__} splits a tf.data.Dataset between its processes itself, so process_index and process_count "
                "would split the data twice; leave them out, or set auto_shard_dataset=False"
            )
        return super().as_tf_dataset()

    if _IS_ADAPTER:
        # What Keras asks an adapter for.

        @property
        def has_partial_batch(self) -> bool:
            """Whether the last batch of a pass is smaller than the others."""
            return self._feed.constant_rows is None and self._limit == self._feed.num_batches

        @property
        def partial_batch_size(self) -> int | None:
            """How many samples the last batch of a pass has, if it is smaller than the others."""
            return len(self._feed.positions(0, self._feed.num_batches - 1)) if self.has_partial_batch else None

        def get_numpy_iterator(self, **options: Any) -> Iterator[Batch]:
            """Return a walk, for Keras."""
            return self._walk_of_keras(options)

        def get_jax_iterator(self, super_batch: int | None = None, **options: Any) -> Iterator[Batch]:
            """Return a walk, for Keras on JAX, which may want several batches in one."""
            batches = self._walk_of_keras(options)
            if not super_batch:
                return batches
            from keras.src.trainers.data_adapters.data_adapter_utils import super_batch_iterator  # noqa: PLC0415  # where Keras asks for it

            several: Iterator[Batch] = super_batch_iterator(batches, super_batch, stack_fn=np.stack)
            return several

        def get_tf_dataset(self, **options: Any) -> Any:
            """Return a dataset of which each iteration is a walk, for Keras on TensorFlow."""
            _refuse_unknown(options)
            self._refuse_what_is_lost()
            return self._dataset(by_keras=True)

        def get_torch_dataloader(self, **options: Any) -> Iterator[Any]:
            """Return a walk, for Keras on torch. It draws no random numbers, as torch's own DataLoader does."""
            as_tensor = sys.modules["torch"].as_tensor
            return (mapped(lambda part: as_tensor(_plain_array(part)), batch) for batch in self._walk_of_keras(options))

        def _walk_of_keras(self, options: dict[str, Any]) -> Iterator[Batch]:
            _refuse_unknown(options)
            self._refuse_what_is_lost()
            return self._batches(by_keras=True)

    else:
        # Keras would start workers of its own, which hang when one of them dies; ours are those that were asked for.
        workers = ManifestBatches.workers.getter(lambda _: 1)  # type: ignore[attr-defined]  # a property has it
        use_multiprocessing = ManifestBatches.use_multiprocessing.getter(lambda _: False)  # type: ignore[attr-defined]  # likewise

    def _refuse_what_is_lost(self) -> None:
        """Refuse arguments of `fit`, `evaluate` and `predict` that Keras ignores where the data is a sequence of this kind."""
        given, name = call_arguments(self), type(self).__name__
        instead = {
            "y": "leave it out: the labels come from the sequence",
            "sample_weight": f"pass sample_weight='column' to {name} instead",
            "class_weight": f"pass it to {name} instead",
        }
        for argument, advice in instead.items() if _IS_ADAPTER else ():
            value = given.get(argument)
            if value is not None and not (argument == "class_weight" and value == {}):
                raise OptionError(f"Keras ignores {argument}= for a {name}; {advice}")
        batch_size = given.get("batch_size")
        if batch_size is not None and batch_size != self.batch_size:
            raise OptionError(f"Keras ignores batch_size={batch_size!r} for a {name}, which has batch_size={self.batch_size}; leave it out")

    def _warn_of_sorted_labels(self) -> None:
        """Warn of a `fit` that is left to shuffle and cannot, where each batch would have samples of one class."""
        codes = self._feed.index.codes
        if "sorted" in self._warned or self._feed.options.shuffle or len(self) == 1 or codes is None:
            return
        if call_arguments(self).get("shuffle") and are_sorted(codes):
            self._warned.add("sorted")
            warnings.warn(
                "fit trains batches of one class after the other: the samples are sorted by class and the sequence does not shuffle them; "
                f"pass shuffle=True to {type(self).__name__} for training",
                stacklevel=2,
            )

    def _check_distribution(self) -> None:
        distribution = _distribution_of_processes()
        if distribution is None:
            return
        count, index = _shards_of(distribution)
        if not _IS_ADAPTER:
            raise OptionError(
                f"Keras {keras.__version__} shares batches out among {count} processes itself, which was not tried; set "
                f"auto_shard_dataset=False, and pass process_index={index}, process_count={count} to {type(self).__name__}"
            )
        options = self._feed.options
        if (options.process_count, options.process_index) != (count, index):
            raise OptionError(
                f"{type(distribution).__name__} trains on {count} parts of the data, and this process needs part {index}: expected "
                f"process_index={index}, process_count={count} in {type(self).__name__}, got {options.process_index} and "
                f"{options.process_count}; pass them, or set auto_shard_dataset=False if each process has samples of its own"
            )


def _plain_array(part: Any) -> Any:
    """Return an array that torch takes as it is: an override may have turned it over."""
    return np.ascontiguousarray(part) if isinstance(part, np.ndarray) and part.ndim else part


def _refuse_unknown(options: dict[str, Any]) -> None:
    asked = {name: value for name, value in options.items() if value is not None}
    if asked:
        raise OptionError(
            f"Keras {keras.__version__} asks for batches with {asked!r:.100}, which this release of shardfeed does not know; update it"
        )


def _distribution_of_processes() -> Any | None:
    """Return the distribution that shares data out among several processes; None if there is none."""
    distribution = keras.distribution.distribution()
    if distribution is None or not getattr(distribution, "_is_multi_process", False):
        return None
    shares = getattr(distribution, "auto_shard_dataset", getattr(distribution, "_auto_shard_dataset", True))
    return distribution if shares and _shards_of(distribution)[0] > 1 else None


def _shards_of(distribution: Any) -> tuple[int, int]:
    """Return into how many parts a distribution cuts the data, and which one is this process's."""
    count = getattr(distribution, "num_data_shards", None) or getattr(distribution, "_num_processes", None) or distribution._num_process  # noqa: SLF001  # by release
    index = getattr(distribution, "data_shard_id", None)
    return int(count), int(distribution._process_id if index is None else index)  # noqa: SLF001  # likewise
