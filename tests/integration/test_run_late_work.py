"""Work of an ended build on an executor of the caller's that goes on while the next build runs: nothing of it reaches that build."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import build, check_leaves_no_trace, snapshot, write_array

from prep import BuildOptions, build_shards
from prep.build.execute.chunk import build_chunk
from prep.build.recipe.recipe import ShardOptions
from prep.errors import PrepError
from prep.parallel.executors import InlineExecutor
from prep.progress.report import SilentReporter

ITEMS = 60


class Interrupted(Executor):
    """Keeps the second chunk of a build for later, and is interrupted at the third.

    Attributes:
        late: does the chunk that was kept, as a worker would that has looked at the run's flag before it was taken down.
    """

    def __init__(self) -> None:
        self.chunks = 0
        self.late: Callable[[], Any] = self.submit

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        function, task, *_ = args
        self.chunks += function is build_chunk
        if function is not build_chunk or self.chunks == 1:
            return InlineExecutor().submit(fn, *args, **kwargs)
        if self.chunks == 2:
            self.late = lambda: function(task)
            return Future()
        raise KeyboardInterrupt


class Meanwhile(InlineExecutor):
    """Does a chunk of another build before the first of its own."""

    def __init__(self, late: Callable[[], Any]) -> None:
        self.late = late
        self.refused: list[PrepError] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if args[0] is build_chunk and not self.refused:
            with pytest.raises(PrepError) as caught:
                self.late()
            self.refused.append(caught.value)
        return super().submit(fn, *args, **kwargs)


@pytest.mark.parametrize("dtype", ["float32", "uint8"], ids=["another recipe", "the same recipe"])
def test_a_chunk_of_an_interrupted_build_writes_nothing_into_the_next(dtype: str, tmp_path: Path, out: Path) -> None:
    for number in range(ITEMS):
        write_array(tmp_path / "raw" / f"{number:02d}.npy", np.full(3, number, dtype=np.int16))
    first, second = (BuildOptions(workers=2, shards=ShardOptions(dtype=name)) for name in ("uint8", dtype))
    interrupted = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        build_shards(tmp_path / "raw", out, first, executor=interrupted, report=SilentReporter())
    assert interrupted.chunks == 3
    meanwhile = Meanwhile(interrupted.late)
    build_shards(tmp_path / "raw", out, second, executor=meanwhile, report=SilentReporter())
    assert ".prep/build-" in str(meanwhile.refused[0])
    check_leaves_no_trace(out)
    build(tmp_path / "raw", tmp_path / "alone", "--dtype", dtype)
    assert snapshot(out) == snapshot(tmp_path / "alone")
