"""A folder of JPEG files that are to a decoder what photographs are: 500x375 pixels and about 55 KB each, the same every time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 375, 500
SCENES = 32
"""Scenes that are made; a photograph is one of them from elsewhere, mirrored or not."""

_QUALITY = 70


@dataclass(frozen=True)
class Photographs:
    """Files to build from, and how often a build is measured."""

    root: Path
    paths: list[Path]
    rounds: int


def write_photographs(root: Path, count: int) -> Path:
    """Write photographs of ten classes."""
    rng = np.random.default_rng(0)
    scenes = [_scene(rng) for _ in range(min(SCENES, count))]
    for number in range(count):
        scene = np.roll(scenes[number % len(scenes)], rng.integers(0, HEIGHT, 2), axis=(0, 1))
        path = root / f"class{number % 10}" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene[:, :: rng.choice([-1, 1])]).save(path, quality=_QUALITY)
    return root


def _scene(rng: np.random.Generator) -> Any:
    """Return pixels whose amplitudes fall with frequency as in nature, and whose colours go together; uint8, (375, 500, 3)."""
    frequencies = np.hypot(np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None])
    amplitudes = 1 / np.maximum(frequencies, 1 / WIDTH) ** 1.1

    def layer() -> Any:
        return np.fft.irfft2(np.fft.rfft2(rng.standard_normal((HEIGHT, WIDTH))) * amplitudes, (HEIGHT, WIDTH))

    light = layer()
    pixels = np.stack([light + 0.3 * layer() for _ in range(3)], axis=-1)  # (y, x, colour)
    return np.clip((pixels - pixels.mean()) / pixels.std() * 50 + 120, 0, 255).astype(np.uint8)
