"""What users may import, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
    heavy = {"pandas", "pyarrow", "keras", "tensorflow", "tf_keras", "jax", "torch"}
    assert not (heavy | {"PIL", "imagecodecs", "click", "loky", "prep", "loader"}) & loaded


def test_loading_and_looking_imports_no_pandas(pets: Path) -> None:
    code = (
        f"import sys; from manifests import load_manifest; m = load_manifest({str(pets)!r}); "
        "m.classes, m.splits, m.split_counts(), m.label_kind(), m.array, m.load(m.ids[0]), m.where(split='train').column('id'), m.files(); "
        "print('pyarrow' in sys.modules, 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "True False\n"


def test_importing_manifests_prints_nothing() -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", "import manifests"], check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "")
