"""A reader of another package, whose items have further arrays: what tests of masks and the like build from."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

READER = """
    import json

    import numpy as np

    from prep.errors import ItemError
    from prep.readers.reader import Reader, Reading

    class Scenes(Reader):
        name = "scenes"
        singular = "scene"
        files = ".scene files"
        suffixes = frozenset({".scene"})

        def read(self, path, member, wanted):
            with open(path) as file:
                try:
                    content = json.load(file)
                except ValueError as error:
                    raise ItemError(str(error)) from error
            arrays = {name: np.array(values, dtype) for name, (dtype, values) in content.items()}
            return Reading(array=arrays.pop("image"), arrays=arrays)
"""
"""Of files in JSON: name of an array -> its dtype and values; `image` is the main one."""


def install_reader(folder: Path) -> Path:
    """Write the reader's package, as it looks when it is installed; return the folder to import it from."""
    info = folder / "scenes-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "scenes_reader.py").write_text(textwrap.dedent(READER))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: scenes\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[shardfeed.readers]\nscenes = scenes_reader:Scenes\n")
    return folder


def write_scene(path: Path, number: int, **arrays: tuple[str, Any]) -> Path:
    """Write a scene whose image no other number gives, with these further arrays."""
    image = [[[number, row, column] for column in range(4)] for row in range(3)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"image": ("uint8", image), **arrays}))
    return path


def mask_of(number: int) -> tuple[str, Any]:
    """Return a mask that goes with such an image."""
    return "uint8", [[(row + column + number) % 3 for column in range(4)] for row in range(3)]
