"""A chunk holds samples only for as long, and in as much memory, as it must."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests import load_manifest
from prep import BuildOptions, SilentReporter, build_shards
from prep.build.execute.chunk import FEWEST_ITEMS, MOST_ITEMS, BuildChunk, build_chunk, chunks_of
from prep.build.recipe.recipe import Recipe
from prep.readers.arrays import ArrayOptions
from prep.sources.items import Item
from prep.transforms.crop import Crop


def test_a_part_of_a_large_array_does_not_hold_the_rest(tmp_path: Path) -> None:
    items = [Item(id=f"{number:02d}", source=f"{number:02d}.npy") for number in range(12)]
    for item in items:
        np.save(tmp_path / item.source, np.zeros((1000, 1000), np.float64))  # 8 MB
    crop = Crop(size=(4, 1000))
    recipe = Recipe(format="arrays", options=ArrayOptions(), transforms=(crop,))
    chunk = BuildChunk(
        root=tmp_path,
        target=tmp_path / "out",
        recipe=recipe,
        items=items,
        fingerprints=dict.fromkeys((item.id for item in items), ""),
        positions={item.id: position for position, item in enumerate(items)},
    )
    chunk.target.mkdir()
    tracemalloc.start()
    done = build_chunk(chunk)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(done) == 12
    assert peak < 40_000_000


def write_below(folder: Path, array: npt.ArrayLike, length: int) -> str:
    """Write an array so deep below a folder that its path has so many bytes, and return that path from there on."""
    content = io.BytesIO()
    np.save(content, array)
    left = length - len(os.fspath(folder)) - 1
    names = []
    with contextlib.ExitStack() as stack:
        at = os.open(folder, os.O_RDONLY)
        stack.callback(os.close, at)
        while left > 250:
            names.append("d" * min(200, left - 20))
            os.mkdir(names[-1], dir_fd=at)
            at = os.open(names[-1], os.O_RDONLY, dir_fd=at)
            stack.callback(os.close, at)
            left -= len(names[-1]) + 1
        names.append("f" * (left - 4) + ".npy")
        with open(names[-1], "xb", opener=lambda name, flags: os.open(name, flags, dir_fd=at)) as file:
            file.write(content.getvalue())
    return "/".join(names)


@pytest.mark.parametrize(("length", "is_done"), [(3900, True), (4088, False), (4095, False)])
def test_a_shard_whose_path_would_be_too_long_is_a_failure_of_that_item(length: int, is_done: bool, tmp_path: Path) -> None:
    raw, out = tmp_path / "r", tmp_path / "o"
    (raw / "c").mkdir(parents=True)
    np.save(raw / "c" / "x.npy", np.zeros(3))
    source = write_below(raw, np.ones(3), length)
    assert len(os.fspath(raw / source)) == length
    try:
        for _ in range(2):
            summary = build_shards(raw, out, BuildOptions(workers=1), report=SilentReporter())
            assert [(failure.source, failure.stage) for failure in summary.failures] == ([] if is_done else [(source, "write")])
            assert len(load_manifest(out)) == 1 + is_done
            failures = (out / "failures.csv").read_text() if not is_done else ""
            assert ".prep" not in failures
    finally:
        for folder in (raw, out):  # pytest's own way goes by whole paths
            shutil.rmtree(folder)


@given(st.integers(0, 20_000), st.integers(1, 64))
def test_chunks_are_all_there_is_in_order_and_the_last_are_the_smallest(count: int, workers: int) -> None:
    chunks = chunks_of(np.arange(count), workers)
    sizes = list(map(len, chunks))
    assert [position for chunk in chunks for position in chunk.tolist()] == list(range(count))
    assert sizes == sorted(sizes, reverse=True)
    assert all(1 <= size <= MOST_ITEMS for size in sizes)
    assert all(size >= FEWEST_ITEMS for size in sizes[:-1])
    assert count == 0 or sizes[-1] <= FEWEST_ITEMS
