"""The identity of a feed: everything that decides its batches, as JSON to be compared with that of another run."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import numpy as np

from loader.feed.columns import Strings
from loader.feed.feed import Feed
from manifests.rows import arrow

Identity = dict[str, Any]
"""Name -> a value that JSON can hold."""

_WORDS = {
    "ids": "the samples' IDs or their order",
    "labels": "the samples' labels or classes",
    "weights": "the samples' weights",
    "sampling": "the weights by which samples are drawn",
}


def identity_of(feed: Feed) -> Identity:
    """Return what decides a feed's batches, except the content of the shards and the user's transforms.

    Two runs with equal identities get the same samples in the same order. The workers, the rank of this process, the
    dataset's folder and `on_error` are not part of it.
    """
    options, index = feed.options, feed.index
    return {
        "samples": len(index),
        "ids": _digest(index.ids),
        "labels": _digest((index.codes, index.classes if index.codes is not None else None)),
        "weights": _digest(index.weights),
        "sampling": _digest(index.cumulative),
        "batch_size": int(options.batch_size),
        "shuffle": bool(options.shuffle),
        "seed": int(options.seed),
        "drop_remainder": bool(options.drop_remainder),
        "process_count": int(options.process_count),
        "dtype": str(feed.dtype),
        "pad_to": None if options.pad_to is None else [int(axis) for axis in options.pad_to],
        "pad_value": float(options.pad_value),
    }


def differences(stored: Identity, present: Identity) -> list[str]:
    """Return a phrase for each difference; an empty list if the batches are the same."""
    phrases = []
    for name in dict.fromkeys([*present, *stored]):
        then, now = stored.get(name), present.get(name)
        if then != now:
            phrases.append(f"{_WORDS[name]} changed" if name in _WORDS else f"{name} was {then}, now it is {now}")
    return phrases


def _digest(value: object) -> str:
    hashed = hashlib.sha256()
    _feed_into(hashed, value)
    return hashed.hexdigest()


def _feed_into(hashed: Any, value: object) -> None:
    """Add a value to a hash. Different values add different bytes; large arrays are not copied."""
    if isinstance(value, Strings):
        lengths, data = hashlib.sha256(), hashlib.sha256()
        for start in range(0, len(value), arrow.ROWS_AT_ONCE):
            ends = value.ends[start : start + arrow.ROWS_AT_ONCE + 1]
            lengths.update(np.diff(ends).astype("<i8").data)
            data.update(value.data[ends[0] : ends[-1]].data)
        hashed.update(f"strings {len(value)}\n".encode() + lengths.digest() + data.digest())
    elif isinstance(value, np.ndarray):
        array = np.ascontiguousarray(value.astype(value.dtype.newbyteorder("<"), copy=False))
        hashed.update(f"array {array.dtype.str} {array.shape}\n".encode())
        hashed.update(array.reshape(-1).view(np.uint8).data)
    elif dataclasses.is_dataclass(value):
        _feed_into(hashed, tuple((field.name, getattr(value, field.name)) for field in dataclasses.fields(value)))
    elif isinstance(value, tuple | list):
        hashed.update(f"items {len(value)}\n".encode())
        for item in value:
            _feed_into(hashed, item)
    else:
        text = repr(value).encode()
        hashed.update(f"{type(value).__name__} {len(text)}\n".encode() + text)
