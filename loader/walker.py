"""Who asks for a batch: a walk through a pass, or somebody who wants just that batch. And who says that an epoch ends.

Keras walks through a `PyDataset` in a generator of its own, one for each walk, and by default names the batches in an order
that it shuffles itself. Which call belongs to which walk is not told by the arguments, nor by the thread (TensorFlow changes
it from batch to batch), and an interrupted walk may go on asking while the next one runs. The generator's frame tells it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from types import FrameType

_DEPTH = 16
"""Frames to look through: an override of `__getitem__` and what it calls stand between Keras and the caller."""

_KERAS = frozenset({"keras", "tf_keras"})

_WALKING = _KERAS | {"loader"}
"""Packages whose generators walk through a sequence batch by batch."""

_HOLDERS = ("py_dataset", "_keras_sequence")
"""Where the adapters of Keras 3 and of Keras 2 keep the sequence."""


def asking_generator(sequence: object, index: int | None = None) -> FrameType | None:
    """Return the frame of the generator that walks through a sequence and now asks it; None if it is somebody else who does.

    One walk is one frame, and another walk is another one for as long as somebody holds on to the first. An override of
    `__getitem__` that asks for another batch than the walk is at, as mixing two batches does, wants just that one; so does
    another sequence that Keras walks through and that is made of this one.

    Args:
        sequence: that is asked.
        index: of the batch; None for a question about the sequence as a whole.
    """
    for frame in _callers():
        if frame.f_code.co_flags & inspect.CO_GENERATOR and _package(frame) in _WALKING and _is_at(frame, sequence, index):
            return frame
    return None


def is_keras(walker: FrameType | None) -> bool:
    """Return whether it is Keras that walks, and not a loop of the user's own."""
    return walker is not None and _package(walker) in _KERAS


def telling_adapter(sequence: object) -> tuple[object | None, bool]:
    """Return who tells a sequence of an epoch's begin or end.

    Returns:
        The adapter of Keras, one for each `fit`, `evaluate`, `predict`, and validation set, or None if it is somebody else, such
        as another sequence that is made of this one. And whether an adapter is set back to the start, where no epoch need end.
    """
    for frame in _callers():
        adapter = frame.f_locals.get("self") if _package(frame) in _KERAS else None
        held = _held(adapter)
        if held is not None:
            is_reset = frame.f_back is not None and frame.f_back.f_code.co_name == "reset"
            return adapter if held is sequence else None, is_reset
    return None, False


def _callers() -> Iterator[FrameType]:
    # CPython's and PyPy's; without it every batch counts as asked for by hand, and nothing is read ahead.
    frame = sys._getframe(2) if hasattr(sys, "_getframe") else None  # noqa: SLF001  # documented, if underlined
    for _ in range(_DEPTH):
        if frame is None:
            return
        yield frame
        frame = frame.f_back


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_at(frame: FrameType, sequence: object, index: int | None) -> bool:
    """Return whether a generator walks through this sequence, and is at this batch."""
    goes_through = False
    is_at = index is None
    for value in frame.f_locals.values():
        if type(value) is int:
            is_at |= value == index
        else:
            goes_through |= value is sequence or _held(value) is sequence
    return goes_through and is_at


def _held(adapter: object) -> object:
    """Return the sequence that an adapter of Keras holds; None for whatever is none."""
    attributes = getattr(adapter, "__dict__", None)
    return attributes and next((attributes[name] for name in _HOLDERS if name in attributes), None)
