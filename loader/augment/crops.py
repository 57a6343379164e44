"""Cutting a window out of a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, cast

import numpy as np

from loader.augment.checks import integers, is_integer
from loader.errors import OptionError
from manifests.format.npyfile import AnyArray


@dataclass(frozen=True)
class RandomCrop:
    """Cut out a window at a random place; each place is equally likely.

    With `padding=4` and a window as large as the image, this is the usual augmentation for CIFAR: He et al., "Deep Residual
    Learning for Image Recognition", 2016, section 4.2.

    Attributes:
        shape: of the window, over the sample's leading axes, such as (height, width); the axes that follow stay whole.
        padding: zeros to put before and behind each of these axes first: one integer, or one for each.

    Raises:
        OptionError: the shape is not of positive integers, or the padding not of integers from 0.
    """

    shape: Sequence[int]
    _: KW_ONLY
    padding: int | Sequence[int] = 0

    def __post_init__(self) -> None:
        shape = _checked_shape(self.shape)
        padding = (int(self.padding),) * len(shape) if is_integer(self.padding) else integers(self.padding)
        if padding is None or len(padding) != len(shape) or min(padding) < 0:
            raise OptionError(f"padding must be an integer from 0, or one for each axis of the window {shape}, got {self.padding!r}")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "padding", padding)

    def __call__(self, x: AnyArray, y: Any, rng: np.random.Generator) -> tuple[AnyArray, Any]:
        """Return the window of x, of any dtype, and y itself.

        Returns:
            x of shape (*shape, *the other axes), a view if the window lies within x; and y.

        Raises:
            OptionError: x is smaller than the window, padding included, or has fewer axes.
        """
        padding = cast("tuple[int, ...]", self.padding)
        room = _room(x, self.shape, padding)
        starts = [int(rng.integers(length + 1)) - pad for length, pad in zip(room, padding, strict=True)]
        return _window(x, starts, self.shape), y


@dataclass(frozen=True)
class CenterCrop:
    """Cut out the middle: for validation beside `RandomCrop`. Where it cannot be the middle, it is one nearer to 0.

    Attributes:
        shape: of the window, over the sample's leading axes, such as (height, width); the axes that follow stay whole.

    Raises:
        OptionError: the shape is not of positive integers.
    """

    shape: Sequence[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _checked_shape(self.shape))

    def __call__(self, x: AnyArray, y: Any, rng: np.random.Generator) -> tuple[AnyArray, Any]:  # noqa: ARG002  # nothing is random
        """Return the window of x, of any dtype, as a view of shape (*shape, *the other axes), and y itself.

        Raises:
            OptionError: x is smaller than the window, or has fewer axes.
        """
        room = _room(x, self.shape, (0,) * len(self.shape))
        return _window(x, [length // 2 for length in room], self.shape), y


def _checked_shape(value: object) -> tuple[int, ...]:
    shape = integers(value)
    if shape is None or min(shape) < 1:
        raise OptionError(f"shape must be positive integers such as (32, 32), got {value!r}")
    return shape


def _room(x: AnyArray, window: Sequence[int], padding: Sequence[int]) -> list[int]:
    """Return how far the window can be moved along each of its axes."""
    room = [length + 2 * pad - size for length, pad, size in zip(x.shape, padding, window, strict=False)]
    if len(room) < len(window) or min(room) < 0:
        padded = f" padded by {tuple(padding)}" if any(padding) else ""
        raise OptionError(f"shape must fit in the samples, got a window of {tuple(window)} for a sample of {x.shape}{padded}")
    return room


def _window(x: AnyArray, starts: Sequence[int], window: Sequence[int]) -> AnyArray:
    """Return the window whose first element is x[starts]; beyond the ends of x there is 0."""
    leading = list(zip(x.shape, starts, window, strict=False))
    bounds = [(min(max(start, 0), length), max(min(start + size, length), 0)) for length, start, size in leading]
    inside = x[tuple(slice(low, high) for low, high in bounds)]
    if inside.shape[: len(window)] == tuple(window):
        return inside
    out = np.zeros((*window, *x.shape[len(window) :]), x.dtype)
    # A window beside x has no element of it; its slices are empty, whatever their bounds.
    out[tuple(slice(low - start, high - start) for (low, high), start in zip(bounds, starts, strict=True))] = inside
    return out
