"""A copy of the user's sequence for workers: the user's classes and attributes, without Keras' base class.

Imported only where there is something to send, since cloudpickle is not needed otherwise.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import cloudpickle

_NOT_TAKEN = frozenset({"__dict__", "__weakref__", "__doc__", "__init__", "__getitem__", "__len__", "on_epoch_begin", "on_epoch_end"})
"""Of the user's classes: what only the process that trains can do with its sequence."""


class StandIn:
    """Stands for `ManifestSequence`, and for what that is derived from, below the user's own classes."""

    def transform(self, x: Any, y: Any, rng: Any) -> Any:
        """Return the sample as it is, as the sequence's own method does."""
        del rng
        return x, y

    def batch_transform(self, X: Any, Y: Any, rng: Any) -> Any:  # noqa: N803  # the sequence's own name for it
        """Return the batch as it is, as the sequence's own method does."""
        del rng
        return X, Y


class StandInPickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle ships no types
    """Pickles functions, with stand-ins in place of sequences and of their classes wherever these appear."""

    def __init__(self, file: io.BytesIO, sequences: Sequence[tuple[Any, Mapping[str, Any]]], base: type | None) -> None:
        """Get ready to pickle.

        Args:
            file: to write to.
            sequences: those that there are stand-ins for, with the attributes that these have.
            base: their common class; the classes that the user derived from it are sent.
        """
        super().__init__(file)
        self._attributes = {id(sequence): attributes for sequence, attributes in sequences}
        self._base = base

    def reducer_override(self, obj: Any) -> Any:
        """Return what makes an object in the worker, as `pickle.Pickler.reducer_override` asks."""
        if self._base is not None:
            if isinstance(obj, type) and obj is not object:
                if issubclass(self._base, obj):
                    return stand_in_class, ()
                if issubclass(obj, self._base):
                    members = {name: value for name, value in vars(obj).items() if name not in _NOT_TAKEN}
                    return new_class, (obj.__name__, obj.__bases__), members, None, None, fill_class
            elif id(obj) in self._attributes:
                return new_instance, (type(obj),), self._attributes[id(obj)], None, None, fill_instance
        return super().reducer_override(obj)


def stand_in_class() -> type:
    """Return what stands for the sequence's class."""
    return StandIn


def new_class(name: str, bases: tuple[type, ...]) -> type:
    """Return a class without members: they may refer to it."""
    return type(name, tuple(dict.fromkeys(bases)), {})


def fill_class(class_: type, members: Mapping[str, Any]) -> None:
    """Give a class its members."""
    for name, value in members.items():
        setattr(class_, name, value)


def new_instance(class_: type) -> Any:
    """Return an instance without attributes: they may refer to it."""
    return object.__new__(class_)


def fill_instance(instance: Any, attributes: Mapping[str, Any]) -> None:
    """Give an instance its attributes."""
    vars(instance).update(attributes)
