from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from loader.feed.feed import Feed
from loader.feed.index.from_manifest import index_of_manifest
from loader.feed.index.index import Index
from loader.feed.options import FeedOptions
from loader.feed.targets.labels import LabelMode
from loader.feed.transforms import Transform, Transforms
from manifests import Manifest, load_manifest

# Test files are imported by their path, so the modules that they share, also with worker processes, need a place to be found at.
sys.path.append(str(Path(__file__).parent))
pytest.register_assert_rewrite("feeding")

# No test asserts on absolute time: examples read files, and the machine has other things to do.
settings.register_profile("no deadline")
settings.load_profile("no deadline")

MakeDataset = Callable[..., Manifest]
MakeFeed = Callable[..., Feed]


@pytest.fixture
def make_dataset(tmp_path: Path) -> MakeDataset:
    """Return a function that writes a hand-made dataset: `manifest.csv` beside `shards/<id>.npy`.

    Sample i's array is i, i + 1, i + 2, ..., so that no two are alike.
    """

    def make(
        n: int = 10,
        *,
        shape: tuple[int, ...] = (4, 3),
        dtype: str = "float32",
        labels: Sequence[str] | None = None,
        ids: Sequence[str] | None = None,
        columns: dict[str, Sequence[str]] | None = None,
        root: Path = tmp_path / "data",
    ) -> Manifest:
        ids = [f"s{i:03d}" for i in range(n)] if ids is None else ids
        labels = ["ab"[i % 2] for i in range(n)] if labels is None else labels
        columns = {"id": ids, "label": labels} | (columns or {})
        for i, id_ in enumerate(ids):
            file = root / "shards" / f"{id_}.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, _sample(i, shape, dtype))
        rows = zip(*columns.values(), strict=True)
        (root / "manifest.csv").write_text("\n".join(map(",".join, [tuple(columns), *rows])) + "\n", encoding="utf-8")
        return load_manifest(root)

    return make


@pytest.fixture
def sample() -> Callable[..., np.ndarray]:
    """Return a function from (i, shape, dtype) to the array that `make_dataset` writes for sample i."""
    return _sample


@pytest.fixture
def make_feed(make_dataset: MakeDataset) -> MakeFeed:
    """Return a function that makes a feed of a manifest or an index, of 10 samples if there is none."""

    def make(
        samples: Manifest | Index | None = None,
        *,
        label_mode: LabelMode = "int",
        weights: Sequence[float] | None = None,
        draws: Sequence[float] | None = None,
        transform: Transform | None = None,
        batch_transform: Transform | None = None,
        **options: Any,
    ) -> Feed:
        if not isinstance(samples, Index):
            samples = index_of_manifest(samples or make_dataset(), label_mode=label_mode)
        if weights is not None:
            samples = replace(samples, weights=np.array(weights, np.float32))
        if draws is not None:
            samples = replace(samples, cumulative=np.cumsum(draws) / np.sum(draws))
        return Feed(samples, FeedOptions(**options), Transforms(sample=transform, batch=batch_transform))

    return make


@pytest.fixture
def make_varied(make_dataset: MakeDataset) -> Callable[..., Index]:
    """Return a function that writes samples of several shapes, and indexes them."""

    def make(shapes: Sequence[tuple[int, ...]], dtype: str = "float32", label_mode: LabelMode = "int") -> Index:
        manifest = make_dataset(len(shapes))
        for i, (id_, shape) in enumerate(zip(manifest.ids, shapes, strict=True)):
            np.save(manifest.path_of(id_), _sample(i, shape, dtype))
        return replace(index_of_manifest(manifest, label_mode=label_mode), varied_shapes="2x3, 4x3")

    return make


def _sample(i: int, shape: tuple[int, ...] = (4, 3), dtype: str = "float32") -> np.ndarray:
    return (np.arange(int(np.prod(shape))) + i).astype(dtype).reshape(shape)
