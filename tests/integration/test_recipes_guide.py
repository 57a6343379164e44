"""What the guide to recipes tells people to type works as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from command_line import prep, write_image

from manifests import Manifest, load_manifest

PAGE = (Path(__file__).parents[2] / "docs" / "guides" / "recipes.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Photographs, the guide's recipes and its module beside them, and a working folder in which all of its commands have run."""
    monkeypatch.chdir(tmp_path)
    for name in ("cats/1", "cats/2", "dogs/1", "dogs/2"):
        write_image(tmp_path / "photos" / f"{name}.png", seed=len(list(tmp_path.rglob("*.png"))), shape=(40, 60, 3))
    for block in blocks("toml"):
        name = block.partition("\n")[0].removeprefix("# ")
        (tmp_path / name).write_text(block, encoding="utf-8")
    (module,) = blocks("python")
    (tmp_path / "mine.py").write_text(module, encoding="utf-8")
    for line in "".join(blocks("sh")).splitlines():
        command, _, target = line.removeprefix("prep ").partition(" > ")
        outcome = prep(*shlex.split(command))
        assert outcome.code == 0, f"{line}\n{outcome.err}"
        if target:
            (tmp_path / target).write_text(outcome.out, encoding="utf-8")
    return tmp_path


def arrays(manifest: Manifest) -> set[tuple[tuple[int, ...], str]]:
    return {(array.shape, array.dtype.name) for array in (np.load(manifest.path_of(id_)) for id_ in manifest.ids)}


@pytest.mark.slow
def test_every_command_of_the_guide(guide: Path) -> None:
    first, small, own, tiles = (load_manifest(guide / name) for name in ("data", "small", "own", "tiles"))
    assert arrays(first) == {((32, 48, 3), "float32")}
    assert arrays(small) == {((32, 48, 3), "float32")}
    assert arrays(own) == {((40, 30, 3), "uint8")}
    assert len(own) == 8
    assert arrays(tiles) == {((16, 16, 3), "uint8")}
    assert set(tiles.frame["group"]) == set(first.ids)
