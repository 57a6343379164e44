"""`Index`: what a feed knows of its samples, in arrays: names, files, labels, weights and the shape they share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from loader.feed.columns import Strings
from loader.feed.targets.labels import LabelCodes
from manifests.format.metadata import ArraySpec


@dataclass(frozen=True, kw_only=True)
class Index:
    """All samples of a feed. An ID may appear more than once; each time it is a separate sample.

    Attributes:
        root: the folder that paths are relative to; every shard is inside it.
        ids: one a sample.
        paths: of the shards, one a sample.
        codes: the labels; None for batches without any.
        classes: names in index order.
        array: the samples' shape and dtype; what is None is taken from the first shard.
        channel_optional: whether a shard may lack the shape's last axis, if its length is 1.
        weights: float32, shape (n,): how much each sample counts in the loss; None for all the same.
        cumulative: float64, shape (n,): the cumulative probabilities with which samples are drawn, the last of which is
            exactly 1; None to draw each sample once a pass.
        varied_shapes: the samples' shapes, for messages, if they are known to differ; else empty.

    Everything whose size depends on n is in contiguous arrays, which processes can share.
    """

    root: Path
    ids: Strings
    paths: Strings
    codes: LabelCodes | None
    classes: tuple[str, ...]
    array: ArraySpec
    channel_optional: bool = False
    weights: npt.NDArray[np.float32] | None = None
    cumulative: npt.NDArray[np.float64] | None = None
    varied_shapes: str = ""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def is_varied(self) -> bool:
        """Whether the samples are known to differ in shape."""
        return bool(self.varied_shapes)
