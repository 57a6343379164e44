"""What the guide to augmentation tells people to type works as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import loader
import loader.augment

PAGE = (Path(__file__).parents[2] / "docs" / "guides" / "augmentation.md").read_text(encoding="utf-8")
IMAGE = np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3)


class _Arguments(dict[str, Any]):
    """Stands for a sequence: what it was made with."""

    def __init__(self, *_: Any, **arguments: Any) -> None:
        super().__init__(arguments)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names that the page's code leaves behind; a sequence is the dict of its arguments."""
    monkeypatch.setitem(vars(loader), "ManifestSequence", _Arguments)
    manifest = SimpleNamespace(split=lambda _: None, load=lambda _: IMAGE)
    names: dict[str, Any] = {"manifest": manifest, "model": SimpleNamespace(fit=lambda *_, **__: None)}
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        exec(block, names)  # noqa: S102  # the guide's own code
    return names


def test_the_guides_transforms_take_samples_and_batches(names: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    x, _ = names["train"]["transform"](IMAGE, None, rng)
    assert (x.shape, x.dtype) == (IMAGE.shape, IMAGE.dtype)
    batch, y = names["train"]["batch_transform"](np.stack([x, IMAGE]), np.eye(2, dtype=np.float32), rng)
    assert (batch.shape, batch.dtype, y.shape) == ((2, *IMAGE.shape), IMAGE.dtype, (2, 2))
    assert names["x"].shape == IMAGE.shape


def test_the_guides_own_function_keeps_shape_and_dtype(names: dict[str, Any]) -> None:
    sound = np.ones((100, 1), np.float32)
    louder, y = names["random_gain"](sound, 3, np.random.default_rng(0))
    assert (louder.shape, louder.dtype, y) == (sound.shape, sound.dtype, 3)
    assert not np.array_equal(louder, sound)


def test_the_guide_tells_of_every_augmentation() -> None:
    assert [name for name in loader.augment.__all__ if f"`{name}(" not in PAGE] == []
