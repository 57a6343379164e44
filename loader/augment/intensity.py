"""Changing a sample's values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, cast

import numpy as np

from loader.augment.arithmetic import as_dtype, as_float
from loader.augment.checks import is_number, pair
from loader.errors import OptionError
from manifests.format.npyfile import AnyArray


@dataclass(frozen=True)
class GaussianNoise:
    """Add normally distributed noise of mean 0, another value to each element.

    Attributes:
        stddev: of the noise, from 0, in the sample's own unit: 0.1 may suit floats from 0 to 1, bytes want more than 1.

    Raises:
        OptionError: `stddev` is no number from 0.
    """

    stddev: float

    def __post_init__(self) -> None:
        if not is_number(self.stddev) or self.stddev < 0:
            raise OptionError(f"stddev must be a number from 0, got {self.stddev!r}")

    def __call__(self, x: AnyArray, y: Any, rng: np.random.Generator) -> tuple[AnyArray, Any]:
        """Return x with noise, and y itself.

        The noise is float32. Integers are rounded and clipped to the range of their dtype.

        Args:
            x: integers or floats, of any shape.
            y: anything.
            rng: whose next `x.size` normal numbers are used.

        Returns:
            x of the same shape and dtype, and y.

        Raises:
            OptionError: x is neither integer nor float.
        """
        values = as_float(x, "GaussianNoise")
        noise = rng.standard_normal(x.shape, dtype=np.float32)
        return as_dtype(values + noise * np.float32(self.stddev), x.dtype), y


@dataclass(frozen=True)
class RandomBrightness:
    """Add one random number to all elements of a sample, and clip.

    As in Keras, the number is evenly distributed over `factor`, as a share of the value range. Unlike there, the range has
    no default: 0 to 255 would turn samples from 0 to 1 into black and white without a word.

    Attributes:
        factor: one number f from 0 to 1 for -f to f, or (lower, upper) from -1 to 1. At -1 all is at the range's low end.
        value_range: (low, high) of the samples' values; what comes out is clipped to it.

    Raises:
        OptionError: an argument is not of this kind.
    """

    factor: float | Sequence[float]
    _: KW_ONLY
    value_range: Sequence[float]

    def __post_init__(self) -> None:
        factor = (-self.factor, self.factor) if is_number(self.factor) else pair(self.factor)
        if factor is None or not -1 <= factor[0] <= factor[1] <= 1:
            raise OptionError(f"factor must be a number from 0 to 1, or (lower, upper) from -1 to 1, got {self.factor!r}")
        object.__setattr__(self, "factor", factor)
        object.__setattr__(self, "value_range", _checked_range(self.value_range))

    def __call__(self, x: AnyArray, y: Any, rng: np.random.Generator) -> tuple[AnyArray, Any]:
        """Return x brighter or darker, and y itself.

        Args:
            x: integers or floats, of any shape.
            y: anything.
            rng: whose next number is used.

        Returns:
            x of the same shape and dtype, and y.

        Raises:
            OptionError: x is neither integer nor float.
        """
        values = as_float(x, "RandomBrightness")
        low, high = self.value_range
        delta = rng.uniform(*cast("tuple[float, float]", self.factor)) * (high - low)
        return as_dtype(np.clip(values + delta, low, high), x.dtype), y


@dataclass(frozen=True)
class RandomContrast:
    """Move all values of a channel away from their mean, or towards it, and clip.

    As in Keras' documentation: c is evenly distributed from 1 - lower to 1 + upper, one for all channels, and each value
    becomes (value - mean) * c + mean, with the mean of its own channel.

    Attributes:
        factor: (lower, upper), each from 0 to 1; one number stands for both.
        value_range: (low, high) of the samples' values; what comes out is clipped to it.

    Raises:
        OptionError: an argument is not of this kind.
    """

    factor: float | Sequence[float]
    _: KW_ONLY
    value_range: Sequence[float]

    def __post_init__(self) -> None:
        factor = (self.factor, self.factor) if is_number(self.factor) else pair(self.factor)
        if factor is None or not all(0 <= bound <= 1 for bound in factor):
            raise OptionError(f"factor must be a number from 0 to 1, or two (lower, upper), got {self.factor!r}")
        object.__setattr__(self, "factor", factor)
        object.__setattr__(self, "value_range", _checked_range(self.value_range))

    def __call__(self, x: AnyArray, y: Any, rng: np.random.Generator) -> tuple[AnyArray, Any]:
        """Return x with more contrast or less, and y itself.

        Args:
            x: integers or floats, of shape (height, width, channels), or with more axes before the channels.
            y: anything.
            rng: whose next number is used.

        Returns:
            x of the same shape and dtype, and y.

        Raises:
            OptionError: x is neither integer nor float, or has fewer axes.
        """
        if x.ndim < 3:
            raise OptionError(f"RandomContrast needs samples of shape (height, width, channels), got shape {x.shape}")
        values = as_float(x, "RandomContrast")
        lower, upper = cast("tuple[float, float]", self.factor)
        low, high = self.value_range
        mean = values.mean(axis=tuple(range(x.ndim - 1)), keepdims=True)  # (1, 1, channels)
        changed = (values - mean) * rng.uniform(1 - lower, 1 + upper) + mean
        return as_dtype(np.clip(changed, low, high), x.dtype), y


def _checked_range(value: object) -> tuple[float, float]:
    bounds = pair(value)
    if bounds is None or bounds[0] >= bounds[1]:
        raise OptionError(f"value_range must be (low, high) such as (0, 255), got {value!r}")
    return bounds
