"""Feeding `model.fit` from a manifest of per-ID shards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loader.errors import BatchIndexError, LabelError, LoaderError, OptionError, SamplesError, ShardError, WorkerError

if TYPE_CHECKING:
    from loader.sequence import ManifestSequence

__all__ = [
    "BatchIndexError",
    "LabelError",
    "LoaderError",
    "ManifestSequence",
    "OptionError",
    "SamplesError",
    "ShardError",
    "WorkerError",
]


def __getattr__(name: str) -> type[ManifestSequence]:
    """Import Keras when the first sequence is asked for, and not before."""
    if name == "ManifestSequence":
        from loader.sequence import ManifestSequence  # noqa: PLC0415  # late on purpose, see above

        return ManifestSequence
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
