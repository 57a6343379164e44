"""Verifying every byte, against `sha256sum` over the same files on as many cores; all of them in the page cache."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from manifests import Manifest, load_manifest, verify, write_manifest
from manifests.format.schema import format_shape
from manifests.verification.verify import file_sha256
from prep.parallel.executors import default_workers
from prep.parallel.hashing import open_readers

FILES_PER_CALL = 500
"""Of `sha256sum`; enough that starting it does not count."""


def with_sha256(root: Path, ids: list[str], shape: tuple[int, ...]) -> Manifest:
    digests = [file_sha256(root / "shards" / f"{id_}.npy") for id_ in ids]
    write_manifest(pd.DataFrame({"id": ids, "shape": format_shape(shape), "dtype": "float32", "sha256": digests}), root)
    return load_manifest(root)


@pytest.fixture
def small(dataset: Manifest, scale: Any) -> Manifest:
    """Shards of 12,416 bytes. The manifest lies beside the one that other benchmarks read."""
    digests = [file_sha256(dataset.root / path) for path in dataset.paths]
    return Manifest(dataset.frame.assign(sha256=digests), dataset.root, dataset.metadata)


@pytest.fixture
def large(tmp_path: Path, scale: Any) -> Manifest:
    """Shards of 32 MB: 16 of them, or 2 when nothing is measured."""
    shape = (1024, 1024, 8) if scale.measured else (64, 64, 8)
    (tmp_path / "shards").mkdir()
    ids = [f"{number:02d}" for number in range(16 if scale.measured else 2)]
    for number, id_ in enumerate(ids):
        np.save(tmp_path / "shards" / f"{id_}.npy", np.full(shape, number, np.float32))
    return with_sha256(tmp_path, ids, shape)


def of_cores(count: int) -> str:
    return "1 core" if count == 1 else f"{count} cores"


@pytest.mark.parametrize("kind", ["12 KB"])
@pytest.mark.parametrize("cores", sorted({1, default_workers()}))
@pytest.mark.parametrize("size", ["small", "large"])
def test_verifying_against_sha256sum(
    size: str, cores: int, request: pytest.FixtureRequest, tmp_path: Path, scale: Any, compare: Callable[..., float]
) -> None:
    if shutil.which("sha256sum") is None or shutil.which("xargs") is None:
        pytest.skip("no sha256sum or no xargs")
    manifest: Manifest = request.getfixturevalue(size)
    names = tmp_path / "names"
    names.write_bytes(b"\0".join(os.fsencode(manifest.root / path) for path in manifest.paths))
    per_call = min(FILES_PER_CALL, -(-len(manifest) // cores))

    def sums() -> None:
        with names.open("rb") as file:
            command = ["xargs", "-0", "-P", str(cores), "-n", str(per_call), "sha256sum"]
            subprocess.run(command, stdin=file, stdout=subprocess.DEVNULL, check=True)

    def ours() -> None:
        with open_readers(cores, len(manifest)) as readers:
            assert verify(manifest, run=readers.run) == []

    what = f"verifying every byte, {'12 KB' if size == 'small' else '32 MB'} shards, {of_cores(cores)}"
    ratio = compare(what, f"`sha256sum`, {of_cores(cores)}", ours, sums, len(manifest), of_others=True)
    assert not scale.measured or ratio >= 1 / 1.5
