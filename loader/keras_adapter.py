"""Keras' base class for data adapters: the only part of Keras' internals that the sequence relies on.

For a `PyDataset`, Keras makes a `PyDatasetAdapter`, which asks for batches by number, in an order that it shuffles itself. An object
that is a `DataAdapter` already is used as it is, and asked for an iterator for each walk. A sequence that is both a `PyDataset` and a
`DataAdapter` decides its own order. But `class_weight`, `y` and `sample_weight` of `fit` do not reach it: they are read from the frame
of Keras' `EpochIterator`, in order to refuse them. No batch depends on a frame.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

import keras

OLDEST, NEWEST = (3, 8), (3, 16)
"""The releases of Keras with which every way of driving a sequence was tried."""

_CALLS = frozenset({"__init__", "fit", "evaluate", "predict"})
_ARGUMENTS = ("y", "sample_weight", "class_weight", "batch_size", "shuffle")


def adapter_class() -> type | None:
    """Return Keras' `DataAdapter`; None, and a warning, for a release that nobody has tried."""
    version = tuple(int(part) for part in keras.__version__.split(".")[:2])
    if OLDEST <= version <= NEWEST:
        from keras.src.trainers.data_adapters.data_adapter import DataAdapter  # noqa: PLC0415

        found: type = DataAdapter
        return found
    tried = f"{_dotted(OLDEST)} to {_dotted(NEWEST)}"
    warnings.warn(
        f"this shardfeed was tried with Keras {tried}, and this is Keras {keras.__version__}: each sample still comes once an epoch, but "
        "in the order in which Keras asks for batches, and nothing is read ahead; update shardfeed, or install an older Keras",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


def call_arguments(sequence: object) -> dict[str, Any]:
    """Return what `fit`, `evaluate` or `predict` was given beside a sequence; empty if it is not Keras that asks.

    `shuffle` is there only when Keras begins with it, and `batch_size` only if the call itself was given the sequence.
    """
    found: dict[str, Any] = {}
    frame = sys._getframe(1) if hasattr(sys, "_getframe") else None  # noqa: SLF001  # documented, if underlined
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] == "keras" and frame.f_code.co_name in _CALLS:
            given = frame.f_locals
            # A validation set is given the batch size of `fit`, which says nothing of it.
            found = {name: value for name, value in found.items() if name != "batch_size"}
            if given.get("x") is sequence:
                found = {name: given[name] for name in _ARGUMENTS if name in given} | found
        frame = frame.f_back
    return found


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
