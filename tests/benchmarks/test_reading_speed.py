"""Reading per-ID shards in random order, batch by batch."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pipelines import HEADER_BYTES
from sequence_pipelines import manifest_sequences

from loader import ManifestSequence
from manifests import Manifest


@pytest.fixture
def paths(part: Manifest) -> list[str]:
    """The files, in random order."""
    return np.random.default_rng(2).permutation(part.paths).tolist()


@pytest.fixture
def read_loop(tmp_path: Path) -> Callable[..., Any]:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    library = tmp_path / "readloop.so"
    source = Path(__file__).with_name("readloop.c")
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    function = ctypes.CDLL(str(library)).read_loop
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    function.argtypes = [ctypes.c_int, ctypes.POINTER(ctypes.c_char_p), ctypes.c_long, pointer, ctypes.c_long, size, size]
    function.restype = ctypes.c_long
    return function


@pytest.fixture
def np_load(part: Manifest, paths: list[str], shards: Any) -> Callable[[], None]:
    full = [os.path.join(part.root, path) for path in paths]

    def read() -> None:
        for start in range(0, len(full), shards.batch_size):
            batch = np.empty((shards.batch_size, *shards.shape))  # float64, as in the tutorial
            for row, path in enumerate(full[start : start + shards.batch_size]):
                batch[row] = np.load(path)

    return read


@pytest.fixture
def read_sequence(part: Manifest, shards: Any) -> Callable[[], None]:
    sequence = ManifestSequence(part, batch_size=shards.batch_size, shuffle=True, label_mode=None)

    def read() -> None:
        for _ in sequence:
            pass

    return read


def test_reading_against_a_loop_of_np_load(
    kind: str, read_sequence: Callable[[], None], np_load: Callable[[], None], paths: list[str], compare: Callable[..., float]
) -> None:
    ratio = compare("reading, one process", "`np.load` per ID into `np.empty`", read_sequence, np_load, len(paths))
    # Far below what is measured on any machine so far, and far above what any change of method would leave.
    assert not ratio < {"12 KB": 4, "131 KB": 1.2}[kind]


def test_reading_from_the_disk_against_a_loop_of_np_load(
    part: Manifest, read_sequence: Callable[[], None], np_load: Callable[[], None], paths: list[str], compare: Callable[..., float]
) -> None:
    os.sync()  # pages that are not written yet cannot be dropped

    def drop_pages() -> None:
        for path in paths:
            file = os.open(part.root / path, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)

    what = "reading, one process, no page in memory"
    against = "`np.load` per ID into `np.empty`"
    compare(what, against, read_sequence, np_load, len(paths), before_ours=drop_pages, before_theirs=drop_pages)


def test_reading_against_the_three_system_calls_in_c(
    part: Manifest,
    read_sequence: Callable[[], None],
    paths: list[str],
    shards: Any,
    compare: Callable[..., float],
    read_loop: Callable[..., int],
) -> None:
    names = (ctypes.c_char_p * len(paths))(*(path.encode() for path in paths))
    batch = np.empty((shards.batch_size, *shards.shape), np.float32)
    root = os.open(part.root, os.O_RDONLY | os.O_DIRECTORY)

    def in_c() -> None:
        sound = read_loop(root, names, len(paths), batch.ctypes.data, shards.batch_size, HEADER_BYTES, batch[0].nbytes)
        assert sound == len(paths)

    try:
        compare("reading, one process", "`open`, `readv`, `close` in C", read_sequence, in_c, len(paths))
    finally:
        os.close(root)


def test_reading_with_two_workers_against_inline(part: Manifest, shards: Any, compare_walks: Callable[..., float]) -> None:
    inline, ahead = manifest_sequences(part, shards.batch_size)["inline"], manifest_sequences(part, shards.batch_size)["2 worker processes"]
    compare_walks("reading, 2 worker processes", "reading inline", ahead, inline, shards.batches)
