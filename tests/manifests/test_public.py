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
    "UnfinishedCommitError",
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
    code = "import sys, manifests; {}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"

    def loaded_by(then: str) -> set[str]:
        command = [sys.executable, "-c", code.format(then)]
        return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())

    assert "pandas" not in loaded_by("pass")
    loaded = loaded_by("[getattr(manifests, name) for name in manifests.__all__]")
    assert "numpy" in loaded
    assert (
        not {"pandas", "keras", "tensorflow", "tf_keras", "jax", "torch", "PIL", "imagecodecs", "click", "loky", "prep", "loader"} & loaded
    )


def test_importing_manifests_prints_nothing() -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", "import manifests"], check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "")
