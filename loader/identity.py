"""What decides the batches of a feed, in a form that can be stored and compared with that of another run."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import numpy as np

from loader.feed import Feed
from manifests.strings import PackedStrings

Identity = dict[str, Any]
"""Name -> what JSON can hold."""

_BLOCK = 1 << 16
"""Strings that are unpacked at a time."""

_WORDS = {
    "ids": "the samples' IDs or their order",
    "labels": "the samples' labels or classes",
    "weights": "the samples' weights",
    "sampling": "the weights by which samples are drawn",
}


def identity_of(feed: Feed) -> Identity:
    """Return what decides a feed's batches, apart from what the shards hold and what the user's transforms do.

    Two runs with equal identities are given the same samples in the same order. Who makes the batches is no part of it, nor
    which of several processes this is, where the dataset lies, or what becomes of damaged shards.
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
    """Say what differs, one phrase each; nothing if the batches are the same."""
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
    """Add a value, in such a way that no two different ones add the same bytes; large arrays are not copied."""
    if isinstance(value, PackedStrings):
        # Apart from each other, so that it does not matter how many are unpacked at a time.
        lengths, data = hashlib.sha256(), hashlib.sha256()
        for first in range(0, len(value), _BLOCK):
            items = value.take_bytes(np.arange(first, min(first + _BLOCK, len(value))))
            lengths.update(np.fromiter(map(len, items), "<i8", len(items)).data)
            data.update(b"".join(items))
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
