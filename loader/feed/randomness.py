"""Random numbers that depend on what they are for, and not on who draws them or when.

A sample's generator is Philox (J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), whose key is
derived from the seed and the pass, and whose counter starts at the sample: every sample has 2**128 numbers of its own.

Changing anything here changes what every user's seed means.
"""

from __future__ import annotations

import hashlib
import operator
from functools import lru_cache
from typing import Literal

import numpy as np

Purpose = Literal["sample", "batch", "draws", "skip"]


def keyed_generator(purpose: Purpose, seed: int, pass_: int, first: int, second: int = 0) -> np.random.Generator:
    """Return a new generator that is the same for the same arguments, and unrelated for any others.

    Args:
        purpose: whom it is for.
        seed: any integer.
        pass_: number of the pass.
        first: of the sample or the batch, from 0, below 2**64.
        second: tells apart what has the same `first`; from 0, below 2**64.
    """
    # The lower 128 bits of the counter are the generator's own to count in.
    counter = (first << 128) | (second << 192)
    return np.random.Generator(np.random.Philox(key=_key(purpose, operator.index(seed), pass_), counter=counter))


@lru_cache(maxsize=64)
def _key(purpose: Purpose, seed: int, pass_: int) -> int:
    return int.from_bytes(hashlib.shake_256(f"shardfeed {purpose} 1: {seed:x} {pass_:x}".encode()).digest(16), "little")
