"""Which batch of which pass comes next, told from the calls that Keras and people make."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

_REMEMBERED = 4
"""Walks that were left amid their pass and may still ask: Keras takes up those that another one came between, and TensorFlow goes on
filling its buffer for a moment after an interrupt."""

FIT_STRIDE = 1 << 32
"""With `repeat`, each walk begins at a multiple of this pass: how far the one before was read does not matter then."""


@dataclass(eq=False)
class Walk:
    """One walk through the batches.

    Attributes:
        first: number of its first batch, counted through all passes.
        length: batches that it has; None for no end.
        served: how many of them were asked for.
        index: what the last of them was called by who asked.
        walker: who asks; None when nobody did yet.
        teller: who tells of its epochs; None if nobody does.
        rests: whether its epoch has ended; it may be gone on with in another one.
    """

    first: int
    length: int | None
    served: int = 0
    index: int | None = None
    walker: object | None = None
    teller: object | None = None
    rests: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether all of its batches were asked for."""
        return self.served == self.length

    @property
    def is_open(self) -> bool:
        """Whether it may be gone on with in the epoch that runs."""
        return not self.rests and not self.is_complete


class PassCounter:
    """Batches are counted through all passes: batch b of pass p is number p * num_batches + b.

    A walk is a generator (see `loader.walker`). It gets the batches of its pass in their own order, whatever index it names:
    Keras names each index once, but by default in an order that it shuffles itself, ahead of which nothing could be read. A
    walk goes on over several epochs if `steps_per_epoch` says so, also where another one came between; the next walk is the
    next pass, however much of the one before was asked for. Only a walk that looked at the data before a model was built is
    begun again: there Keras sets its adapter back, whose epoch has not ended.

    Somebody who asks by hand gets the batch that he names, of the pass that was last begun. Who then says `end`, as the
    well-known tutorial does, gets the next pass with the next batch.
    """

    def __init__(self, num_batches: int, *, repeat: bool = False) -> None:
        """Start in pass 0.

        Args:
            num_batches: in a pass.
            repeat: a walk has no end and goes from pass to pass.
        """
        self._num_batches = num_batches
        self._repeat = repeat
        self._walk = self._walk_from(0)  # the last that was begun, or the first that will be
        self._begun: deque[Walk] = deque(maxlen=_REMEMBERED)
        self._teller: object | None = None
        self._last_by_hand = -1
        self._ended_by_hand = False
        # TensorFlow asks for batches from threads of its own.
        self._lock = threading.Lock()

    def length(self, walker: object | None) -> int | None:
        """Return how many batches there are to walk through; None for no end.

        Args:
            walker: who is about to walk, or None for someone who wants to know how many there are in general.
        """
        with self._lock:
            self._settle()
            if walker is not None and not self._repeat:
                return self._coming().length
            return None if self._repeat else self._num_batches

    def begin(self, teller: object | None = None) -> None:
        """Note that an epoch begins.

        Args:
            teller: who says so: the adapter of a `fit`; None for someone who walks by hand.
        """
        with self._lock:
            self._teller = teller
            for walk in self._told_by(teller):
                walk.rests = False

    def end(self, teller: object | None = None, *, is_reset: bool = False) -> None:
        """Note that an epoch ends.

        Args:
            teller: as for `begin`.
            is_reset: Keras sets its adapter back to the start, and no epoch need have been begun.
        """
        with self._lock:
            if teller is None:
                self._ended_by_hand |= not is_reset
                return
            walks = self._told_by(teller)
            if is_reset and teller is self._teller and self._walk in walks:  # that was only a look
                self._walk = Walk(self._walk.first, self._walk.length)
            for walk in walks:
                walk.rests = True
            if teller is self._teller:
                self._teller = None
            self._forget_complete()

    def serve(self, index: int, walker: object | None) -> tuple[int, int, bool]:
        """Return which batch to give to someone who asks for batch `index`.

        Args:
            index: from 0; below the number of batches unless `repeat` is set.
            walker: who walks, or None for someone who wants just that batch.

        Returns:
            The number of the pass, the number of the batch within it, and whether the following ones will be wanted next.
        """
        with self._lock:
            self._settle()
            last_open = next((walk for walk in reversed(self._begun) if walk.is_open), None)
            if walker is None:
                is_next = index in {0, self._last_by_hand + 1} and last_open is None
                self._last_by_hand = index
                return *divmod(self._pass_start(self._walk.first) + index, self._num_batches), is_next
            walk = next((walk for walk in self._begun if walk.walker is walker), None)
            if walk is not None and walk.index == index:  # an override asks for the same batch once more
                return *divmod(walk.first + walk.served - 1, self._num_batches), False
            if walk is None or walk.is_complete:
                walk = last_open = self._begin_walk(walker)
            number = walk.first + walk.served
            walk.served += 1
            walk.index = index
            if walk.is_complete and walk.teller is None:
                self._forget_complete()
            return *divmod(number, self._num_batches), last_open in {walk, None}

    def claim(self) -> tuple[int, int | None]:
        """Begin a walk whose batches the caller counts itself, so that others do not disturb it; the next one is another.

        Returns:
            The number of its first batch, counted through all passes, and how many it has; None for no end.
        """
        with self._lock:
            self._settle()
            self._walk = self._coming()
            self._walk.served = 1
            return self._walk.first, self._walk.length

    def current(self) -> int:
        """Return the number, from 0, of the pass that a batch asked for by hand would belong to."""
        with self._lock:
            self._settle()
            return self._walk.first // self._num_batches

    def upcoming(self) -> int:
        """Return the number, counted through all passes, of the batch with which the next walk begins."""
        with self._lock:
            self._settle()
            return self._coming().first

    def jump(self, number: int, length: int | None = None) -> None:
        """Let the next walk begin at a batch.

        Args:
            number: of the batch, counted through all passes.
            length: batches after which that walk ends, and the one after it goes on; None for the whole rest of the pass.
                Without meaning where a walk has no end.
        """
        with self._lock:
            self._ended_by_hand = False
            self._walk = self._walk_from(number, length)

    def _begin_walk(self, walker: object) -> Walk:
        walk = self._coming()
        walk.walker = walker
        walk.teller = self._teller
        self._walk = walk
        self._forget_complete()
        self._begun.append(walk)
        return walk

    def _coming(self) -> Walk:
        """Return the walk that a new walker would make."""
        walk = self._walk
        return self._walk_from(self._following(walk)) if walk.served else walk

    def _following(self, walk: Walk) -> int:
        """Return the number at which the walk after one begins."""
        if self._repeat:
            pass_ = walk.first // self._num_batches
            return (pass_ // FIT_STRIDE + 1) * FIT_STRIDE * self._num_batches
        # One that was told to end within the pass leaves its rest to the next.
        return walk.first + (walk.length or 0)

    def _walk_from(self, first: int, length: int | None = None) -> Walk:
        if self._repeat:
            return Walk(first, None)
        return Walk(first, self._num_batches - first % self._num_batches if length is None else length)

    def _pass_start(self, number: int) -> int:
        return number - number % self._num_batches

    def _told_by(self, teller: object | None) -> list[Walk]:
        return [] if teller is None else [walk for walk in self._begun if walk.teller is teller]

    def _forget_complete(self) -> None:
        """Let go of the generators of walks that came to their end: all that they were called by would hang on them."""
        for walk in [walk for walk in self._begun if walk.is_complete]:
            self._begun.remove(walk)
            walk.walker = None

    def _settle(self) -> None:
        """Go on to the next pass, if someone who walks by hand has said that one ended."""
        if self._ended_by_hand:
            self._ended_by_hand = False
            walk = self._walk
            walked_endlessly = self._repeat and walk.served
            self._walk = self._walk_from(self._following(walk) if walked_endlessly else self._pass_start(walk.first) + self._num_batches)
