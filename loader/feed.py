"""`Feed`: batches of a pass by number, and nothing else. It knows no Keras and holds no place in the data."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from loader.errors import BatchIndexError, OptionError
from loader.index import Index
from loader.labels import targets
from loader.options import FeedOptions
from loader.order import batch_positions
from loader.reading import ShardReader
from loader.slots import Slot
from manifests.npyfile import AnyArray

Batch = tuple[AnyArray, AnyArray] | AnyArray
"""(X, y), or X alone when there are no labels."""


Key = tuple[int, int]
"""A batch: the number of its pass, and its own within the pass."""


class Feed:
    """What `batch(pass_, i)` returns depends on the index, the options, and the two numbers, and on nothing else.

    Attributes:
        index: the samples.
        options: what decides the batches.
        num_batches: in a pass.
        shape: of one sample of X.
        dtype: of X.
    """

    def __init__(self, index: Index, options: FeedOptions) -> None:
        """Open the shards' folder.

        Raises:
            OptionError: there would be no batch at all, or the samples cannot be converted to the dtype.
            ShardError: the first shard is needed to know the samples' shape, and cannot be read.
        """
        self.index = index
        self.options = options
        full, rest = divmod(len(index), options.batch_size)
        self.num_batches = full if options.drop_remainder or not rest else full + 1
        if not self.num_batches:
            raise OptionError(
                f"batch_size must be at most the number of samples when drop_remainder is True, got {options.batch_size} for {len(index)}"
            )
        self._reader = ShardReader(index)
        self.shape = self._reader.shape
        self.dtype = np.dtype(self._reader.dtype if options.dtype is None else options.dtype).newbyteorder("=")
        if not np.can_cast(self._reader.dtype, self.dtype, "same_kind"):
            raise OptionError(f"dtype must be one that can hold the shards' {self._reader.dtype}, got {options.dtype!r}")

    def positions(self, pass_: int, batch: int) -> npt.NDArray[np.int64]:
        """Return the positions in the index of a batch's samples.

        Returns:
            int64, shape (batch,).

        Raises:
            BatchIndexError: there is no such batch.
        """
        if not 0 <= batch < self.num_batches:
            raise BatchIndexError(f"no batch {batch}; a pass has batches 0 to {self.num_batches - 1}")
        options = self.options
        return batch_positions(len(self.index), options.batch_size, batch, seed=options.seed, pass_=pass_, shuffle=options.shuffle)

    def ids(self, pass_: int, batch: int) -> list[str]:
        """Return the IDs of a batch's samples.

        Raises:
            BatchIndexError: there is no such batch.
        """
        return self.index.ids.take(self.positions(pass_, batch))

    def batch(self, pass_: int, batch: int) -> Batch:
        """Read a batch.

        Returns:
            X of shape (batch, *shape), and y (see `loader.labels.targets`) unless there are no labels. Both are the caller's own.

        Raises:
            BatchIndexError: there is no such batch.
            ShardError: a shard is missing, damaged, unsafe, or of another shape or dtype.
        """
        positions = self.positions(pass_, batch)
        return self.with_targets(self._reader.read(positions).astype(self.dtype, copy=False), positions)

    def read_into(self, pass_: int, batch: int, slot: Slot) -> int:
        """Read a batch's X into a slot.

        Returns:
            The number of samples.

        Raises:
            BatchIndexError, ShardError: as for `batch`.
        """
        positions = self.positions(pass_, batch)
        if self._reader.dtype == self.dtype:
            self._reader.read_into(positions, slot.buffer_of)
        else:
            slot.rows[: len(positions)] = self._reader.read(positions)
        return len(positions)

    def with_targets(self, x: AnyArray, positions: npt.NDArray[np.int64]) -> Batch:
        """Return (X, y), or X alone when there are no labels.

        Args:
            x: shape (batch, *shape).
            positions: int64, shape (batch,): of the samples in the index.
        """
        return x if self.index.codes is None else (x, targets(self.index.codes, positions))
