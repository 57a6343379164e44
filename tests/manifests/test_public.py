"""What users may import, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import manifests

PUBLIC = [
    "ArrayFileError",
    "ArraySpec",
    "Finding",
    "InvalidManifestError",
    "LabelSpec",
    "Manifest",
    "ManifestError",
    "Metadata",
    "NoManifestError",
    "Problem",
    "UnknownNameError",
    "load_manifest",
    "verify",
    "write_manifest",
]


def test_the_public_names() -> None:
    assert manifests.__all__ == PUBLIC
    assert sorted(PUBLIC) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_name_is_there_and_documented(name: str) -> None:
    assert getattr(manifests, name).__doc__


def test_importing_manifests_loads_no_framework_and_no_decoder() -> None:
    code = "import sys, manifests; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "pandas" in loaded
    assert not {"keras", "tensorflow", "tf_keras", "jax", "torch", "PIL", "imagecodecs", "click", "loky", "prep", "loader"} & set(loaded)


def test_importing_manifests_prints_nothing() -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", "import manifests"], check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "")
