"""Passes as legacy Keras walks through them: each epoch in an iterator of its own, after a known number of steps."""

from __future__ import annotations

from loader.passes import PassCounter, Walk


class EpochCounter(PassCounter):
    """Counts batches over epochs that are walks of their own, also where `steps_per_epoch` ends them within a pass.

    Keras 3 goes on in one walk over several epochs, legacy Keras never does. So a walk here has as many batches as a pass
    wherever it begins, and goes over the pass's end; what an epoch leaves over is what the next one of the same `fit`
    begins with.
    """

    _next: int | None = None

    def finish(self, steps: int, *, goes_on: bool) -> None:
        """Note that an epoch ended.

        Args:
            steps: batches of it that were used. TensorFlow's buffer has often asked for more.
            goes_on: whether the next walk goes on behind them, and does not begin with a pass.
        """
        with self._lock:
            walk = self._walk
            if walk.served:
                last = walk.first + min(steps, walk.served)
                self._next = last if goes_on else self._pass_from(last)
                walk.rests = True

    def claim(self) -> tuple[int, int | None]:
        """Begin a walk whose batches the caller counts itself."""
        claimed = super().claim()
        self._next = None
        return claimed

    def _begin_walk(self, walker: object) -> Walk:
        walk = super()._begin_walk(walker)
        self._next = None
        return walk

    def _following(self, walk: Walk) -> int:
        if self._next is not None:
            return self._next
        # Of a walk that was broken off nobody knows how much was used.
        return super()._following(walk) if self._repeat else self._pass_from(walk.first + self._num_batches)

    def _walk_from(self, first: int, length: int | None = None) -> Walk:
        return super()._walk_from(first, self._num_batches if length is None else length)

    def _pass_from(self, number: int) -> int:
        """Return the first batch of a pass from a number on."""
        return -(-number // self._num_batches) * self._num_batches
