"""Drawing samples by weight, with repeats, as a pure function of the place in the pass.

Systematic resampling (G. Kitagawa, "Monte Carlo Filter and Smoother", J. Comput. Graph. Stat. 1996, its appendix): the
pass's n draws are n points at equal distances on the line that the weights divide, shifted together by one random number.
So a sample whose weight asks for 2.3 draws a pass gets 2 or 3, and over the passes 2.3 on average. The order in which the
points come is the pass's permutation.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from loader.feed.order import IntArray
from loader.feed.randomness import keyed_generator


def drawn(places: IntArray, cumulative: npt.NDArray[np.float64], *, seed: int, pass_: int) -> IntArray:
    """Return the samples that are drawn.

    Args:
        places: int64, shape (k,), each in 0..n-1: which of the pass's n points.
        cumulative: float64, shape (n,): running sum of the samples' weights, the last one being 1.
        seed: any integer.
        pass_: number of the pass.

    Returns:
        int64, shape (k,), each in 0..n-1; none of weight 0.
    """
    shift = keyed_generator("draws", seed, pass_, 0).random()
    points = (places + shift) / len(cumulative)
    # A point lies in the first interval that ends beyond it; rounding can put the last point at 1 itself.
    return np.searchsorted(cumulative, np.minimum(points, np.nextafter(1.0, 0.0)), side="right").astype(np.int64, copy=False)
