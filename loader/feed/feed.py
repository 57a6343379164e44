"""`Feed`: batches of a pass by number, and nothing else. It knows no Keras and holds no place in the data."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from loader.errors import BatchIndexError, OptionError, SamplesError, ShardError, listing
from loader.feed.index.index import Index
from loader.feed.options import FeedOptions
from loader.feed.order import IntArray, batch_positions
from loader.feed.randomness import keyed_generator
from loader.feed.reading.shard_reader import Instead, ShardReader
from loader.feed.reading.shared_memory import Slot
from loader.feed.sampling import drawn
from loader.feed.targets.labels import targets
from loader.feed.transforms import Padding, Stack, Transforms, checked_batch, named_call, parted
from loader.feed.tree import Tree, mapped
from manifests.format.npyfile import AnyArray

Batch = Any
"""X, (X, y) or (X, y, weights); X and y are arrays, or what the user's transforms make of them."""

Key = tuple[int, int]
"""A batch: the number of its pass, and its own within the pass."""

_MOST_TRIED = 100
"""Samples that are tried for one place in a batch before it is an error that none of them can be read."""


@dataclass(frozen=True, kw_only=True)
class Produced:
    """A batch and what it took.

    Attributes:
        batch: for the model.
        samples: how many it has.
        skipped: (ID, reason) of each sample that could not be read and for which another one stands.
        seconds: spent on reading, on transforming, and on writing to where others can read it.
    """

    batch: Batch
    samples: int
    skipped: Sequence[tuple[str, str]] = ()
    seconds: tuple[float, float, float] = (0.0, 0.0, 0.0)


class _Memory(Protocol):
    """Where a batch is put together."""

    def read(self, positions: IntArray, instead: Instead | None, dtype: np.dtype[Any]) -> AnyArray: ...

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> AnyArray: ...


