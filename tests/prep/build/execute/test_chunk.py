"""A chunk holds samples only for as long, and in as much memory, as it must."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

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


@given(st.integers(0, 20_000), st.integers(1, 64))
def test_chunks_are_all_there_is_in_order_and_the_last_are_the_smallest(count: int, workers: int) -> None:
    chunks = chunks_of(np.arange(count), workers)
    sizes = list(map(len, chunks))
    assert [position for chunk in chunks for position in chunk.tolist()] == list(range(count))
    assert sizes == sorted(sizes, reverse=True)
    assert all(1 <= size <= MOST_ITEMS for size in sizes)
    assert all(size >= FEWEST_ITEMS for size in sizes[:-1])
    assert count == 0 or sizes[-1] <= FEWEST_ITEMS
