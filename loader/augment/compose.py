"""Several augmentations as one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from loader.errors import OptionError
from manifests.format.npyfile import AnyArray

Transform = Callable[[AnyArray, Any, np.random.Generator], tuple[AnyArray, Any]]
"""(x, y, rng) -> (x, y), of a sample or of a batch."""


@dataclass(frozen=True, init=False)
class Compose:
    """Apply transforms one after the other, first to last: `Compose(RandomFlip("horizontal"), GaussianNoise(0.1))`.

    They take their random numbers from one `rng` in turn, so to put one more at the end changes nothing in those before it.

    Attributes:
        transforms: functions of (x, y, rng) that return (x, y): those of this package, or your own. For samples or for
            batches, but all of one kind. Without any, x and y come back as they are.
    """

    transforms: tuple[Transform, ...]

    def __init__(self, *transforms: Transform) -> None:
        """Check that each can be called.

        Raises:
            OptionError: one cannot, or is a class instead of an instance.
        """
        for transform in transforms:
            if isinstance(transform, type):
                raise OptionError(f"transforms must be instances, got the class {transform.__name__}; write {transform.__name__}(...)")
            if not callable(transform):
                raise OptionError(f"transforms must be functions of (x, y, rng), got {transform!r:.100}")
        object.__setattr__(self, "transforms", transforms)

    def __call__(self, x: AnyArray, y: Any, rng: np.random.Generator) -> tuple[AnyArray, Any]:
        """Return (x, y) as the last transform returns it.

        Raises:
            OptionError: a transform returns anything but a tuple (x, y).
        """
        for transform in self.transforms:
            result: object = transform(x, y, rng)
            if not isinstance(result, tuple) or len(result) != 2:
                raise OptionError(f"a transform must return the tuple (x, y), got {type(result).__name__} from {transform!r:.100}")
            x, y = result
        return x, y
