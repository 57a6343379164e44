"""Mixing each sample of a batch with a partner from the same batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from loader.augment.arithmetic import as_dtype, as_float
from loader.augment.checks import is_number
from loader.errors import OptionError
from manifests.format.npyfile import AnyArray


@dataclass(frozen=True)
class MixUp:
    """Blend each sample and its targets with a partner: a share of lambda of its own, 1 - lambda of the partner's.

    Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018, https://arxiv.org/abs/1710.09412. As in Keras' layer,
    each sample has a lambda of its own, from Beta(alpha, alpha), and the partners are a random permutation of the batch, so a
    sample may be its own partner and stay as it is; a batch of one always does.

    Attributes:
        alpha: above 0. The smaller, the closer lambda is to 0 or 1; at 1 all values are equally likely.

    Raises:
        OptionError: `alpha` is no number above 0.
    """

    alpha: float = 0.2

    def __post_init__(self) -> None:
        _check_alpha(self.alpha)

    def __call__(self, x: AnyArray, y: Any, rng: np.random.Generator) -> tuple[AnyArray, Any]:
        """Return the blended batch.

        Args:
            x: integers or floats, shape (batch, ...). Integers are blended as floats and rounded.
            y: float, shape (batch, n): one-hot, multi-hot or binary targets.
            rng: gives the partners and the lambdas.

        Returns:
            New arrays of the same shapes and dtypes.

        Raises:
            OptionError: x is neither integer nor float, or y is no such array.
        """
        _check_targets("MixUp", x, y)
        partners = rng.permutation(len(x))
        shares = 1 - rng.beta(self.alpha, self.alpha, len(x))
        return _blend(x, partners, shares, "MixUp"), _blend(y, partners, shares, "MixUp")


@dataclass(frozen=True)
class CutMix:
    """Paste a box from a partner into each sample, and give the partner's targets the share that the box has of the area.

    Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features", 2019,
    https://arxiv.org/abs/1905.04899: lambda is from Beta(alpha, alpha), the box has 1 - lambda of the area and the sample's
    proportions, its centre lies anywhere, and what reaches over an edge is cut off. The targets' share is then counted, not
    1 - lambda. Each sample has a lambda and a box of its own. Partners are as for `MixUp`.

    With one spatial axis the box is an interval, with three a cuboid. Keras' layer has `factor` instead of `alpha`, from which
    it draws another alpha for each batch.

    Attributes:
        alpha: above 0. At 1, as in the paper, all values of lambda are equally likely.

    Raises:
        OptionError: `alpha` is no number above 0.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        _check_alpha(self.alpha)

    def __call__(self, x: AnyArray, y: Any, rng: np.random.Generator) -> tuple[AnyArray, Any]:
        """Return the batch with boxes pasted in.

        Args:
            x: of any dtype, shape (batch, height, width, channels), or with other spatial axes; the last is not cut.
            y: float, shape (batch, n): one-hot, multi-hot or binary targets.
            rng: gives the partners, the lambdas and the boxes' centres.

        Returns:
            New arrays of the same shapes and dtypes.

        Raises:
            OptionError: x has no spatial axis or no elements, or y is no such array.
        """
        if x.ndim < 3 or not x.size:
            raise OptionError(f"CutMix needs batches of shape (batch, height, width, channels), got shape {x.shape}")
        _check_targets("CutMix", x, y)
        batch, lengths = len(x), np.array(x.shape[1:-1])
        partners = rng.permutation(batch)
        sides = (1 - rng.beta(self.alpha, self.alpha, (batch, 1))) ** (1 / len(lengths))
        sizes = np.rint(sides * lengths)  # (batch, axes)
        centres = rng.random(sizes.shape) * lengths
        # Whole numbers only now: a centre that is one lies beside the middle of an even size, and favours one side.
        starts = np.rint(centres - sizes / 2).astype(np.int64)
        lows, highs = np.clip(starts, 0, lengths), np.clip(starts + sizes.astype(np.int64), 0, lengths)
        mixed = x.copy()
        for row, partner, low, high in zip(mixed, partners, lows.tolist(), highs.tolist(), strict=True):
            box = tuple(map(slice, low, high))
            row[box] = x[partner][box]
        shares = (highs - lows).prod(axis=1) / lengths.prod()
        return mixed, _blend(y, partners, shares, "CutMix")


def _check_alpha(alpha: object) -> None:
    if not is_number(alpha) or alpha <= 0:
        raise OptionError(f"alpha must be a number above 0, got {alpha!r}")


def _check_targets(owner: str, x: AnyArray, y: object) -> None:
    if not isinstance(y, np.ndarray) or y.dtype.kind != "f" or y.ndim != 2 or len(y) != len(x):
        found = f"{y.dtype} of shape {y.shape}" if isinstance(y, np.ndarray) else f"{y!r:.100}"
        raise OptionError(
            f"{owner} needs targets that can be mixed, floats of shape ({len(x)}, n), got {found}; "
            "use label_mode='categorical', or 'binary' or 'multi_hot'"
        )


def _blend(x: AnyArray, partners: npt.NDArray[np.int64], shares: npt.NDArray[np.float64], owner: str) -> AnyArray:
    """Return x + share * (partner - x): where the two agree that is x itself, which x * (1 - share) + ... may miss by a bit.

    Args:
        x: integers or floats, shape (batch, ...).
        partners: shape (batch,): positions in the batch.
        shares: shape (batch,): of the partners, from 0 to 1.
        owner: who asks; for the message.
    """
    values = as_float(x, owner)
    mixed = values[partners]
    mixed -= values
    mixed *= shares.astype(mixed.dtype).reshape(-1, *[1] * (x.ndim - 1))  # (batch, 1, ...)
    mixed += values
    return as_dtype(mixed, x.dtype)
