"""Flipping a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

import numpy as np

from loader.augment.checks import integers
from loader.errors import OptionError
from manifests.format.npyfile import AnyArray

FlipMode = Literal["horizontal", "vertical", "horizontal_and_vertical"]

_MODES: dict[str | None, tuple[int, ...]] = {"horizontal": (1,), "vertical": (0,), "horizontal_and_vertical": (0, 1)}
"""Mode -> axes of (height, width, channels)."""

_PROBABILITY = 0.5


@dataclass(frozen=True)
class RandomFlip:
    """Flip a sample: each axis by itself, with probability 1/2.

    y stays as it is: for targets that turn with the sample, such as masks, write a function of your own.

    Attributes:
        mode: Keras' words, for samples of shape (height, width, channels) or (height, width): `horizontal` swaps left and
            right, `vertical` top and bottom, `horizontal_and_vertical` does each. The last is Keras' default, and also
            what is taken when neither argument is given.
        axes: of the sample, instead of a mode: for volumes, series, or channels that come first. From 0, or from -1 back.

    Raises:
        OptionError: there is no such mode, the axes are not distinct integers, or both are given.
    """

    mode: FlipMode | None = None
    _: KW_ONLY
    axes: Sequence[int] | None = None

    def __post_init__(self) -> None:
        if self.axes is not None:
            axes = integers(self.axes)
            if axes is None or len(set(axes)) != len(axes):
                raise OptionError(f"axes must be distinct integers such as (0, 1), got {self.axes!r}")
            if self.mode is not None:
                raise OptionError(f"mode and axes exclude each other, got {self.mode!r} and {self.axes!r}")
            object.__setattr__(self, "axes", axes)
        elif self.mode is None:
            object.__setattr__(self, "mode", "horizontal_and_vertical")
        elif self.mode not in tuple(_MODES):
            raise OptionError(f"mode must be one of {', '.join(map(repr, _MODES))}, got {self.mode!r}")

    def __call__(self, x: AnyArray, y: Any, rng: np.random.Generator) -> tuple[AnyArray, Any]:
        """Return x, of any dtype, as a view of the same shape, and y itself.

        Raises:
            OptionError: x does not have these axes.
        """
        axes = self._axes(x.shape)
        steps = [slice(None)] * x.ndim
        for axis, draw in zip(axes, rng.random(len(axes)), strict=True):
            if draw < _PROBABILITY:
                steps[axis] = slice(None, None, -1)
        return x[tuple(steps)], y

    def _axes(self, shape: tuple[int, ...]) -> Sequence[int]:
        if self.axes is None:
            if len(shape) not in {2, 3}:
                raise OptionError(f"mode {self.mode!r} flips samples of shape (height, width, channels), got shape {shape}; use axes=")
            return _MODES[self.mode]
        rank = len(shape)
        if not all(-rank <= axis < rank for axis in self.axes) or len({axis % rank for axis in self.axes}) != len(self.axes):
            raise OptionError(f"axes must be distinct axes of the sample, got {self.axes!r} for shape {shape}")
        return self.axes
