"""Augmentations on plain NumPy, for a feed's `transform` (one sample) and `batch_transform` (one batch).

Each is a frozen dataclass, called as `(x, y, rng)`, that returns the new (x, y):

- of one sample: `RandomFlip`, `RandomCrop`, `CenterCrop`, `GaussianNoise`, `RandomBrightness`, `RandomContrast`;
- of one batch: `MixUp`, `CutMix`;
- of either: `Compose`, one after the other.

They carry the names of Keras' layers, and keep to four rules. What comes out depends on what goes in and on the state of
`rng`, a `numpy.random.Generator`, and on nothing else. The dtype of x and of y stays. What goes in is never written to; what
comes out may be a view of it, and need not be contiguous. An instance can be pickled, compared and hashed.

They are imported from here, not from `loader`, which holds what every feed needs.
"""

from __future__ import annotations

from loader.augment.compose import Compose
from loader.augment.crops import CenterCrop, RandomCrop
from loader.augment.flips import RandomFlip
from loader.augment.intensity import GaussianNoise, RandomBrightness, RandomContrast
from loader.augment.mixing import CutMix, MixUp

__all__ = [
    "CenterCrop",
    "Compose",
    "CutMix",
    "GaussianNoise",
    "MixUp",
    "RandomBrightness",
    "RandomContrast",
    "RandomCrop",
    "RandomFlip",
]
