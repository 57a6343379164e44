"""Sources to test with: listing looks at names only, so most files are empty."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Touch = Callable[..., Path]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """An empty folder to hold raw files; what stands beside it is outside of it."""
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


@pytest.fixture
def touch(raw: Path) -> Touch:
    """Make empty files below the source, with their folders, and return the source."""

    def make(*names: str) -> Path:
        for name in names:
            path = raw / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return raw

    return make
