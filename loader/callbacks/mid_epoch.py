"""Starting `fit` in the middle of an epoch.

Keras has no way to begin an epoch with any but its first step. Its epoch iterator, of which `fit` makes one, decides how many
steps an epoch has and counts those that were taken from the current walk through the data: for one epoch it is told that the
first ones are over. Everything after that is Keras' own course, so that epochs, warnings and the numbers of the batches are those
of a run that nobody interrupted. Tried with Keras 3.8 and 3.15.

To let the data run out early instead would end an epoch too, with a warning. But TensorFlow then begins a training step for
which there is no batch, and layers that draw random numbers draw some in it; and without an end of the data there is nothing to
run out of.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

_DEPTH = 16
"""Frames to look through: `fit` calls a list of callbacks, which calls the callback."""

_NEEDED = ("_enumerate_iterator", "steps_per_epoch", "_steps_seen", "data_adapter")


def running_epoch_iterator() -> Any | None:
    """Return the epoch iterator of the `fit` that called the caller; None if there is none that is known how to handle."""
    frame = sys._getframe(1) if hasattr(sys, "_getframe") else None  # noqa: SLF001  # documented, if underlined
    for _ in range(_DEPTH):
        if frame is None:
            return None
        if frame.f_code.co_name == "fit" and frame.f_globals.get("__name__", "").partition(".")[0] == "keras":
            found = frame.f_locals.get("epoch_iterator")
            return found if all(hasattr(found, name) for name in _NEEDED) else None
        frame = frame.f_back
    return None


def enter(epoch_iterator: Any, *, step: int, steps: int, seen: int) -> None:
    """Let the next epoch begin in its middle.

    Args:
        epoch_iterator: of a `fit` that has not begun an epoch yet.
        step: batches of the epoch that are over.
        steps: batches that the epoch has altogether.
        seen: batches that are over of the walk which the epoch belongs to; of a walk without end, 0.
    """
    whole_epoch = epoch_iterator._enumerate_iterator  # noqa: SLF001  # the subject of this file
    given = epoch_iterator.steps_per_epoch

    def rest() -> Iterator[tuple[Any, ...]]:
        # The epochs after this one are Keras' own again.
        del epoch_iterator._enumerate_iterator  # noqa: SLF001
        epoch_iterator.steps_per_epoch = steps - step
        epoch = whole_epoch()
        try:
            first = next(epoch)
        finally:
            epoch_iterator.steps_per_epoch = given
        epoch_iterator._steps_seen += seen  # noqa: SLF001
        yield shifted(first)
        yield from map(shifted, epoch)

    def shifted(item: tuple[Any, ...]) -> tuple[Any, ...]:
        # Keras 3.8 names an execution's first step, later ones its last step too; what comes last is the data.
        *numbers, data = item
        return *(number + step for number in numbers), data

    epoch_iterator._enumerate_iterator = rest  # noqa: SLF001
