"""Which pass a sequence is in, told from the calls that Keras and people make."""

from __future__ import annotations

import threading
from typing import Literal

_LOOKS = 2
"""Batches that Keras looks at before it builds a model: one, and two in older releases on JAX."""


class PassCounter:
    """The number of the pass that batches belong to.

    Keras 3 ends an epoch before the first one begins (when it resets the iterator that inferred the batches' shapes),
    never ends one that an exception or `stop_training` cut short, and ends some twice; a person who follows the
    well-known tutorial never begins one and only ends them. So the number moves on late, when the next batch is certain
    to belong to the next pass:

    - at `begin`, if an epoch was begun before, whether it ended or was cut short. An epoch in which at most two batches of
      more were asked for does not count: so the JAX and torch backends look at the data before they build a model;
    - at `serve` and `current`, if `end` was called outside of any epoch since the last time: someone walks by hand.

    After an epoch's end the number stays, so that what just ran can still be asked for by number.
    """

    def __init__(self, num_batches: int) -> None:
        """Start in pass 0.

        Args:
            num_batches: in a pass.
        """
        self._num_batches = num_batches
        self._number = 0
        self._served = 0
        self._named = bytearray(num_batches)
        self._within = False
        self._ended: Literal["epoch", "by hand"] | None = None
        # TensorFlow asks for batches from a thread of its own.
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Note that an epoch begins."""
        with self._lock:
            if (self._within and not self._only_looked()) or self._ended == "epoch":
                self._number += 1
            self._within = True
            self._ended = None
            self._served = 0
            self._named = bytearray(self._num_batches)

    def end(self) -> None:
        """Note that an epoch ends, or that someone says so who never began one."""
        with self._lock:
            if self._within:
                self._ended = None if self._only_looked() else "epoch"
            elif self._ended is None:
                self._ended = "by hand"
            self._within = False

    def serve(self, index: int) -> tuple[int, int, bool]:
        """Return which batch to give to someone who asks for batch `index`.

        Within an epoch batches are given in the pass's own order, whatever index is named: Keras names each once, but by
        default in an order that it shuffles itself, ahead of which nothing could be read. An index that was named
        before in the same epoch, and any outside of an epoch, means just that batch.

        Returns:
            The number of the pass, the number of the batch within it, and whether an epoch walks through the pass.
        """
        with self._lock:
            number = self._settled()
            if not self._within or self._named[index]:
                return number, index, False
            self._named[index] = 1
            self._served += 1
            return number, self._served - 1, True

    def current(self) -> int:
        """Return the number, from 0, of the pass that a batch asked for now would belong to."""
        with self._lock:
            return self._settled()

    def _settled(self) -> int:
        if self._ended == "by hand":
            self._number += 1
            self._ended = None
        return self._number

    def _only_looked(self) -> bool:
        return self._served <= _LOOKS < self._num_batches
