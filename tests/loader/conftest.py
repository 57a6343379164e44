from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from manifests import Manifest, load_manifest

MakeDataset = Callable[..., Manifest]


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


def _sample(i: int, shape: tuple[int, ...] = (4, 3), dtype: str = "float32") -> np.ndarray:
    return (np.arange(int(np.prod(shape))) + i).astype(dtype).reshape(shape)