class Feed:
    """What `batch(pass_, i)` returns depends on the index, the options, the transforms, and the two numbers, and on nothing else.

    Attributes:
        index: the samples.
        options: what decides the batches.
        transforms: the user's own functions.
        num_batches: in a pass.
        shape: of one sample as it is read; None if samples have several.
        dtype: of X before any transform.
    """

    def __init__(self, index: Index, options: FeedOptions, transforms: Transforms | None = None) -> None:
        """Open the shards' folder.

        Raises:
            OptionError: there would be no batch at all, or one that leaves some process without a sample, or the samples
                cannot be converted to the dtype.
            SamplesError: the samples have several shapes, and nothing is there to give them one.
            ShardError: the first shard is needed to know the samples' shape, and cannot be read.
        """
        # The current folder may be another one when a worker starts, or when a link is looked at.
        self.index = index = replace(index, root=Path(os.path.abspath(index.root)))
        self.options = options
        self.transforms = transforms or Transforms()
        self.num_batches = _num_batches(len(index), options)
        is_open = index.is_varied or index.array.shape is None
        self._padding = None if options.pad_to is None else Padding(shape=tuple(options.pad_to), value=options.pad_value)
        makes_shape = self._padding is not None or self.transforms.sample is not None
        if index.is_varied and not makes_shape:
            raise SamplesError(
                f"the samples differ: shapes {index.varied_shapes}; a batch needs one shape: pass pad_to=, or a transform= that makes it, "
                "build the shards with one, or choose rows with manifest.where"
            )
        self._reader = ShardReader(index, varied=makes_shape and is_open, keep_cached=options.keep_cached, skips=options.on_error == "skip")
        self.shape = self._reader.shape
        self.dtype = np.dtype(self._reader.dtype if options.dtype is None else options.dtype).newbyteorder("=")
        if not np.can_cast(self._reader.dtype, self.dtype, "same_kind"):
            raise OptionError(f"dtype must be one that can hold the shards' {self._reader.dtype}, got {options.dtype!r}")
        if self._padding is not None and self.transforms.sample is None:
            self._padding.check(self.dtype)

    @property
    def constant_rows(self) -> int | None:
        """How many samples this process gets of every batch; None if the last one has fewer."""
        is_full = self.options.drop_remainder or len(self.index) % self.options.batch_size == 0
        return self._rows(self.options.batch_size) if is_full else None

    def positions(self, pass_: int, batch: int) -> IntArray:
        """Return the positions in the index of the samples of this process's part of a batch.

        Returns:
            int64, shape (batch,); the caller's own.

        Raises:
            BatchIndexError: there is no such batch.
        """
        if not 0 <= batch < self.num_batches:
            raise BatchIndexError(f"no batch {batch}; a pass has batches 0 to {self.num_batches - 1}")
        options, n = self.options, len(self.index)
        seed = options.seed
        whole = batch_positions(n, options.batch_size, batch, seed=seed, pass_=pass_, shuffle=options.shuffle)
        if options.process_count > 1:
            whole = whole[len(whole) * options.process_index // options.process_count :][: self._rows(len(whole))].copy()
        cumulative = self.index.cumulative
        return whole if cumulative is None else drawn(whole, cumulative, seed=seed, pass_=pass_)

    def ids(self, pass_: int, batch: int, unreadable: Collection[str] = ()) -> list[str]:
        """Return the IDs of a batch's samples.

        Args:
            pass_: number of the pass.
            batch: number of the batch within it.
            unreadable: IDs of samples that could not be read, so that others stand for them.

        Raises:
            BatchIndexError: there is no such batch.
        """
        ids = self.index.ids.take(self.positions(pass_, batch))
        for row, id_ in enumerate(ids):
            for tried in range(1, _MOST_TRIED):
                if id_ not in unreadable:
                    break
                ids[row] = id_ = self.index.ids[self._stand_in(pass_, batch, row, tried)]  # noqa: PLW2901  # until one can be read
        return ids

    def batch(self, pass_: int, batch: int, following: Key | None = None) -> Produced:
        """Read and transform a batch.

        Args:
            pass_: number of the pass.
            batch: number of the batch within it.
            following: the batch that will be read next, for the disk to work ahead; None if nobody knows.

        Returns:
            The batch; its arrays are the caller's own. Without transforms: X of shape (batch, *shape), with y (see
            `loader.feed.targets.labels.targets`) unless there are no labels, and with weights, float32, shape (batch,), if there are any.

        Raises:
            BatchIndexError: there is no such batch.
            ShardError: a shard is missing, damaged, unsafe, or of another shape or dtype.
            TransformError: a transform returned what no batch can be made of.
        """
        self._look_ahead(following)
        produced = self._produced(pass_, batch, _OwnMemory(self._reader))
        if self.transforms.batch is None:
            return produced
        return replace(produced, batch=mapped(lambda array: np.require(array, requirements=["C", "W"]), produced.batch))

    def batch_into(self, pass_: int, batch: int, slot: Slot, following: Key | None = None) -> Produced:
        """Do the same with arrays that lie in a slot, as far as they were made here."""
        self._look_ahead(following)
        slot.clear()
        return self._produced(pass_, batch, _SlotMemory(self._reader, slot, self.options.batch_size))

    def let_go(self) -> None:
        """Close the folders and give up memory that waits to be used again; the next batch gets both anew."""
        self._reader.let_go()

    def _look_ahead(self, following: Key | None) -> None:
        if following is not None and self._reader.is_cold:
            self._reader.announce(self.positions(*following))

    def _rows(self, rows: int) -> int:
        """Return how many of a whole batch's samples are this process's."""
        index, count = self.options.process_index, self.options.process_count
        return rows * (index + 1) // count - rows * index // count

    def _produced(self, pass_: int, batch: int, memory: _Memory) -> Produced:
        start = time.perf_counter()
        positions = self.positions(pass_, batch)
        skipped: list[tuple[str, str]] = []
        instead = self._instead(pass_, batch, skipped) if self.options.on_error == "skip" else None
        by_sample = self.transforms.sample is not None or self._padding is not None
        xs: Sequence[AnyArray] | AnyArray
        if self.shape is None:
            xs = [x.astype(self.dtype, copy=False) for x in self._reader.read_each(positions, instead)]
        elif by_sample:
            xs = self._reader.read(positions, instead).astype(self.dtype, copy=False)
        else:
            xs = memory.read(positions, instead, self.dtype)
        codes = self.index.codes
        ys = None if codes is None else targets(codes, positions)
        read = time.perf_counter()
        x, y = self._by_sample((xs, ys), positions, (pass_, batch), memory) if by_sample else (xs, ys)
        weights = None if self.index.weights is None else self.index.weights[positions]
        made = self._by_batch(x, y, weights, positions, (pass_, batch))
        seconds = (read - start, time.perf_counter() - read, 0.0)
        return Produced(batch=made, samples=len(positions), skipped=skipped, seconds=seconds)

    def _by_sample(self, samples: tuple[Any, Any], positions: IntArray, key: Key, memory: _Memory) -> tuple[Tree, Tree]:
        (xs, ys), (pass_, batch) = samples, key
        function, seed = self.transforms.sample, self.options.seed
        # A sample that is drawn twice in a pass is not transformed twice in the same way.
        places = self._first_place(batch) if self.index.cumulative is not None else None
        x_stack = Stack(len(positions), memory.allocate, self._padding)
        y_stack = Stack(len(positions), memory.allocate)
        for row, position in enumerate(positions.tolist()):
            x, y = xs[row], None if ys is None else ys[row]

            def name(position: int = position) -> str:
                return f"ID {self.index.ids[position]!r} ({self.index.paths[position]})"

            if function is not None:
                rng = keyed_generator("sample", seed, pass_, position, 0 if places is None else places + row + 1)
                x, y = parted(named_call(function, x, y, rng, name), y, name)
            x_stack.add(x, name)
            y_stack.add(y, name)
        return x_stack.batch(), y_stack.batch()

    def _by_batch(self, x: Tree, y: Tree, weights: AnyArray | None, positions: IntArray, key: Key) -> Batch:
        function, (pass_, batch) = self.transforms.batch, key
        if function is not None:
            rng = keyed_generator("batch", self.options.seed, pass_, batch, self.options.process_index)

            def name() -> str:
                return f"batch {batch} of pass {pass_}, with IDs {listing(list(map(repr, self.index.ids.take(positions))))}"

            parts = parted(named_call(function, x, y, rng, name), y, name, most=3)
            x, y = checked_batch(parts[0], name), None if parts[1] is None else checked_batch(parts[1], name)
            if len(parts) > 2:
                weights = checked_batch(parts[2], name)
        if y is None:
            # Keras takes a list of inputs for (x, y), and for (x, y, weights).
            return (tuple(x),) if isinstance(x, list | tuple) else x
        return (x, y) if weights is None else (x, y, weights)

    def _first_place(self, batch: int) -> int:
        """Return the place in the pass of the first sample of this process's part of a batch."""
        options = self.options
        rows = min(options.batch_size, len(self.index) - batch * options.batch_size)
        return batch * options.batch_size + rows * options.process_index // options.process_count

    def _instead(self, pass_: int, batch: int, skipped: list[tuple[str, str]]) -> Instead:
        """Return who names another sample of the same pass for one that cannot be read, the same one each time."""
        tried: Counter[int] = Counter()

        def instead(row: int, error: ShardError) -> int:
            tried[row] += 1
            skipped.append((error.id, str(error)))
            if tried[row] == _MOST_TRIED:
                error.add_note(f"the last of {_MOST_TRIED} shards tried for one sample of batch {batch} of pass {pass_}; none can be read")
                raise error
            return self._stand_in(pass_, batch, row, tried[row])

        return instead

    def _stand_in(self, pass_: int, batch: int, row: int, tried: int) -> int:
        """Return the position of the sample that stands for one that cannot be read, at the n-th try."""
        options, n = self.options, len(self.index)
        # Of the samples that a pass gives, not of those that it drops.
        places = min(n, self.num_batches * options.batch_size)
        place = int(keyed_generator("skip", options.seed, pass_, self._first_place(batch) + row, tried).integers(places))
        other = batch_positions(n, 1, place, seed=options.seed, pass_=pass_, shuffle=options.shuffle)
        cumulative = self.index.cumulative
        return int((other if cumulative is None else drawn(other, cumulative, seed=options.seed, pass_=pass_))[0])


class _OwnMemory:
    """Memory of this process, which the batch's receiver keeps as long as it likes."""

    def __init__(self, reader: ShardReader) -> None:
        self._reader = reader

    def read(self, positions: IntArray, instead: Instead | None, dtype: np.dtype[Any]) -> AnyArray:
        return self._reader.read(positions, instead).astype(dtype, copy=False)

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> AnyArray:
        return np.empty(shape, dtype)


class _SlotMemory:
    """A slot of shared memory: what is put together there need not be copied for the process that trains."""

    def __init__(self, reader: ShardReader, slot: Slot, batch_size: int) -> None:
        self._reader = reader
        self._slot = slot
        self._batch_size = batch_size

    def read(self, positions: IntArray, instead: Instead | None, dtype: np.dtype[Any]) -> AnyArray:
        reader = self._reader
        if reader.dtype == dtype:
            shape = reader.shape or ()
            return reader.read_into(positions, lambda header: self._slot.buffer(self._batch_size, shape, dtype, header), instead)
        x = reader.read(positions, instead)
        converted = self.allocate(x.shape, dtype)
        converted[...] = x
        return converted

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> AnyArray:
        return self._slot.allocate(shape, dtype)


def _num_batches(n: int, options: FeedOptions) -> int:
    full, rest = divmod(n, options.batch_size)
    count = full if options.drop_remainder or not rest else full + 1
    if not count:
        raise OptionError(f"batch_size must be at most the number of samples when drop_remainder is True, got {options.batch_size} for {n}")
    if count > full and rest < options.process_count:
        raise OptionError(
            f"a pass's last batch has {rest} of the {n} samples, which leaves some of {options.process_count} processes without any; "
            f"pass drop_remainder=True, or another batch_size than {options.batch_size}"
        )
    return count
