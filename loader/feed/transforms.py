"""What users do to samples and batches, applied and checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from loader.errors import OptionError, TransformError
from loader.feed.tree import Tree, form, leaves, mapped
from manifests.format.npyfile import NUMERIC_KINDS, AnyArray

_LONGEST = 60
"""Characters that a message shows of a value."""

Transform = Callable[[Any, Any, np.random.Generator], Any]
"""`transform(x, y, rng)`: returns (x, y), or x alone if there is no y."""

Allocate = Callable[[tuple[int, ...], np.dtype[Any]], AnyArray]
"""Returns an uninitialised, C-contiguous array of a shape and dtype."""


@dataclass(frozen=True, kw_only=True)
class Transforms:
    """The user's functions.

    Attributes:
        sample: called for each sample; x of shape `shape`, y as `loader.feed.targets.labels.targets` makes it, without the batch axis.
        batch: called for each batch.
    """

    sample: Transform | None = None
    batch: Transform | None = None


@dataclass(frozen=True, kw_only=True)
class Padding:
    """The shape that every x is brought to, and what fills it up behind the sample's own elements."""

    shape: tuple[int, ...]
    value: float

    def check(self, dtype: np.dtype[Any]) -> None:
        """Refuse samples of a dtype that cannot hold the value.

        Raises:
            OptionError: it cannot.
        """
        if dtype.kind in "biu":
            least, most = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
            if not (least <= self.value <= most and self.value == int(self.value)):
                raise OptionError(f"pad_value must be one that {dtype} can hold, got {self.value!r}")


def named_call(function: Transform, x: Any, y: Any, rng: np.random.Generator, name: Callable[[], str]) -> Any:
    """Call a user's function; what it raises says for which sample or batch it was called."""
    try:
        return function(x, y, rng)
    except BaseException as error:
        error.add_note(f"raised by the transform of {name()}")
        raise


def parted(result: Any, y: Any, name: Callable[[], str], most: int = 2) -> tuple[Any, ...]:
    """Return a transform's result as (x, y), or with a third part if `most` is 3.

    Raises:
        TransformError: it has no x, or no y though there was one.
    """
    parts = result if isinstance(result, tuple) and 2 <= len(result) <= most else (result, None)
    if not leaves(parts[0]) or (y is not None and not leaves(parts[1])):
        wanted = "x" if most == 2 else "X"
        if y is not None:
            wanted = "(x, y)" if most == 2 else "(X, y) or (X, y, weights)"
        raise TransformError(f"the transform of {name()} must return {wanted}, got {_described(result)}")
    return parts


class Stack:
    """Samples put together to a batch, one after the other."""

    def __init__(self, rows: int, allocate: Allocate, padding: Padding | None = None) -> None:
        """Make room for `rows` samples as soon as the first one shows what for."""
        self._rows = rows
        self._allocate = allocate
        self._padding = padding
        self._form: Tree = None
        self._arrays: list[AnyArray] = []
        self._filled = 0

    def add(self, sample: Tree, name: Callable[[], str]) -> None:
        """Copy a sample into the next row.

        Raises:
            TransformError: it is no numeric array, or not of the first one's form, shape and dtype.
        """
        parts = [_numeric(leaf, name) for leaf in leaves(sample)]
        if not self._filled:
            self._form = form(sample)
            self._arrays = [self._room_for(part, name) for part in parts]
        elif form(sample) != self._form:
            before = _described(mapped(self._arrays.__getitem__, self._form))
            raise TransformError(f"the transform of {name()} returned {_described(sample)}, and {before} for the sample before")
        for part, array in zip(parts, self._arrays, strict=True):
            if part.dtype != array.dtype:
                raise TransformError(
                    f"the transform of {name()} returned {part.shape} {part.dtype}, "
                    f"and {array.shape[1:]} {array.dtype} for the sample before"
                )
            if self._padding is not None:
                array[self._filled, ...] = self._padding.value
                corner: tuple[slice, ...] = tuple(slice(axis) for axis in self._checked(part, name).shape)
                array[self._filled][corner] = part
            elif part.shape != array.shape[1:]:
                raise TransformError(
                    f"the sample of {name()} has shape {part.shape}, and the one before it {array.shape[1:]}; "
                    "a batch needs one shape: let the transform make it, or pass pad_to"
                )
            else:
                array[self._filled, ...] = part
        self._filled += 1

    def batch(self) -> Tree:
        """Return the batch: the samples' form with arrays of shape (rows, *shape)."""
        return mapped(self._arrays.__getitem__, self._form)

    def _room_for(self, part: AnyArray, name: Callable[[], str]) -> AnyArray:
        shape = part.shape
        if self._padding is not None:
            self._checked(part, name)
            self._padding.check(part.dtype)
            shape = self._padding.shape
        return self._allocate((self._rows, *shape), part.dtype)

    def _checked(self, part: AnyArray, name: Callable[[], str]) -> AnyArray:
        """Return a sample that can be padded."""
        assert self._padding is not None  # noqa: S101  # for the type checker
        wanted = self._padding.shape
        if part.ndim != len(wanted) or any(axis > most for axis, most in zip(part.shape, wanted, strict=True)):
            raise TransformError(
                f"the sample of {name()} has shape {part.shape}, expected at most pad_to={wanted}; "
                "raise pad_to, or let the transform cut the sample"
            )
        return part


def checked_batch(tree: Tree, name: Callable[[], str]) -> Tree:
    """Return what a batch transform returned, as arrays.

    Raises:
        TransformError: it holds something else than numbers, or nothing at all.
    """
    if tree is None:
        raise TransformError(f"the transform of {name()} returned None where an array was expected")
    return mapped(lambda leaf: _numeric(leaf, name), tree)


def _numeric(leaf: Any, name: Callable[[], str]) -> AnyArray:
    array = np.asarray(leaf)
    if array.dtype.kind not in NUMERIC_KINDS:
        raise TransformError(f"the transform of {name()} returned {_described(leaf)}, expected numbers")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _described(value: Any) -> str:
    """Say what something is in a few words."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    if isinstance(value, dict):
        return f"a dict of {', '.join(map(repr, value))}" if value else "an empty dict"
    if isinstance(value, tuple | list):
        parts = ", ".join("None" if part is None else type(part).__name__ for part in value)
        return f"a {type(value).__name__} of {parts}" if value else f"an empty {type(value).__name__}"
    return " ".join(repr(value).split())[:_LONGEST]
