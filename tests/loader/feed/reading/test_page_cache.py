"""keep_cached=False leaves nothing in the system's page cache, and reads the same."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from odd_shards import big_endian, fortran, plain

from loader.feed.feed import Feed
from loader.feed.index.index import Index
from loader.feed.reading.shared_memory import SharedMemory
from manifests import Manifest

N = 5
SHAPE = (64, 65)  # some pages, and the last one not full


def cached_pages(file: Path) -> int:
    """Return how many of a file's pages are in memory; unlike reading without waiting, asking this brings none there."""
    with open(file, "r+b") as stream, mmap.mmap(stream.fileno(), 0) as mapped:
        pages = (ctypes.c_ubyte * -(-len(mapped) // mmap.PAGESIZE))()
        start = (ctypes.c_char * len(mapped)).from_buffer(mapped)
        failed = ctypes.CDLL(None, use_errno=True).mincore(ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(len(mapped)), pages)
        del start
        if failed:
            raise OSError(ctypes.get_errno(), "mincore")
        return sum(page & 1 for page in pages)


def is_cached(file: Path) -> bool:
    """Return whether all of a file is in memory; it must not be there in parts."""
    pages = cached_pages(file)
    assert pages in {0, -(-file.stat().st_size // mmap.PAGESIZE)}
    return pages > 0


def drop(file: Path) -> None:
    with open(file, "rb") as stream:
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def sync(folder: Path) -> None:
    """Write what was written to the disk; until then pages cannot be dropped."""
    for file in folder.rglob("*.npy"):
        with open(file, "rb") as stream:
            os.fsync(stream.fileno())


@pytest.fixture
def drops_pages(tmp_path: Path) -> None:
    """Skip where the file system keeps all that it has in memory, or does not say what it has."""
    file = tmp_path / "probe.npy"
    file.write_bytes(bytes(100_000))
    sync(tmp_path)
    try:
        with open(file, "rb") as stream:
            stream.read()
        was_cached = cached_pages(file)
        drop(file)
        if not was_cached or cached_pages(file):
            pytest.skip("the file system has no page cache to drop from")
    except (AttributeError, OSError):
        pytest.skip("the system does not say what is in its page cache")


READERS = {
    "batch": ({}, plain),
    "converted": ({"dtype": "float64"}, plain),
    "transformed": ({"transform": lambda x, y, rng: (x, y)}, plain),
    "padded": ({"pad_to": SHAPE}, plain),
    "in Fortran order": ({}, fortran),
    "big-endian": ({}, big_endian),
    "in Fortran order, padded": ({"pad_to": SHAPE}, fortran),
    "skipping": ({"on_error": "skip"}, plain),
}


@pytest.mark.usefixtures("drops_pages")
@pytest.mark.parametrize(("options", "save"), READERS.values(), ids=READERS)
def test_what_stays_in_the_page_cache(
    make_dataset: Callable[..., Manifest], make_feed: Callable[..., Feed], options: dict[str, Any], save: Callable[..., None]
) -> None:
    manifest = make_dataset(N, shape=SHAPE)
    files = [manifest.path_of(id_) for id_ in manifest.ids]
    expected = np.stack([np.load(file) for file in files])
    for array, file in zip(expected, files, strict=True):
        save(array, file)
    sync(manifest.root)
    memory = SharedMemory()
    for keep_cached, into_slot, before in product([False, True], [False, True], [drop, np.load]):
        feed = make_feed(manifest, batch_size=3, keep_cached=keep_cached, **options)
        for file in files:
            before(file)
        assert [is_cached(file) for file in files] == [before is np.load] * N
        for pass_ in range(2):
            for i in range(feed.num_batches):
                made = feed.batch_into(pass_, i, memory.slot(0)) if into_slot else feed.batch(pass_, i)
                assert np.array_equal(made.batch[0], expected[3 * i : 3 * i + 3])
        assert [is_cached(file) for file in files] == [keep_cached] * N


@pytest.mark.usefixtures("drops_pages")
def test_a_shard_that_cannot_be_used_is_dropped_too(make_varied: Callable[..., Index], make_feed: Callable[..., Feed]) -> None:
    index = make_varied([(100, i + 40) for i in range(4)])
    file = index.root / "shards" / "s002.npy"
    file.write_bytes(file.read_bytes() + b"more")
    sync(index.root)
    feed = make_feed(index, pad_to=(100, 50), keep_cached=False, on_error="skip")
    assert [id_ for id_, _ in feed.batch(0, 0).skipped] == ["s002"]
    assert not is_cached(file)


def test_without_such_advice_nothing_is_dropped_and_all_is_read(make_feed: Callable[..., Feed], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fadvise")
    for options in ({}, {"pad_to": (4, 3)}):
        kept, dropped = (make_feed(keep_cached=keep_cached, **options).batch(0, 0).batch[0] for keep_cached in (True, False))
        assert np.array_equal(kept, dropped)
