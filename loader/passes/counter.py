"""Which batch of which pass comes next: for whoever walks through the sequence, and for whoever asks by number."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from loader.passes.requests import BatchRequests

_MOST_LOOKED_AT = 2
"""Batches that Keras takes to build a model."""

FIT_STRIDE = 1 << 32
"""With `repeat`, each walk begins at a multiple of this pass: how far the one before was read does not matter then."""


@dataclass(eq=False)
class Walk:
    """One walk through the batches: a `for` loop, an epoch of `fit`, or several epochs that share a pass.

    Attributes:
        first: number of its first batch, counted through all passes.
        length: batches that it has; None for no end.
        limit: batches of each pass that it walks through, from the first one.
        num_batches: batches of a pass.
        by_keras: whether it is Keras that walks, and not a loop of the user's own.
        served: how many of its batches were asked for.
        lengths_read: how often Keras has asked for the number of batches since it began.
        is_over: whether Keras has ended an epoch since it began.
        delivered: the batch that was handed over last.
        sequence: `id()` of the sequence that is walked through.
    """

    first: int
    length: int | None
    limit: int
    num_batches: int
    by_keras: bool = False
    served: int = 0
    lengths_read: int = 0
    is_over: bool = False
    delivered: tuple[int, int] | None = None
    sequence: int = 0

    def batches(self) -> Iterator[tuple[int, int]]:
        """Yield the batches: the number of the pass, and the batch's own within it."""
        pass_, batch = divmod(self.first, self.num_batches)
        while self.length is None or self.served < self.length:
            self.served += 1
            yield pass_, batch
            pass_, batch = next(following(pass_, batch, self.limit))


def following(pass_: int, batch: int, limit: int) -> Iterator[tuple[int, int]]:
    """Yield the batches behind one, of its pass and of those after it, of which each has `limit`."""
    while True:
        pass_, batch = (pass_, batch + 1) if batch + 1 < limit else (pass_ + 1, 0)
        yield pass_, batch


