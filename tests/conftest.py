"""What every test runs with, and what tests of several rooms need."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from prep.readers import registry
from prep.readers.registry import names_by_suffix

Install = Callable[..., None]

# On a loaded machine an example may take any time, and so may making one.
settings.register_profile("shardfeed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shardfeed")


@pytest.fixture(scope="session", autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what builds record of approved functions out of the home of whoever runs the tests."""
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
    yield
    if before is None:
        del os.environ["XDG_STATE_HOME"]
    else:
        os.environ["XDG_STATE_HOME"] = before


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return a function that makes packages look installed: what is imported from each, and its entry points."""

    def forget() -> None:
        for cached in (names_by_suffix, registry._entry_points, registry._registered):
            cached.cache_clear()

    def add(package: str, code: str, *entry_points: str) -> None:
        folder = tmp_path / "packages" / package
        info = folder / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (folder / f"{package}.py").write_text(textwrap.dedent(code))
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("\n".join(["[shardfeed.readers]", *entry_points]))
        monkeypatch.syspath_prepend(folder)
        forget()

    yield add
    monkeypatch.undo()
    forget()
