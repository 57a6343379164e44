"""A transform that computes for a known time. Worker processes import this file, so it imports little."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Compute:
    """Computes, and does not sleep: a core that sleeps is free for the others, and two workers would always be twice as fast."""

    repeats: int

    def __call__(self, x: Any, y: Any, rng: np.random.Generator) -> tuple[Any, Any]:
        for _ in range(self.repeats):
            x = np.hypot(x, np.float32(1))
        return x, y


def compute_for(seconds: float, x: Any) -> Compute:
    """Return a transform that takes so long for a sample like this one, on this machine."""
    trial = Compute(100)
    times = []
    for _ in range(10):
        start = time.perf_counter()
        trial(x, None, np.random.default_rng(0))
        times.append(time.perf_counter() - start)
    return Compute(max(1, round(trial.repeats * seconds / min(times))))
