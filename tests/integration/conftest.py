from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

# Test files are imported by their path, so the module that they share needs a place to be found at.
sys.path.append(str(Path(__file__).parent))
pytest.register_assert_rewrite("command_line")

from command_line import build, write_array, write_pets  # noqa: E402  # as above
from scenes import install_reader  # noqa: E402

from prep.readers import registry  # noqa: E402


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A folder for raw data, still empty."""
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where a dataset is to be; not there yet."""
    return tmp_path / "data"


@pytest.fixture
def pets(raw: Path) -> Path:
    """Four cats and four dogs, 6 x 8 pixels, RGB."""
    return write_pets(raw)


@pytest.fixture
def existing(tmp_path: Path, out: Path) -> Path:
    """A dataset that was built before, from other raw data than `raw`."""
    build(write_pets(tmp_path / "good", per_class=2), out, "--split", "train=0.5,val=0.5")
    return out


@pytest.fixture
def existing_arrays(tmp_path: Path) -> Path:
    """A dataset of arrays that was built before, from other raw data than `raw`."""
    for number in range(3):
        write_array(tmp_path / "good_arrays" / "x" / f"{number}.npy", np.full(4, number, np.float32))
    build(tmp_path / "good_arrays", tmp_path / "data_arrays")
    return tmp_path / "data_arrays"


@pytest.fixture
def scene_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A reader of scenes, whose samples have further arrays, as a package that looks installed; the folder that it is imported from."""

    def forget() -> None:
        for cached in (registry.names_by_suffix, registry._entry_points, registry._registered):
            cached.cache_clear()
        sys.modules.pop("scenes_reader", None)

    folder = install_reader(tmp_path / "packages")
    monkeypatch.syspath_prepend(folder)
    forget()
    yield folder
    monkeypatch.undo()
    forget()
