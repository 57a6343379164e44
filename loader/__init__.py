"""Feeding `model.fit` from a manifest of per-ID shards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifests.lazy import lazy_names

if TYPE_CHECKING:
    from loader.errors import BatchIndexError, LabelError, LoaderError, OptionError, SamplesError, ShardError, WorkerError
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

__getattr__ = lazy_names(
    "loader",
    {
        "BatchIndexError": "errors",
        "LabelError": "errors",
        "LoaderError": "errors",
        "ManifestSequence": "sequence",
        "OptionError": "errors",
        "SamplesError": "errors",
        "ShardError": "errors",
        "WorkerError": "errors",
    },
)
