"""PyTorch's DataLoader over per-ID files. Its worker processes import this file, so it imports little."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from pipelines import Begin, Files, Open, counted, ended_processes
from torch.utils.data import DataLoader, Dataset

WORKERS = (0, 1, 2, 4)


class FilesDataset(Dataset):
    """One file a sample."""

    def __init__(self, files: Files) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files.paths)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(self.files.read(number)), self.files.labels[number]


def walks(files: Files, workers: tuple[int, ...] = WORKERS) -> dict[str, Open]:
    """Return what opens a DataLoader for walking, by its number of worker processes."""

    def opens(count: int) -> Callable[[], Any]:
        return lambda: _open(files, count)

    return {counted(count, "worker process", "es"): opens(count) for count in workers}


@contextmanager
def _open(files: Files, workers: int) -> Iterator[Begin]:
    # Fresh interpreters, because a fork of a process that runs TensorFlow may hang. They stay over passes, so their start does not count.
    staying = {"persistent_workers": True, "multiprocessing_context": "spawn"} if workers else {}
    with ended_processes():
        # The loader has no name here: it is to go, and its workers with it, as soon as nobody can begin a pass any more.
        yield partial(
            iter,
            DataLoader(FilesDataset(files), batch_size=files.batch_size, shuffle=True, drop_last=True, num_workers=workers, **staying),
        )