class PassCounter:
    """Batches are counted through all passes: batch b of pass p is number p * num_batches + b.

    Each walk is the next pass, however much of the one before was taken and whatever else goes on at the same time, and yields the
    pass's batches in their own order. One kind of walk does not count: Keras takes a batch to build a model, asks for the
    number of batches once, and ends the epoch, all before it trains (a new `fit` asks for the number twice).

    A request by number gets that batch of the current pass, the one that was last begun. The current pass ends with an epoch
    that nobody walked through: one that was not begun, as in the well-known tutorial, or one in which every batch was
    requested equally often. So each batch comes once an epoch where Keras itself asks by number.
    """

    def __init__(self, num_batches: int, *, repeat: bool = False, keras_requests: bool = False) -> None:
        """Start in pass 0.

        Args:
            num_batches: in a pass.
            repeat: a walk has no end and goes from pass to pass.
            keras_requests: it is Keras that requests batches: a batch that is requested once more never begins another pass.
        """
        self._keras_requests = keras_requests
        self._num_batches = num_batches
        self._repeat = repeat
        self._next = 0  # the number of the batch with which the next walk begins
        self._then: int | None = None  # and the one after it, if that is not the next pass
        self._current = 0  # the current pass
        self._walk: Walk | None = None  # the last that was begun, if it was begun in the current pass
        self._is_ended = False  # by hand, and nobody has asked for anything since
        self._length_was_read = False  # and nothing else was asked for since
        self._epoch_is_open = False
        self._lengths_read = 0  # in the epoch that is open
        self._was_walked = False  # by Keras, since an epoch began or ended
        self._is_looked_at = False  # the number of batches was asked for, and no epoch has begun since
        self._has_epochs = False
        self._requests = BatchRequests(num_batches)
        self._requested_pass = 0  # the pass that they are of
        self._last_requested = -1
        # TensorFlow asks for batches from threads of its own.
        self._lock = threading.Lock()

    def start(self, limit: int | None = None, *, by_keras: bool = False) -> Walk:
        """Begin a walk.

        Args:
            limit: batches of a pass to walk through; None for all.
            by_keras: whether it is Keras that walks.
        """
        with self._lock:
            self._settle()
            limit = self._num_batches if limit is None else limit
            first = self._next
            walk = Walk(first, self._length(first, limit), limit, self._num_batches, by_keras)
            self._next, self._then = self._behind(walk) if self._then is None else self._then, None
            self._current, self._walk = first // self._num_batches, walk
            return walk

    def note_asked(self, walk: Walk) -> None:
        """Note that a walk of Keras' asks for a batch.

        One that is over may still ask: TensorFlow reads ahead in threads of its own. That says nothing of the epoch that others are in.
        """
        with self._lock:
            if self._epoch_is_open or not walk.is_over:
                self._was_walked, self._length_was_read = True, False

    def request(self, index: int) -> tuple[int, int, bool]:
        """Return the batch that somebody asks for by its number.

        Args:
            index: from 0; below the number of batches unless `repeat` is set.

        Returns:
            The number of its pass, its own within the pass, and whether it follows the one that was asked for last.
        """
        with self._lock:
            self._settle()
            self._length_was_read = False
            pass_ = self._pass_of_request(index)
            if pass_ != self._requested_pass or not self._requests:
                self._requests.clear()
            self._current = self._requested_pass = pass_
            pass_, batch = divmod(pass_ * self._num_batches + index, self._num_batches)
            self._requests.add(batch)
            is_next = index in {0, self._last_requested + 1}
            self._last_requested = index
            return pass_, batch, is_next

    def pass_of(self, index: int, *, is_person: bool) -> int:
        """Return the pass of the batch that somebody asks about by its number.

        Args:
            index: as for `request`.
            is_person: whether it is who drives the sequence, and means what was done last; else it is some thread that requests
                batches, while another walk may have begun.
        """
        with self._lock:
            self._settle()
            self._length_was_read = False
            if not is_person and self._requests and not self._requests.are_even(self._num_batches):
                return self._requested_pass
            return self._pass_of_request(index)

    def is_repeated(self, limit: int) -> bool:
        """Return whether each batch of the pass was just asked for twice or more by number, by someone who ends no epoch."""
        with self._lock:
            return not self._has_epochs and self._requests.are_repeated(limit)

    def note_length(self) -> None:
        """Note that somebody, as Keras does before it sets everything back to the start, asked for the number of batches."""
        with self._lock:
            self._length_was_read = True
            self._lengths_read += 1
            if self._walk is not None:
                self._walk.lengths_read += 1
            if not self._epoch_is_open and not self._is_looked_at:
                self._is_looked_at = True
                self._requests.mark()

    def begin_epoch(self) -> None:
        """Note that an epoch begins."""
        with self._lock:
            if self._is_looked_at:
                self._requests.forget()
            self._requests.mark()
            self._has_epochs = self._epoch_is_open = True
            self._length_was_read = self._is_looked_at = self._was_walked = False
            self._lengths_read = 0

    def end_epoch(self, limit: int | None = None) -> None:
        """Note that an epoch ends, or that Keras sets everything back to the start.

        Args:
            limit: batches of a pass, as whoever asks for them counts them; None for all.
        """
        with self._lock:
            is_reset, self._length_was_read = self._length_was_read, False
            was_open, self._epoch_is_open = self._epoch_is_open, False
            self._has_epochs = True
            walk = self._walk
            if is_reset:
                if walk is not None and walk.lengths_read == 1 and walk.served <= _MOST_LOOKED_AT and not walk.is_over:  # only a look
                    self._next, self._walk = walk.first, None
                if was_open and self._lengths_read == 1:  # likewise
                    self._requests.forget()
                self._was_walked = False
                return
            if not self._was_walked and (not was_open or (not self._repeat and self._requests.are_even(limit or self._num_batches))):
                self._is_ended = True
            self._was_walked = False
            if walk is not None:
                walk.is_over = True

    def current(self) -> int:
        """Return the number, from 0, of the current pass."""
        with self._lock:
            self._settle()
            self._length_was_read = False
            return self._current

    def upcoming(self) -> int:
        """Return the number, counted through all passes, of the batch with which the next walk begins."""
        with self._lock:
            self._settle()
            return self._next

    def jump(self, number: int, then: int | None = None) -> None:
        """Let the next walk begin at a batch, counted through all passes.

        Args:
            number: of the batch.
            then: the number with which the walk after that begins; None for the pass behind it.
        """
        with self._lock:
            self._is_ended = False
            self._next, self._then = number, then
            self._enter(number // self._num_batches)

    def _pass_of_request(self, index: int) -> int:
        """Return the pass of a batch that is requested: a pass whose batches are being requested goes on, whoever walks meanwhile."""
        if not self._requests or self._requested_pass == self._current or self._requests.are_even(self._num_batches):
            return self._current
        goes_on = self._keras_requests or not self._requests.has(index % self._num_batches)
        return self._requested_pass if goes_on else self._current

    def _length(self, first: int, limit: int) -> int | None:
        """Return how many batches a walk has that begins with this one."""
        return None if self._repeat else max(limit - first % self._num_batches, 0)

    def _behind(self, walk: Walk) -> int:
        """Return the number at which the walk after one begins."""
        pass_ = walk.first // self._num_batches
        return (pass_ // FIT_STRIDE + 1) * FIT_STRIDE * self._num_batches if self._repeat else (pass_ + 1) * self._num_batches

    def _enter(self, pass_: int) -> None:
        self._current, self._walk = pass_, None
        self._requests.clear()

    def _settle(self) -> None:
        """Go on to the next pass, if someone has ended this one by hand."""
        if self._is_ended:
            self._is_ended = False
            self._enter(max(self._current + 1, self._next // self._num_batches))
            self._next, self._then = self._current * self._num_batches, None
