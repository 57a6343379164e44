"""What the guide to readers tells people to write and to type works as it stands."""

from __future__ import annotations

import re
import shlex
import tomllib
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import prep

from manifests import load_manifest
from prep.readers import registry

PAGE = (Path(__file__).parents[2] / "docs" / "guides" / "readers.md").read_text(encoding="utf-8")

RATE = 8_000


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    return str(found)


def write_wav(path: Path, samples: int, width: int = 2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(samples).integers(-(2**15), 2**15, (samples, 2), dtype="<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(width)
        file.setframerate(RATE)
        file.writeframes(values.tobytes())


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The guide's package, as if it were installed."""
    project = tomllib.loads(block("toml"))["project"]
    info = tmp_path / "packages" / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info.parent / block("python").partition("\n")[0].removeprefix("# ")).write_text(block("python"), encoding="utf-8")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = [f"{name} = {value}" for name, value in project["entry-points"][registry.GROUP].items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{registry.GROUP}]", *points]))
    cached = (registry.names_by_suffix, registry._entry_points, registry._registered)
    monkeypatch.syspath_prepend(info.parent)
    for function in cached:
        function.cache_clear()
    yield
    monkeypatch.undo()
    for function in cached:
        function.cache_clear()


def test_the_guides_reader_builds_recordings(package: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(4):
        write_wav(tmp_path / "recordings" / "ab"[number % 2] / f"{number}.wav", RATE // 2 + number - 1)
    (tmp_path / "recordings" / "a" / "broken.wav").write_bytes(b"RIFF")
    write_wav(tmp_path / "recordings" / "a" / "wide.wav", 10, width=4)
    outcome = prep(*shlex.split(block("sh").removeprefix("prep ")))
    assert outcome.code == 1
    manifest = load_manifest("data")
    assert set(manifest.frame["shape"]) == {f"{RATE // 2}x2"}
    assert set(manifest.frame["dtype"]) == {"float32"}
    failures = (tmp_path / "data" / "failures.csv").read_text()
    assert "is no WAV file" in failures
    assert "has 32 bits a sample; expected 16" in failures
    again = prep("build-shards", "recordings", "data", "--max-failures", "2")
    assert again.code == 0
    assert "0 added + 0 rebuilt + 4 kept" in again.out
