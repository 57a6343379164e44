"""Passes as legacy Keras walks through them: each epoch in an iterator of its own, after a known number of steps."""

from __future__ import annotations

from loader.passes.counter import PassCounter, Walk


class EpochCounter(PassCounter):
    """Counts batches over epochs that are walks of their own, also where `steps_per_epoch` ends them within a pass.

    Keras 3 goes on in one walk over several epochs, legacy Keras never does. So a walk here has as many batches as a pass
    wherever it begins, and goes over the pass's end; what an epoch leaves over is what the next one of the same `fit`
    begins with.
    """

    def finish(self, steps: int, *, goes_on: bool) -> bool:
        """Note that an epoch ended, and return whether somebody walked in it, and did not name batches.

        Args:
            steps: batches of it that were used. TensorFlow's buffer has often asked for more.
            goes_on: whether the next walk goes on behind them, and does not begin with a pass.
        """
        with self._lock:
            walk = self._walk
            if walk is None or walk.is_over:
                return False
            walk.is_over = True
            last = walk.first + min(steps, walk.served)
            self._next = last if goes_on else self._pass_from(last)
            return True

    def _length(self, first: int, limit: int) -> int | None:
        del first
        return None if self._repeat else limit

    def _behind(self, walk: Walk) -> int:
        # Of a walk that was broken off nobody knows how much was used.
        return super()._behind(walk) if self._repeat else self._pass_from(walk.first + self._num_batches)

    def _pass_from(self, number: int) -> int:
        """Return the first batch of a pass from a number on."""
        return -(-number // self._num_batches) * self._num_batches
