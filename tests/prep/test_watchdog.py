from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from prep import watchdog
from prep.chunk import BuildChunk, build_chunk
from prep.recipe import Recipe
from prep.records import Record
from prep.samples import Made


class Clock:
    """A guard that only writes down when it runs."""

    running: str | None = None

    def begin(self, id_: str) -> None:
        self.running = id_

    def end(self) -> None:
        self.running = None

    def is_told_to_stop(self) -> bool:
        return False


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(watchdog, "_guards", [clock])
    return clock


@pytest.fixture
def chunk(tmp_path: Path) -> BuildChunk:
    records = [Record(id=name, source=f"{name}.npy") for name in ("a", "b", "c")]
    for record in records:
        np.save(tmp_path / record.source, np.zeros(2))
    recipe = Recipe(format="arrays", size=None, channels=None, dtype=None, scale=None, npz_key=None)
    return BuildChunk(
        root=tmp_path, target=tmp_path / "out", recipe=recipe, records=records, fingerprints={record.id: "0" * 32 for record in records}
    )


def test_the_clock_runs_while_an_item_is_read_and_not_while_parts_are_written(
    chunk: BuildChunk, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is slow to flush what many items wrote must not cost the last of them its place."""
    reading, flushing = [], []
    monkeypatch.setattr("prep.chunk.PART_SECONDS", 0.0)
    monkeypatch.setattr("prep.chunk.samples_of", lambda *_: reading.append(clock.running) or Made(samples=[]))
    monkeypatch.setattr("prep.chunk.write_part", lambda *_: flushing.append(clock.running))
    build_chunk(chunk)
    assert reading == ["a", "b", "c"]
    assert len(flushing) >= 3
    assert set(flushing) == {None}


def test_the_clock_stops_when_an_item_ends_the_chunk(clock: Clock) -> None:
    def work(records: Iterator[Record]) -> None:
        for _ in records:
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011  # whatever it is
        work(watchdog.watched([Record(id="a", source="a")]))
    assert clock.running is None


def test_a_chunk_goes_through_any_executors_pickle(chunk: BuildChunk) -> None:
    assert pickle.loads(pickle.dumps(chunk)) == chunk  # noqa: S301  # our own
