"""Reading per-ID shards in random order, batch by batch, in one process and from a warm page cache."""

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

from loader.feed import Feed
from loader.index import index_of_manifest
from loader.options import FeedOptions
from loader.workers import Workers
from manifests import Manifest

HEADER_BYTES = 128


@pytest.fixture
def feed(dataset: Manifest, scale: Any) -> Feed:
    index = index_of_manifest(dataset, label_mode=None)
    return Feed(index, FeedOptions(batch_size=scale.batch_size, shuffle=True))


@pytest.fixture
def paths(dataset: Manifest, feed: Feed, scale: Any) -> list[str]:
    """The files of the first batches of pass 0, in the feed's own order."""
    names = dict(zip(dataset.frame["id"], dataset.paths, strict=True))
    return [names[id_] for batch in range(scale.batches) for id_ in feed.ids(0, batch)]


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
def np_load(dataset: Manifest, paths: list[str], scale: Any) -> Callable[[], None]:
    full = [os.path.join(dataset.root, path) for path in paths]

    def read() -> None:
        for start in range(0, len(full), scale.batch_size):
            batch = np.empty((scale.batch_size, *scale.shape))  # float64, as in the tutorial
            for row, path in enumerate(full[start : start + scale.batch_size]):
                batch[row] = np.load(path)

    return read


@pytest.fixture
def read_feed(feed: Feed, scale: Any) -> Callable[[], None]:
    def read() -> None:
        for batch in range(scale.batches):
            feed.batch(0, batch)

    return read


def test_reading_against_a_loop_of_np_load(
    read_feed: Callable[[], None], np_load: Callable[[], None], paths: list[str], scale: Any, compare: Callable[..., float]
) -> None:
    ratio = compare("reading, one process", "`np.load` per ID into `np.empty`", read_feed, np_load, len(paths))
    # Far below what is measured on any machine so far, and far above what any change of method would leave.
    assert not scale.measured or ratio >= 4


def test_reading_from_the_disk_against_a_loop_of_np_load(
    dataset: Manifest, read_feed: Callable[[], None], np_load: Callable[[], None], paths: list[str], compare: Callable[..., float]
) -> None:
    os.sync()  # pages that are not written yet cannot be dropped

    def drop_pages() -> None:
        for path in dataset.paths:
            file = os.open(dataset.root / path, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)

    what = "reading, one process, no page in memory"
    compare(what, "`np.load` per ID into `np.empty`", read_feed, np_load, len(paths), before=drop_pages)


def test_reading_against_the_three_system_calls_in_c(
    dataset: Manifest,
    read_feed: Callable[[], None],
    paths: list[str],
    scale: Any,
    compare: Callable[..., float],
    read_loop: Callable[..., int],
) -> None:
    names = (ctypes.c_char_p * len(paths))(*(path.encode() for path in paths))
    batch = np.empty((scale.batch_size, *scale.shape), np.float32)
    root = os.open(dataset.root, os.O_RDONLY | os.O_DIRECTORY)

    def in_c() -> None:
        sound = read_loop(root, names, len(paths), batch.ctypes.data, scale.batch_size, HEADER_BYTES, batch[0].nbytes)
        assert sound == len(paths)

    try:
        compare("reading, one process", "`open`, `readv`, `close` in C", read_feed, in_c, len(paths))
    finally:
        os.close(root)


def test_iterating_with_two_workers_against_inline(dataset: Manifest, feed: Feed, scale: Any, compare: Callable[..., float]) -> None:
    keys = [(0, batch) for batch in range(scale.batches)]
    workers = Workers(feed, 2, 10)

    def ahead() -> None:
        for number, key in enumerate(keys):
            workers.take(key, keys[number + 1 :])

    def inline() -> None:
        for key in keys:
            feed.batch(*key)

    try:
        ahead()
        compare("reading, 2 worker processes", "reading inline", ahead, inline, scale.batches * scale.batch_size)
    finally:
        workers.close()
