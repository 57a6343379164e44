"""What users of other libraries write themselves to build from photographs: which files there are, and how one becomes pixels.

The libraries' scripts and their worker processes import this file, so it imports little.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (32, 32)


def labelled(root: Path) -> list[tuple[str, int]]:
    """Return the path of each photograph with its class's number."""
    paths = sorted(root.rglob("*.jpg"))
    numbers = {name: number for number, name in enumerate(sorted({path.parent.name for path in paths}))}
    return [(str(path), numbers[path.parent.name]) for path in paths]


def decode(path: str) -> Any:
    """Decode a photograph at an eighth of its size, as `draft` has libjpeg do, and resize the rest; uint8, (32, 32, 3)."""
    with Image.open(path) as image:
        image.draft("RGB", SIZE[::-1])
        return np.asarray(image.convert("RGB").resize(SIZE[::-1], Image.Resampling.BILINEAR))


def run(build: Callable[[str, Path, Path], None], read: Callable[[Path], tuple[Any, Any]]) -> None:
    """Do what the command line says.

    `build SETTING SOURCE OUT` builds, and prints how many seconds that took after the imports. `read OUT FILE` writes to FILE
    all pixels and labels that stand in OUT, in any one order.
    """
    start = time.perf_counter()
    match sys.argv[1:]:
        case ["build", setting, source, out]:
            build(setting, Path(source), Path(out))
            sys.stdout.write(f"\n{time.perf_counter() - start}\n")
        case ["read", out, file]:
            pixels, labels = read(Path(out))
            np.savez(file, pixels=pixels, labels=labels)
